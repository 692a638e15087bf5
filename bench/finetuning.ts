// `npm run bench -- finetune`: what LoRA and QLoRA take of the memory and of the speed of finetuning all of GPT-2 124M. f32, AdamW, a head
// that computes its logits in chunks. Memory is counted, not measured: from before the model is made to the end of the second step.

import { backward } from '../lib/autograd/index.ts';
import { addLoRA, GPT, type PresetName } from '../lib/models/index.ts';
import { native } from '../lib/native/addon.ts';
import type { Recompute } from '../lib/nn/index.ts';
import { AdamW } from '../lib/optim/index.ts';
import { memory, resetPeakMemory, scope, setThreads, tensor } from '../lib/tensor/index.ts';
import { median } from './machine.ts';

export const METHODS = ['full', 'LoRA', 'QLoRA'] as const;
export type Method = (typeof METHODS)[number];
const RECOMPUTES = ['none', 'block'] as const satisfies readonly Recompute[];

/** Of the memory of finetuning all with the same recomputation. */
export const MEMORY_TARGETS: Readonly<Record<(typeof RECOMPUTES)[number], Readonly<Record<Method, number>>>> = {
  none: { full: 1, LoRA: 0.48, QLoRA: 0.37 },
  block: { full: 1, LoRA: 0.38, QLoRA: 0.25 },
};

export interface FinetuneRow {
  method: Method;
  recompute: (typeof RECOMPUTES)[number];
  learned: number;
  parameters: number;
  peakBytes: number;
  /** Of all of the model's finetuning with the same recomputation. */
  share: number;
  target: number;
  tokensPerSecond?: number;
  /** Beside all of the model's finetuning, median over rounds in turns. */
  speed?: number;
}

export interface FinetuneBenchOptions {
  threads: number;
  /** 0: memory alone, without computing anything. */
  rounds: number;
  /** Default gpt2: 124M parameters, B = 4, T = 256. */
  preset?: PresetName;
  batch?: number;
  length?: number;
  rank?: number;
}

/** Rows of logits that exist at a time. */
const CHUNK = 128;

/** A model with all that its training holds; `step` enqueues one step. */
class Finetuning implements Disposable {
  readonly model: GPT;
  readonly optimizer: AdamW;
  readonly learned: number;
  readonly parameters: number;
  readonly #shape: [number, number];

  constructor(method: Method, recompute: Recompute, o: FinetuneBenchOptions) {
    const { preset = 'gpt2', batch = 4, length = 256, rank = 16 } = o;
    this.model = GPT.fromPreset(preset, {}, { seed: 1, device: 'cpu' });
    this.model.recompute = recompute;
    if (method !== 'full') addLoRA(this.model, { rank, alpha: rank, seed: 1, quantize: method === 'QLoRA' ? 'nf4' : 'none' });
    this.learned = this.model.trainableCount();
    this.parameters = this.model.parameterCount();
    this.optimizer = new AdamW(this.model, { lr: 1e-4 });
    this.#shape = [batch, length];
  }

  step(): void {
    const [B, T] = this.#shape;
    const { vocabSize } = this.model.config;
    scope(() => {
      const ids = tensor(
        Int32Array.from({ length: B * T }, (_, i) => (i * 7919) % vocabSize),
        { shape: [B, T], device: 'cpu' },
      );
      backward(this.model.loss(ids, ids, { chunkRows: CHUNK }));
    });
    this.optimizer.clipGradNorm(1);
    this.optimizer.step(1e-4);
    this.optimizer.zeroGrad();
  }

  [Symbol.dispose](): void {
    this.optimizer.dispose();
    this.model.dispose();
  }
}

/** The most bytes that tensors hold. Nothing is computed. */
function peakOf(method: Method, recompute: Recompute, o: FinetuneBenchOptions) {
  const before = memory('cpu').used;
  resetPeakMemory('cpu');
  native.setHollow('cpu', true);
  try {
    using job = new Finetuning(method, recompute, o);
    job.step();
    job.step();
    const { learned, parameters } = job;
    return { learned, parameters, peakBytes: memory('cpu').peak - before };
  } finally {
    native.setHollow('cpu', false);
    native.synchronizeSync('cpu');
  }
}

/** Milliseconds of a step of each method, the methods in turns. */
function timesOf(recompute: Recompute, o: FinetuneBenchOptions): number[][] {
  const jobs = METHODS.map((method) => new Finetuning(method, recompute, o));
  const times = jobs.map((): number[] => []);
  for (let round = -1; round < o.rounds; round++)
    jobs.forEach((job, i) => {
      const start = performance.now();
      job.step();
      native.synchronizeSync('cpu');
      if (round >= 0) times[i]?.push(performance.now() - start);
    });
  for (const job of jobs) job[Symbol.dispose]();
  return times;
}

export function benchFinetune(o: FinetuneBenchOptions): FinetuneRow[] {
  setThreads(o.threads);
  const { batch = 4, length = 256 } = o;
  return RECOMPUTES.flatMap((recompute) => {
    const peaks = METHODS.map((method) => peakOf(method, recompute, o));
    const times = o.rounds > 0 ? timesOf(recompute, o) : undefined;
    const full = times?.[0] ?? [];
    return METHODS.map((method, i): FinetuneRow => {
      const { learned, parameters, peakBytes } = peaks[i] as (typeof peaks)[number];
      const own = times?.[i];
      return {
        ...{ method, recompute, learned, parameters, peakBytes, target: MEMORY_TARGETS[recompute][method] },
        share: peakBytes / (peaks[0] as (typeof peaks)[number]).peakBytes,
        ...(own && {
          tokensPerSecond: (batch * length * 1000) / median(own),
          speed: median(own.map((ms, round) => (full[round] as number) / ms)),
        }),
      };
    });
  });
}
