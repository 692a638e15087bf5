import { join } from 'node:path';
import { clearCheckpoints, type Json } from '../checkpoint/index.ts';
import { type Example, ExamplesLoader, encodeExamples, openSource, planSplit, splitItems, type TokenData } from '../data/index.ts';
import { addLoRA, type GPT, loraConfigOf, mergeLoRA } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import type { RunConfig } from './config.ts';
import { exportLoRA } from './export-lora.ts';
import { findCheckpoint, openModel } from './open.ts';
import { hubOptions } from './prepare.ts';
import { drive, factsOf, type PretrainOptions, type RunHooks, type RunResult, startingPoint } from './pretrain.ts';
import { Trainer } from './trainer.ts';

export interface FinetuneOptions extends PretrainOptions {
  /** Examples in place of the configured files. */
  examples?: { train: readonly Example[]; validation: readonly Example[] };
}

/** Examples of a JSONL file, the last `valFraction` of them (or another file) for validation. */
export async function readExamples(
  files: Pick<RunConfig['finetune'], 'path' | 'valPath' | 'valFraction'>,
): Promise<{ train: Example[]; validation: Example[] }> {
  const { path, valPath, valFraction } = files;
  if (path === undefined)
    throw new ArgumentError('finetune.path must name a JSONL file of prompts and completions', { hint: 'Or give --data FILE.' });
  const part = async (file: string, fraction: number, name: 'train' | 'validation'): Promise<Example[]> => {
    const source = openSource(file);
    const examples: Example[] = [];
    for (const item of splitItems(source, await planSplit(source, fraction), name)) {
      if (item.kind !== 'example') throw new ArgumentError(`${item.file}:${item.line}: must have prompt and completion, got text`);
      examples.push({ prompt: item.prompt, completion: item.completion });
    }
    return examples;
  };
  if (valPath !== undefined) return { train: await part(path, 0, 'train'), validation: await part(valPath, 0, 'train') };
  return { train: await part(path, valFraction, 'train'), validation: await part(path, valFraction, 'validation') };
}

/** A trainer for a model on examples: loss on completions only, several examples in a row without seeing each other. */
export function finetuner(
  run: RunConfig,
  model: GPT,
  tokenizer: Tokenizer,
  examples: { train: readonly Example[]; validation: readonly Example[] },
  options: RunHooks & { checkpoints?: string },
): Trainer {
  const { train, packing, tooLong } = run.finetune;
  const data = new ExamplesLoader(encodeExamples(examples.train, tokenizer), {
    ...{ batch: train.batchSize, length: train.contextLength, seed: train.seed, packing, tooLong },
  });
  const validation: TokenData | null = examples.validation.length > 0 ? encodeExamples(examples.validation, tokenizer) : null;
  return new Trainer({
    ...{ model, data, train, validation, tokenizer, documents: true, config: run as unknown as Json },
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
  const examples = options.examples ?? (await readExamples(run.finetune));
  const from = run.finetune.from ?? run.out;
  const { model, tokenizer } = await openModel(from, {
    device: options.device ?? run.device,
    hub: hubOptions(options),
  });
  if (!tokenizer) throw new ArgumentError(`finetune: ${from} holds no tokenizer`);
  prepareLoRA(run, model);
  const trainer = finetuner(run, model, tokenizer, examples, { ...options, checkpoints: folder });
  try {
    if (start) await trainer.resume(start);
    else await clearCheckpoints(folder);
    options.onStart?.(trainer, trainer.step);
    const { saved, ...result } = await drive(trainer, options);
    const checkpoint = (await findCheckpoint(folder)).folder ?? saved;
    const { lora } = run.finetune;
    const exported = lora && result.reason !== 'aborted' ? await exportLoRA(checkpoint, out, { merge: lora.merge, base: from }) : null;
    return { ...result, checkpoint, exported, ...factsOf(model) };
  } finally {
    trainer.dispose();
    model.dispose();
  }
}
