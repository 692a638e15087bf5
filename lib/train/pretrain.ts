import { join } from 'node:path';
import { type Checkpoint, clearCheckpoints, type Json, latestCheckpoint } from '../checkpoint/index.ts';
import { Loader } from '../data/index.ts';
import { GPT } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { describeDevice, memory } from '../tensor/device.ts';
import { ArgumentError, HeddleError } from '../util/errors.ts';
import type { RunConfig } from './config.ts';
import { evaluate } from './evaluate.ts';
import { findCheckpoint, type OpenModel, openModel } from './open.ts';
import { computeOn } from './policy.ts';
import { hubOptions, type PreparedRun, type PrepareHooks, prepareRun } from './prepare.ts';
import { Trainer, type TrainerEvent, type TrainerOptions } from './trainer.ts';

export interface RunHooks extends PrepareHooks {
  /** In place of the configuration's. */
  device?: string;
  minutes?: number;
  /** Called before each checkpoint is written. */
  beforeSave?: () => void | Promise<void>;
  /** Called for every event, while nothing trains: the model may be sampled. */
  onEvent?: (event: TrainerEvent, trainer: Trainer) => void | Promise<void>;
  /** Called when the trainer is ready; `from` is the step that it starts at. */
  onStart?: (trainer: Trainer, from: number) => void;
  /** Called after each batch of `evaluateRun`. */
  onEvaluate?: (batches: number, of: number) => void;
}

export interface RunResult {
  /**
   * Mean cross-entropy in nats of the run's last evaluation: at the end (also when the time was over) that of the whole validation
   * split. NaN without one.
   */
  valLoss: number;
  bitsPerByte: number | null;
  /** What else that evaluation measured, by name: `accuracy`, … */
  metrics: Readonly<Record<string, number>>;
  steps: number;
  /** Mean over the run's step events; 0 when nothing was trained. */
  tokensPerSecond: number;
  /** The folder with the best (or last) state. */
  checkpoint: string | null;
  reason: (TrainerEvent & { type: 'end' })['reason'];
  parameters: number;
  /** Of them those that are trained: fewer with LoRA. */
  trainable: number;
  /** The most bytes that tensors held at a time on the device, since the process began. */
  memory: number;
  /** Where it was computed, for people: `cpu`, `cuda:0 (NVIDIA H100)`. */
  device: string;
}

export interface PretrainOptions extends RunHooks {
  /** Go on from the newest checkpoint of the run. */
  resume?: boolean;
  /** Leave out what a folder may hold already and start over. */
  fresh?: boolean;
}

/** What a result says of its model; `module`: what holds the model, or itself. */
export function factsOf(model: GPT, module: Module = model): Pick<RunResult, 'parameters' | 'trainable' | 'memory' | 'device'> {
  const { device } = model;
  return {
    parameters: module.parameterCount(),
    trainable: module.trainableCount(),
    memory: memory(device).peak,
    device: describeDevice(device),
  };
}

/** Drives a trainer to its end and sums up. */
export async function drive(
  trainer: Trainer,
  hooks: RunHooks,
): Promise<Omit<RunResult, 'checkpoint' | 'parameters' | 'trainable' | 'memory' | 'device'> & { saved: string | null }> {
  let [valLoss, bits, steps, rates, rateCount] = [Number.NaN, null as number | null, trainer.step, 0, 0];
  let metrics: RunResult['metrics'] = {};
  let reason: RunResult['reason'] = 'steps';
  let saved: string | null = null;
  for await (const event of trainer) {
    if (event.type === 'step') {
      rates += event.tokensPerSecond;
      rateCount++;
    } else if (event.type === 'evaluation') [valLoss, bits, metrics] = [event.loss, event.bitsPerByte, event.metrics ?? {}];
    else if (event.type === 'checkpoint') saved = event.folder;
    else reason = event.reason;
    steps = event.step;
    await hooks.onEvent?.(event, trainer);
  }
  return { valLoss, bitsPerByte: bits, metrics, steps, tokensPerSecond: rateCount ? rates / rateCount : 0, reason, saved };
}

/** The newest checkpoint to resume from; an error when there is one and nobody said what to do with it. */
export async function startingPoint(out: string, folder: string, options: PretrainOptions): Promise<Checkpoint | undefined> {
  if (options.fresh) return undefined;
  const { checkpoint, skipped } = await latestCheckpoint(folder);
  for (const s of skipped) options.onMessage?.(`${join(folder, s.name)} is passed over: ${s.why}`);
  if (!checkpoint) {
    // What cannot be read is not thrown away unasked: it may be for want of rights, or of a cable.
    const damaged = skipped.filter((s) => s.damaged);
    if (damaged.length === 0) return undefined;
    throw new HeddleError('ERR_HEDDLE_RUN_EXISTS', `${out} holds no complete checkpoint, but ${damaged.map((s) => s.name).join(', ')}`, {
      hint: 'Start over with --fresh, which removes them.',
    });
  }
  if (options.resume) return checkpoint;
  throw new HeddleError('ERR_HEDDLE_RUN_EXISTS', `${out} already holds a run of ${checkpoint.manifest.step} steps`, {
    hint: 'Go on with --resume, or start over with --fresh.',
  });
}

