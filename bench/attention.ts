// Times attention on the CPU, op by op, against the FMA peak measured in turn with it: the shapes of training jobs and a long sequence.
import { backward, noGrad } from '../lib/autograd/index.ts';
import { native } from '../lib/native/addon.ts';
import * as ops from '../lib/ops/index.ts';
import { scope, setThreads, synchronize } from '../lib/tensor/index.ts';
import { median } from './machine.ts';
import { maker } from './values.ts';

export interface AttentionRow {
  /** B x T x H x D, causal, q, k and v in one packed projection. */
  shape: string;
  pass: 'forward' | 'backward';
  threads: number;
  msMedian: number;
  msMin: number;
  /** Of the products that the mask leaves: two forward, five backward. */
  gflops: number;
  /** Of the FMA peak, the median over the rounds. */
  share: number;
}

export interface AttentionBenchOptions {
  threads: number;
  rounds: number;
  /** Sizes that are done in a moment. */
  small: boolean;
}

const make = maker('cpu');

type Shape = readonly [B: number, T: number, H: number, D: number];

const SHAPES: readonly Shape[] = [
  [1, 1024, 12, 64],
  [4, 256, 12, 64],
  [16, 256, 6, 64],
  [12, 64, 4, 32],
];
const SMALL: readonly Shape[] = [[2, 48, 2, 32]];

/** Milliseconds of one run of `op` among many. What is enqueued together runs while this thread waits, and no thread goes to sleep. */
async function time(op: string, repeats: number, run: () => void): Promise<number> {
  const together = 8;
  for (let i = 0; i < repeats + together; i++) {
    if (i === together) native.timeOps('cpu'); // from here on, results get the memory of earlier ones: no new pages in their time
    scope(run);
    if (i % together === together - 1) await synchronize('cpu');
  }
  const found = native.takeOpTimes('cpu').find((t) => t.op === op);
  if (!found) throw new Error(`the times of ops must have ${op}, got none`);
  return found.ms / found.count;
}

async function measure([B, T, H, D]: Shape, { threads, rounds, small }: AttentionBenchOptions): Promise<AttentionRow[]> {
  const [qkv, weight] = [make([B, T, 3 * H * D], 'f32', true), make([B, T, H * D])];
  const product = B * H * T * (T + 1) * D; // multiply and add
  const repeats = small ? 1 : Math.max(3, Math.min(200, Math.round(2e10 / (7 * product))));
  const forward = () => ops.packedAttention(qkv, H, H, { causal: true });
  const both = () => {
    backward(ops.sum(ops.mul(forward(), weight)));
    qkv.zeroGrad();
  };
  const found: { forward: number; backward: number; forwardPeak: number; backwardPeak: number }[] = [];
  const peak = (): number => native.probe('fma', threads, 0);
  let before = peak();
  for (let round = 0; round < rounds; round++) {
    const forwardMs = await time('attention', repeats, () => void noGrad(forward));
    const between = peak();
    const backwardMs = await time('attentionBackward', repeats, both);
    const after = peak();
    const peaks = { forwardPeak: (before + between) / 2, backwardPeak: (between + after) / 2 };
    found.push({ forward: forwardMs, backward: backwardMs, ...peaks });
    before = after;
  }
  for (const x of [qkv, weight]) x.dispose();
  const row = (pass: 'forward' | 'backward', products: number): AttentionRow => {
    const ms = found.map((f) => f[pass]);
    const rate = (x: number): number => (products * product) / x / 1e6;
    return {
      ...{ shape: `${B}x${T}x${H}x${D}`, pass, threads, msMedian: median(ms), msMin: Math.min(...ms), gflops: rate(median(ms)) },
      share: median(found.map((f) => rate(f[pass]) / f[`${pass}Peak`])),
    };
  };
  return [row('forward', 2), row('backward', 5)];
}

export async function benchAttention(options: AttentionBenchOptions): Promise<AttentionRow[]> {
  setThreads(options.threads);
  const rows: AttentionRow[] = [];
  for (const shape of options.small ? SMALL : SHAPES) rows.push(...(await measure(shape, options)));
  return rows;
}
