import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { openCheckpoint } from '../../../lib/checkpoint/index.ts';
import {
  type BatchSource,
  data,
  GPT,
  type GPTConfigInput,
  gptConfig,
  type nn,
  type Tensor,
  type TrainConfig,
  Trainer,
  type TrainerEvent,
  type TrainerOptions,
  trainConfig,
} from '../../../lib/index.ts';
import { type Inputs, type LossContext, type Objective, placeInputs } from '../../../lib/train/objective.ts';
import { DEVICE } from '../../run/devices.ts';

/** A folder that is removed after the test. */
export function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-train-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Tokens with a pattern that can be learned, in documents of 23 tokens. */
export function tokens(n: number, vocabSize = 17): data.MemoryTokens {
  const ids = Uint32Array.from({ length: n }, (_, i) => (i % 23 === 0 ? 0 : 1 + ((i * i + (i >> 3)) % (vocabSize - 1))));
  const starts = Uint32Array.from({ length: Math.ceil(n / 23) }, (_, i) => i * 23);
  return new data.MemoryTokens({ tokens: ids, starts, vocabSize, endOfText: 0 });
}

export interface Setup {
  model?: GPTConfigInput;
  train?: Partial<TrainConfig>;
  documents?: boolean;
  source?: BatchSource;
  options?: Partial<TrainerOptions>;
}

/** A model with two layers. */
export function modelOf(model: GPTConfigInput = {}, seed = 5): GPT {
  return new GPT(gptConfig({ vocabSize: 17, contextLength: 16, layers: 2, heads: 2, width: 16, ...model }), { seed });
}

/** A trainer of a model with two layers on `tokens`. */
export function trainerOf({ model, train, documents = false, source, options }: Setup = {}): Trainer {
  const config = trainConfig(
    { steps: 10, batchSize: 2, warmup: 2, learningRate: 1e-2, evalEvery: 0, saveEvery: 0, seed: 5, ...(train as object) },
    16,
  );
  const gpt = options?.model ?? modelOf(model, config.seed);
  const { batchSize: batch, contextLength: length, seed } = config;
  return new Trainer({
    ...{ model: gpt, train: config, documents },
    data: source ?? new data.Loader(tokens(2000), { batch, length, seed, documents }),
    ...options,
  });
}

/** The loss of a batch, on the device that tests run on. */
export function lossOn<B extends data.Batch, I extends Inputs>(objective: Objective<B, I>, batch: B, context: LossContext): Tensor {
  return objective.loss(placeInputs(objective.inputs(batch), DEVICE), context);
}

export async function eventsOf(trainer: Trainer): Promise<TrainerEvent[]> {
  const events: TrainerEvent[] = [];
  for await (const event of trainer) events.push(event);
  return events;
}

/** What a step event says, time left out. */
export const lossesOf = (events: readonly TrainerEvent[]): [number, number, number][] =>
  events.flatMap((e) => (e.type === 'step' ? [[e.step, e.loss, e.gradNorm] as [number, number, number]] : []));

/** All bits of parameters and optimizer. */
export function bitsOf(trainer: Trainer): string {
  const hash = createHash('sha256');
  const { parameters, buffers } = trainer.optimizer;
  for (const t of [parameters.values, ...buffers.values()]) {
    const values = t.dataSync();
    if (!values.every((v) => Number.isFinite(v))) throw new Error('not finite');
    for (const { start, end } of parameters.placements) hash.update(new Uint8Array(values.buffer, start * 4, (end - start) * 4));
  }
  return hash.digest('hex');
}

export function endOf(trainer: Trainer): void {
  trainer.dispose();
  trainer.model.dispose();
}

/**
 * A run that ends at its first checkpoint and goes on from there has the losses and ends with the bits of one that did not. `look`: at the whole
 * run, before it is disposed of.
 */
export async function resumesBitForBit(
  t: ExecutionContext,
  { train, policy, saveEvery }: { train: Partial<TrainConfig>; policy: nn.Policy; saveEvery: number },
  look: (straight: Trainer) => void = () => {},
): Promise<void> {
  const checkpoints = temporaryFolder(t);
  const straight = trainerOf({ train, options: { policy } });
  const want = lossesOf(await eventsOf(straight));
  const bits = bitsOf(straight);
  look(straight);
  endOf(straight);
  const first = trainerOf({ train: { ...train, saveEvery }, options: { policy, checkpoints } });
  let folder = '';
  for await (const event of first) {
    if (event.type !== 'checkpoint') continue;
    folder = event.folder;
    break;
  }
  endOf(first);
  const second = trainerOf({ train, options: { policy, checkpoints } });
  await second.resume(await openCheckpoint(folder));
  t.deepEqual(lossesOf(await eventsOf(second)), want.slice(saveEvery));
  t.is(bitsOf(second), bits);
  endOf(second);
}