function loaderOf(run: RunConfig, data: PreparedRun): Loader {
  const { batchSize, contextLength, seed } = run.train;
  const { sampling, documents } = run.data;
  return new Loader(data.prepared.train, { batch: batchSize, length: contextLength, seed, sampling, documents });
}

/** A trainer for a run's pretraining, from the start; and its validation settings. */
export function pretrainer(run: RunConfig, data: PreparedRun, options: RunHooks & Pick<TrainerOptions, 'checkpoints'>): Trainer {
  const model = new GPT(data.model, { seed: run.train.seed, device: options.device ?? run.device });
  return new Trainer({
    model,
    data: loaderOf(run, data),
    train: run.train,
    validation: data.prepared.validation ?? null,
    tokenizer: data.tokenizer,
    documents: run.data.documents,
    config: run as unknown as Json,
    ...(options.checkpoints !== undefined && { checkpoints: options.checkpoints }),
    ...(options.signal && { signal: options.signal }),
    ...(options.minutes !== undefined && { minutes: options.minutes }),
    ...(options.beforeSave && { beforeSave: options.beforeSave }),
  });
}

/**
 * Prepares the run's data, builds its model and trains it; checkpoints go to `<out>/checkpoints`.
 * @throws HeddleError `ERR_HEDDLE_RUN_EXISTS` when there are some already and neither `resume` nor `fresh` is set
 */
export async function pretrain(run: RunConfig, options: PretrainOptions = {}): Promise<RunResult> {
  const folder = join(run.out, 'checkpoints');
  const start = await startingPoint(run.out, folder, options);
  const data = await prepareRun(run, options);
  let trainer: Trainer | null = null;
  try {
    trainer = pretrainer(run, data, { ...options, checkpoints: folder });
    // Only when all is well with the new run is the old one given up.
    if (!start) await clearCheckpoints(folder);
    if (start) await trainer.resume(start);
    options.onStart?.(trainer, trainer.step);
    const result = await drive(trainer, options);
    const { saved, ...rest } = result;
    const best = await findCheckpoint(folder);
    let { valLoss, bitsPerByte } = rest;
    if (Number.isNaN(valLoss) && data.prepared.validation) {
      // Stopped before its last evaluation: the figure is that of the state it stopped in.
      const { length, documents } = { length: run.train.contextLength, documents: run.data.documents };
      ({ loss: valLoss, bitsPerByte } = await evaluate(trainer.model, data.prepared.validation, {
        tokenizer: data.tokenizer,
        length,
        documents,
      }));
    }
    return { ...rest, valLoss, bitsPerByte, checkpoint: best.folder ?? saved, ...factsOf(trainer.model) };
  } finally {
    trainer?.dispose();
    trainer?.model.dispose();
    data.close();
  }
}

/** A model can be measured on a run's tokens when they are its own tokenizer's. */
function checkTokens({ model, tokenizer, checkpoint, steps }: OpenModel, data: PreparedRun): void {
  const { vocabSize } = data.tokenizer;
  if (vocabSize > model.config.vocabSize)
    throw new ArgumentError(
      `evaluate: the run's tokenizer must have at most the model's ${model.config.vocabSize} tokens, got ${vocabSize}`,
    );
  if (steps === null && tokenizer && tokenizer.hash() !== data.tokenizer.hash())
    throw new ArgumentError(`evaluate: the run's tokenizer must be that of ${checkpoint}, got another one`, {
      hint: 'Name it in the configuration: tokenizer: { kind: load, path: ... }.',
    });
}

/** Evaluates a run's best checkpoint (or another model) on its whole validation split. */
export async function evaluateRun(run: RunConfig, options: RunHooks & { checkpoint?: string; stride?: number } = {}): Promise<RunResult> {
  const opened = await openModel(options.checkpoint ?? run.out, { device: options.device ?? run.device, hub: hubOptions(options) });
  const { model } = opened;
  let data: PreparedRun | undefined;
  try {
    data = await prepareRun(run, options);
    if (!data.prepared.validation)
      throw new HeddleError('ERR_HEDDLE_NO_VALIDATION', 'the run has no validation split: data.valFraction is 0');
    checkTokens(opened, data);
    model.computeIn(computeOn(model.device, run.train.policy.compute));
    const length = Math.min(run.train.contextLength, model.config.contextLength);
    const started = performance.now();
    const result = await evaluate(model, data.prepared.validation, {
      ...{ tokenizer: data.tokenizer, length, documents: run.data.documents },
      ...(options.stride !== undefined && { stride: options.stride }),
      ...(options.signal && { signal: options.signal }),
      ...(options.onEvaluate && { onProgress: options.onEvaluate }),
    });
    const tokensPerSecond = (result.tokens * 1000) / (performance.now() - started);
    const facts = factsOf(model);
    const { loss: valLoss, bitsPerByte } = result;
    return {
      valLoss,
      bitsPerByte,
      metrics: {},
      steps: opened.steps ?? 0,
      tokensPerSecond,
      checkpoint: opened.checkpoint,
      reason: 'steps',
      ...facts,
    };
  } finally {
    model.dispose();
    data?.close();
  }
}
