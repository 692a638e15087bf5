import { join } from 'node:path';
import { clearCheckpoints, type Json } from '../checkpoint/index.ts';
import { addLoRA, type GPT, loraConfigOf, mergeLoRA } from '../models/index.ts';
import type { ChatTemplate, Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import type { RunConfig } from './config.ts';
import { exportLoRA } from './export-lora.ts';
import { findCheckpoint, openModel } from './open.ts';
import { hubOptions } from './prepare.ts';
import { drive, factsOf, type PretrainOptions, type RunHooks, type RunResult, startingPoint } from './pretrain.ts';
import { type FinetuneRecords, taskOf } from './tasks/index.ts';
import { Trainer } from './trainer.ts';

export interface FinetuneOptions extends PretrainOptions {
  /** What is learned from, of the kind of `finetune.task`, in place of the configured files. */
  examples?: FinetuneRecords;
}

/** A trainer for a model on examples of the run's `finetune.task`. */
export async function finetuner(
  run: RunConfig,
  model: GPT,
  tokenizer: Tokenizer,
  examples: FinetuneRecords,
  options: RunHooks & { checkpoints?: string; chatTemplate?: ChatTemplate | null } = {},
): Promise<Trainer> {
  const { chatTemplate = null } = options;
  const task = await taskOf(run.finetune).prepare(examples, { run, model, tokenizer, chatTemplate });
  return new Trainer({
    ...{ model, ...task, train: run.finetune.train, tokenizer, documents: true, config: run as unknown as Json },
    ...(options.checkpoints !== undefined && { checkpoints: options.checkpoints }),
    ...(options.signal && { signal: options.signal }),
    ...(options.minutes !== undefined && { minutes: options.minutes }),
    ...(options.beforeSave && { beforeSave: options.beforeSave }),
  });
}

export interface FinetuneResult extends RunResult {
  /** With LoRA: the folder of PEFT's files, or of the merged model. */
  exported: string | null;
}

/** Freezes the model and gives it the changes that the configuration asks for; those that it came with become part of it. */
function prepareLoRA(run: RunConfig, model: GPT): void {
  if (loraConfigOf(model)) mergeLoRA(model);
  if (!run.finetune.lora) return;
  const { merge: _, ...options } = run.finetune.lora;
  addLoRA(model, { ...options, seed: run.finetune.train.seed });
}

/**
 * Trains the run's best checkpoint (or `finetune.from`) on examples; checkpoints go to `<out>/finetune/checkpoints`. With
 * `examples` it starts over unless `resume` is set.
 * @throws HeddleError `ERR_HEDDLE_RUN_EXISTS` when there are some already and neither `resume` nor `fresh` is set
 */
export async function finetune(run: RunConfig, options: FinetuneOptions = {}): Promise<FinetuneResult> {
  const out = join(run.out, 'finetune');
  const folder = join(out, 'checkpoints');
  const fresh = options.fresh || (options.examples !== undefined && !options.resume);
  const start = await startingPoint(out, folder, { ...options, fresh });
  const examples = options.examples ?? ((await taskOf(run.finetune).read(run.finetune)) as FinetuneRecords);
  const from = run.finetune.from ?? run.out;
  const { model, head, tokenizer, chatTemplate } = await openModel(from, {
    device: options.device ?? run.device,
    hub: hubOptions(options),
  });
  head?.score.dispose(); // the model alone is learned from here
  let trainer: Trainer | null = null;
  try {
    if (!tokenizer) throw new ArgumentError(`finetune: ${from} holds no tokenizer`);
    prepareLoRA(run, model);
    trainer = await finetuner(run, model, tokenizer, examples, { ...options, chatTemplate, checkpoints: folder });
    if (start) await trainer.resume(start);
    else await clearCheckpoints(folder);
    options.onStart?.(trainer, trainer.step);
    const { saved, ...result } = await drive(trainer, options);
    const checkpoint = (await findCheckpoint(folder)).folder ?? saved;
    const { lora } = run.finetune;
    const exported = lora && result.reason !== 'aborted' ? await exportLoRA(checkpoint, out, { merge: lora.merge, base: from }) : null;
    return { ...result, checkpoint, exported, ...factsOf(model, trainer.module) };
  } finally {
    trainer?.dispose();
    (trainer?.module ?? model).dispose();
  }
}
