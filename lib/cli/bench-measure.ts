// What heddle reaches on a device: products of matrices, training steps of presets, decoding.
import { backward } from '../autograd/index.ts';
import { generate } from '../generate/index.ts';
import { countParameters, flopsPerToken, GPT, type GPTConfigInput, gptConfig } from '../models/index.ts';
import { matmul } from '../ops/index.ts';
import { AdamW } from '../optim/index.ts';
import { type DType, memory, RandomSource, releaseMemory, resetPeakMemory, scope, synchronize, tensor, zeros } from '../tensor/index.ts';
import type { Step } from './bench-machine.ts';

export interface MatmulResult {
  readonly dtype: DType;
  /** N of (N, N) · (N, N). */
  readonly size: number;
  readonly gflops: number;
}

export interface TrainingResult {
  readonly preset: string;
  readonly parameters: number;
  readonly compute: 'f32' | 'bf16';
  /** B and T. */
  readonly batch: number;
  readonly length: number;
  readonly milliseconds: number;
  readonly tokensPerSecond: number;
  /** Floating-point operations of the model per second (`flopsPerToken`, palm). */
  readonly flops: number;
  /** Bytes of tensors at the most. */
  readonly peakMemory: number;
  readonly decoding: DecodingResult | null;
}

export interface DecodingResult {
  readonly tokensPerSecond: number;
  /** GB/s of weights: each token reads all of them once. */
  readonly gbPerSecond: number;
}

/** What to train a few steps of. */
export interface Job {
  readonly preset: string;
  readonly batch: number;
  readonly length: number;
  readonly changes?: GPTConfigInput;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

/** Runs work once to warm up and then for about so many milliseconds, at least `least` times; gives the median of its milliseconds. */
async function time(budget: number, least: number, signal: AbortSignal, work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  const until = performance.now() + budget;
  for (let i = 0; i <= least || performance.now() < until; i++) {
    signal.throwIfAborted();
    const start = performance.now();
    await work();
    if (i > 0) times.push(performance.now() - start);
  }
  return median(times);
}

export interface Settings {
  readonly device: string;
  readonly signal: AbortSignal;
  /** Milliseconds for each measurement, more or less. */
  readonly budget: number;
  /** Repeats of each at least. */
  readonly least: number;
  readonly step: Step;
}

export async function measureMatmul(dtype: DType, size: number, { device, budget, least, signal, step }: Settings): Promise<MatmulResult> {
  const [a, b] = [0, 1].map((salt) => {
    const values = new Float32Array(size * size);
    for (let i = 0; i < values.length; i++) values[i] = (Math.imul(i + 1 + salt, 0x9e3779b1) >>> 8) / 2 ** 23 - 1;
    return tensor(values, { shape: [size, size], dtype, device });
  }) as [ReturnType<typeof tensor>, ReturnType<typeof tensor>];
  try {
    const milliseconds = await step(`matmul ${dtype} ${size}`, () =>
      time(budget, least, signal, () => {
        scope(() => void matmul(a, b, { transB: true }));
        return synchronize(device);
      }),
    );
    return { dtype, size, gflops: (2 * size ** 3) / milliseconds / 1e6 };
  } finally {
    a.dispose();
    b.dispose();
  }
}

/** Trains a few steps of a preset on random tokens, then lets it write. */
export async function measureTraining({ preset, batch: B, length: T, changes = {} }: Job, settings: Settings): Promise<TrainingResult> {
  const { device, signal, budget, least, step } = settings;
  const isGpu = device !== 'cpu';
  const config = gptConfig(changes, preset);
  releaseMemory(device);
  const before = memory(device).used;
  const model = new GPT(config, { device, seed: 1, compute: isGpu ? 'bf16' : 'f32' });
  try {
    const optimizer = new AdamW(model, { lr: 1e-4, betas: [0.9, 0.95], weightDecay: 0.1 });
    const random = new RandomSource(1, device);
    const ids = Int32Array.from({ length: B * T }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 8) % config.vocabSize);
    const once = async (): Promise<void> => {
      const loss = scope(() => {
        const [x, y] = [tensor(ids, { shape: [B, T], device }), tensor(ids.toReversed(), { shape: [B, T], device })];
        const l = model.loss(x, y, { random });
        backward(l);
        optimizer.step();
        optimizer.zeroGrad();
        return l.detach().keep();
      });
      await loss.item();
      loss.dispose();
    };
    resetPeakMemory(device);
    const milliseconds = await step(`training ${preset}`, () => time(budget, least, signal, once));
    const peakMemory = memory(device).peak - before;
    const tokensPerSecond = (B * T * 1000) / milliseconds;
    const decoding = await step(`decoding ${preset}`, () => measureDecoding(model, settings));
    return {
      ...{ preset, parameters: countParameters(config).total, compute: isGpu ? ('bf16' as const) : ('f32' as const), batch: B, length: T },
      ...{ milliseconds, tokensPerSecond, flops: tokensPerSecond * flopsPerToken(config, T), peakMemory, decoding },
    };
  } finally {
    model.dispose();
    releaseMemory(device);
  }
}

/** Tokens after a short prompt, one at a time; what comes before the first of them does not count. */
async function measureDecoding(model: GPT, { signal, budget }: Settings): Promise<DecodingResult> {
  const { contextLength } = model.config;
  const prompt = Array.from({ length: Math.min(8, contextLength >> 1) }, (_, i) => i);
  const most = contextLength - prompt.length;
  const run = async (maxTokens: number): Promise<number> => {
    const start = performance.now();
    await generate(model, null, prompt, { maxTokens, endOfText: null, signal });
    return performance.now() - start;
  };
  await run(1);
  const few = await run(Math.min(5, most));
  const first = await run(1);
  const perToken = Math.max(1e-3, (few - first) / (Math.min(5, most) - 1));
  const count = Math.max(2, Math.min(most, Math.round(budget / perToken)));
  const milliseconds = ((await run(count)) - (await run(1))) / (count - 1);
  const { total, positions } = countParameters(model.config);
  const bytes = (total - positions) * (model.compute === 'f32' ? 4 : 2);
  return { tokensPerSecond: 1000 / milliseconds, gbPerSecond: bytes / milliseconds / 1e6 };
}

/** Whether a device is there: making a tensor on it is what tells. Gives its name: `auto` is one of them. */
export function resolveDevice(device: string): string {
  const probe = zeros([1], { device });
  const name = probe.device;
  probe.dispose();
  return name;
}
