// The batches of a run as its trainer would get them, to be looked at.
import type { Batch } from '../data/index.ts';
import { IGNORE, Loader } from '../data/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import type { RunConfig } from './config.ts';
import { openModel } from './open.ts';
import { hubOptions, type PrepareHooks, prepareRun } from './prepare.ts';
import { taskOf } from './tasks/index.ts';
import type { BatchSource } from './trainer.ts';

export interface InspectedBatch {
  readonly batch: Batch;
  readonly tokenizer: Tokenizer;
}

/** The batch after `skip` others. */
function nth(source: BatchSource, skip: number): Batch {
  for (let i = 0; i < skip; i++) source.next();
  return source.next();
}

/** Batch `skip` (from 0) of a run's pretraining. */
export async function pretrainBatch(run: RunConfig, skip: number, hooks: PrepareHooks = {}): Promise<InspectedBatch> {
  const { prepared, tokenizer, close } = await prepareRun(run, hooks);
  try {
    const { batchSize: batch, contextLength: length, seed } = run.train;
    const { sampling, documents } = run.data;
    return { tokenizer, batch: nth(new Loader(prepared.train, { batch, length, seed, sampling, documents }), skip) };
  } finally {
    close();
  }
}

/** Batch `skip` (from 0) of a run's finetuning. */
export async function finetuneBatch(run: RunConfig, skip: number, hooks: PrepareHooks = {}): Promise<InspectedBatch> {
  const task = taskOf(run.finetune);
  const records = await task.read(run.finetune);
  const from = run.finetune.from ?? run.out;
  const { model, tokenizer, chatTemplate } = await openModel(from, { device: 'cpu', hub: hubOptions(hooks) });
  try {
    if (!tokenizer) throw new ArgumentError(`inspect: ${from} holds no tokenizer`);
    const { data } = await task.prepare(records, { run, model, tokenizer, chatTemplate });
    return { tokenizer, batch: nth(data, skip) };
  } finally {
    model.dispose();
  }
}

/** A token of a row. */
export interface SeenToken {
  readonly id: number;
  readonly text: string;
  /** Whether it is to be predicted from those before it in its document. */
  readonly learned: boolean;
  /** Where it stands in the row: what positions are learned of, or counted from. Null: it is a target alone, behind the last input. */
  readonly position: number | null;
}

/** Tokens of a row that attend to each other. */
export interface SeenDocument {
  /** Position of the first one. */
  readonly start: number;
  readonly tokens: readonly SeenToken[];
}

/** A row of a batch, document by document; padding (a last document of equal tokens without loss) is left out. */
export function documentsOfRow({ batch, tokenizer }: InspectedBatch, row: number): SeenDocument[] {
  const [from, to] = [row * batch.length, (row + 1) * batch.length];
  const documentAt = (i: number): number => batch.documents?.[i] ?? 0;
  const token = (id: number, learned: boolean, position: number | null): SeenToken => ({
    ...{ id, learned, position },
    text: new TextDecoder().decode(tokenizer.tokenBytes(id)),
  });
  const found: SeenDocument[] = [];
  for (let start = from; start < to; ) {
    let end = start;
    while (end < to && documentAt(end) === documentAt(start)) end++;
    const at = (i: number): number => batch.inputs[i] as number;
    const target = (i: number): number => batch.targets[i] as number;
    const tokens = Array.from({ length: end - start }, (_, k) => {
      const i = start + k;
      return token(at(i), k > 0 && target(i - 1) !== IGNORE, i - from);
    });
    const last = target(end - 1);
    if (last !== IGNORE) tokens.push(token(last, true, null));
    const padding = end === to && tokens.every(({ id, learned }) => id === 0 && !learned);
    if (!padding) found.push({ start: start - from, tokens });
    start = end;
  }
  return found;
}
