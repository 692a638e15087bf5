// Times single ops on one device: what `npm run bench -- kernels` prints. Figures of a simulated device say nothing about speed.
import { backward } from '../lib/autograd/index.ts';
import * as ops from '../lib/ops/index.ts';
import { type DType, scope, synchronize, type Tensor, tensor } from '../lib/tensor/index.ts';
import { type Make, maker } from './values.ts';

export interface KernelRow {
  kernel: string;
  shape: string;
  dtype: DType;
  msMedian: number;
  msMin: number;
  /** Of the arithmetic that the op asks for. */
  tflops: number;
  /** Inputs read once and results written once. */
  gbPerSecond: number;
}

export interface KernelBenchOptions {
  device: string;
  rounds: number;
  /** Sizes that a simulated device gets through in seconds. */
  small: boolean;
  /** What a row's name must begin with; all rows where there are none. */
  subjects?: readonly string[];
}

interface Job {
  kernel: string;
  shape: number[];
  dtype: DType;
  flops: number;
  bytes: number;
  /** Enqueues the op once. */
  run(): void;
}

const width = (dtype: DType): number => (dtype === 'f32' ? 4 : 2);

function matmuls(make: Make, N: number): Job[] {
  const job = (dtype: DType, precision: 'full' | 'tf32', kernel: string): Job => {
    const [a, b] = [make([N, N], dtype), make([N, N], dtype)];
    const run = () => void ops.matmul(a, b, { transB: true, precision });
    return { kernel, shape: [N, N, N], dtype, flops: 2 * N ** 3, bytes: 3 * N * N * width(dtype), run };
  };
  return [job('f32', 'full', 'matmul'), job('f32', 'tf32', 'matmul tf32'), job('bf16', 'full', 'matmul'), job('f16', 'full', 'matmul')];
}

function attentions(make: Make, [B, T, H, D]: readonly [number, number, number, number]): Job[] {
  const inputs = () => [0, 1, 2].map(() => make([B, T, H, D], 'bf16', true)) as [Tensor, Tensor, Tensor];
  const [forward, both] = [inputs().map((x) => x.detach()) as [Tensor, Tensor, Tensor], inputs()];
  const flops = 2 * B * H * T * T * D; // half of the pairs, two products
  const bytes = 4 * B * T * H * D * 2;
  const shared = { shape: [B, T, H, D], dtype: 'bf16' as const };
  return [
    { ...shared, kernel: 'attention', flops, bytes, run: () => void ops.attention(...forward, { causal: true }) },
    {
      ...{ ...shared, kernel: 'attention and backward', flops: 3.5 * flops, bytes: 3 * bytes },
      run: () => {
        backward(ops.sum(ops.attention(...both, { causal: true })));
        for (const x of both) x.zeroGrad();
      },
    },
  ];
}

function rowJobs(make: Make, rows: number, C: number, V: number): Job[] {
  const [x, w, b, logits] = [make([rows, C], 'bf16'), make([C]), make([C]), make([rows, V], 'bf16')];
  const targets = tensor(
    Int32Array.from({ length: rows }, (_, i) => (i * 7919) % V),
    { device: x.device },
  );
  const row = (kernel: string, cols: number, passes: number, run: () => void): Job => ({
    ...{ kernel, shape: [rows, cols], dtype: 'bf16', run, flops: 8 * rows * cols, bytes: passes * rows * cols * 2 },
  });
  return [
    row('layernorm', C, 2, () => void ops.layerNorm(x, { weight: w, bias: b })),
    row('softmax', V, 2, () => void ops.softmax(logits)),
    row('cross-entropy', V, 1, () => void ops.crossEntropy(logits, targets)),
    row('gelu', V, 2, () => void ops.gelu(logits)),
  ];
}

function adamw(make: Make, n: number): Job {
  const [values, gradient, m] = [make([n]), make([n]), make([n])];
  const v = scope(() => ops.square(make([n])).keep());
  const state = ops.stepState(values.device);
  ops.stepBegin(state, 1e-4, false);
  const fixed = { betas: [0.9, 0.95] as const, eps: 1e-8, weightDecay: 0.1, dampening: 0, nesterov: false };
  const run = () => ops.optimizerStep({ kind: 'adamw', values, gradient, m, v, state, decayCount: n, ...fixed });
  return { kernel: 'adamw', shape: [n], dtype: 'f32', flops: 12 * n, bytes: 28 * n, run };
}

/** Milliseconds of one run, from so many in a row that starting and waiting do not show. */
async function time(job: Job, device: string, repeats: number): Promise<number> {
  await synchronize(device);
  const start = performance.now();
  for (let i = 0; i < repeats; i++) scope(() => job.run());
  await synchronize(device);
  return (performance.now() - start) / repeats;
}

async function measure(job: Job, { device, rounds, small }: KernelBenchOptions): Promise<KernelRow> {
  const once = await time(job, device, 1); // and the first launch is behind us
  const repeats = small ? 1 : Math.max(1, Math.min(200, Math.round(50 / once)));
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push(await time(job, device, repeats));
  times.sort((a, b) => a - b);
  const msMedian = times[times.length >> 1] as number;
  return {
    ...{ kernel: job.kernel, shape: job.shape.join('x'), dtype: job.dtype, msMedian, msMin: times[0] as number },
    ...{ tflops: job.flops / msMedian / 1e9, gbPerSecond: job.bytes / msMedian / 1e6 },
  };
}

export async function benchKernels(o: KernelBenchOptions): Promise<KernelRow[]> {
  const make = maker(o.device);
  const groups: (() => Job[])[] = [
    () => matmuls(make, o.small ? 64 : 4096),
    () => attentions(make, o.small ? [1, 32, 2, 32] : [8, 1024, 12, 64]),
    () => rowJobs(make, o.small ? 16 : 4096, o.small ? 64 : 768, o.small ? 512 : 50304),
    () => [adamw(make, o.small ? 4096 : 1 << 26)],
  ];
  const rows: KernelRow[] = [];
  for (const group of groups) {
    const jobs = group().filter((job) => !o.subjects || o.subjects.some((name) => job.kernel.startsWith(name)));
    for (const job of jobs) rows.push(await measure(job, o));
  }
  return rows;
}
