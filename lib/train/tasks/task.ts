import type { Records, TokenData } from '../../data/index.ts';
import type { GPT } from '../../models/index.ts';
import type { ChatTemplate, Tokenizer } from '../../tokenizer/index.ts';
import type { RunConfig } from '../config.ts';
import type { Objective } from '../objective.ts';
import type { BatchSource } from '../trainer.ts';

/** A finetuning before it is trained. */
export interface TaskContext {
  readonly run: RunConfig;
  readonly model: GPT;
  readonly tokenizer: Tokenizer;
  /** What the model came with. */
  readonly chatTemplate: ChatTemplate | null;
}

/** What a trainer needs for it. */
export interface PreparedTask {
  readonly data: BatchSource;
  readonly validation?: TokenData | null;
  readonly objective?: Objective;
  readonly chatTemplate?: ChatTemplate | null;
}

/** A kind of finetuning: what its files hold, and how that is learned. */
export interface Task<R> {
  /** The records of files, the last `valFraction` of them (or another file) for validation. */
  read(files: Pick<RunConfig['finetune'], 'path' | 'valPath' | 'valFraction'>): Promise<Records<R>>;
  prepare(records: Records<R>, context: TaskContext): PreparedTask | Promise<PreparedTask>;
}
