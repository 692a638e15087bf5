import type { Records } from '../../data/index.ts';
import type { FinetuneSection } from '../config.ts';
import { chat, completion } from './completion.ts';
import { dpo } from './dpo.ts';
import { choice, classification } from './head.ts';
import type { Task } from './task.ts';

export const TASKS = { completion, chat, classification, choice, dpo } as const satisfies Record<FinetuneSection['task'], unknown>;

/** What one of the tasks learns from. */
export type FinetuneRecords = {
  [T in keyof typeof TASKS]: (typeof TASKS)[T] extends Task<infer R> ? Records<R> : never;
}[keyof typeof TASKS];

/** The kind of finetuning that a configuration asks for. */
export const taskOf = ({ task }: Pick<FinetuneSection, 'task'>): Task<unknown> => TASKS[task] as Task<unknown>;
