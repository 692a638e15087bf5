// What `heddle doctor` runs in processes of its own: an op of every kernel family, forward and backward.
//   self_test values           prints what the CPU computes
//   self_test DEVICE < values  prints a verdict for each family: whether the device computes that
import { readFileSync } from 'node:fs';
import { backward } from '../autograd/index.ts';
import * as ops from '../ops/index.ts';
import { RandomSource, scope, type Tensor, tensor } from '../tensor/index.ts';

/** Results of one family on a device: equal on every device, up to rounding. */
type Family = (device: string) => Tensor[];

/** Numbers in [-1, 1), a function of their place. */
function numbers(device: string, shape: number[], salt: number, requiresGrad = true): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: n }, (_, i) => ((Math.imul(i + 1, 0x9e3779b1) + salt * 0x85ebca6b) >>> 8) / 2 ** 23 - 1);
  return tensor(values, { shape, device, requiresGrad });
}

const integers = (device: string, values: number[]): Tensor => tensor(Int32Array.from(values), { device });

/** The result, and the gradients of the sum of its squares. */
function withGradients(y: Tensor, inputs: Tensor[]): Tensor[] {
  backward(ops.sum(ops.mul(y, y)));
  return [y, ...inputs.map((x) => x.grad as Tensor)];
}

const FAMILIES: Readonly<Record<string, Family>> = {
  movement: (d) => {
    const x = numbers(d, [5, 7, 9], 1);
    return withGradients(ops.concat([ops.permute(x, [2, 0, 1]), ops.permute(x, [2, 0, 1])], 1), [x]);
  },
  elementwise: (d) => {
    const [x, y] = [numbers(d, [6, 33], 2), numbers(d, [33], 3)];
    return withGradients(ops.gelu(ops.mul(x, y)), [x, y]);
  },
  dropout: (d) => {
    const x = numbers(d, [40, 40], 4);
    return withGradients(ops.dropout(x, 0.3, new RandomSource(7, d)), [x]);
  },
  reduce: (d) => {
    const x = numbers(d, [30, 41], 5);
    return withGradients(ops.sum(x, { dim: 0 }), [x]);
  },
  softmax: (d) => {
    const x = numbers(d, [11, 130], 6);
    return withGradients(ops.softmax(x), [x]);
  },
  matmul: (d) => {
    const [x, w, b] = [numbers(d, [37, 50], 7), numbers(d, [70, 50], 8), numbers(d, [70], 9)];
    return withGradients(ops.linear(x, w, { bias: b, activation: 'geluTanh' }), [x, w, b]);
  },
  embedding: (d) => {
    const table = numbers(d, [13, 24], 10);
    return withGradients(ops.embedding(table, integers(d, [3, 12, 3, 0, 7])), [table]);
  },
  rope: (d) => {
    const x = numbers(d, [2, 5, 3, 16], 11);
    return withGradients(ops.rope(x), [x]);
  },
  norm: (d) => {
    const [x, w, b] = [numbers(d, [9, 72], 12), numbers(d, [72], 13), numbers(d, [72], 14)];
    return withGradients(ops.layerNorm(x, { weight: w, bias: b }), [x, w, b]);
  },
  attention: (d) => {
    const [q, k, v] = [numbers(d, [1, 20, 2, 32], 15), numbers(d, [1, 20, 1, 32], 16), numbers(d, [1, 20, 1, 32], 17)];
    return withGradients(ops.attention(q, k, v, { causal: true }), [q, k, v]);
  },
  loss: (d) => {
    const x = numbers(d, [6, 100], 18);
    return withGradients(ops.crossEntropy(x, integers(d, [1, 99, 5, 50, 2, 3])), [x]);
  },
  optimizer: (d) => {
    const [values, gradient] = [numbers(d, [500], 19, false), numbers(d, [500], 20, false)];
    const [m, v] = [numbers(d, [500], 21, false), ops.square(numbers(d, [500], 22, false))];
    const state = ops.stepState(d);
    ops.gradNorm(gradient, state, 1);
    ops.stepBegin(state, 0.01, true);
    const fixed = { betas: [0.9, 0.99] as const, eps: 1e-8, weightDecay: 0.1, dampening: 0, nesterov: false };
    ops.optimizerStep({ kind: 'adamw', values, gradient, m, v, state, decayCount: 250, ...fixed });
    return [values, m, v];
  },
};

/** Largest difference, relative to the largest value; NaN where one is not finite. */
function error(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let [difference, largest] = [0, 1e-3];
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i] as number, want[i] as number];
    if (!Number.isFinite(a)) return Number.NaN;
    difference = Math.max(difference, Math.abs(a - b));
    largest = Math.max(largest, Math.abs(b));
  }
  return difference / largest;
}

const TOLERANCE = 1e-4; // f32, sums of at most a thousand terms

/** What is wrong with a family on a device; empty: nothing. */
export interface Verdict {
  readonly error?: string;
  readonly stack?: string;
}

/** The results of a family. */
async function compute(family: Family, device: string): Promise<Float32Array[]> {
  const results = scope(() => family(device).map((t) => t.keep()));
  try {
    return await Promise.all(results.map(async (t) => (await t.data()) as Float32Array));
  } finally {
    for (const t of results) t.dispose();
  }
}

async function verdict(family: Family, device: string, want: readonly Float32Array[]): Promise<Verdict> {
  try {
    const got = await compute(family, device);
    const sizes = (all: readonly Float32Array[]) => all.map((a) => a.length).join(', ');
    if (want.length === 0 || sizes(got) !== sizes(want)) return { error: `gives ${sizes(got)} numbers, the CPU ${sizes(want)}` };
    const worst = Math.max(...want.map((w, i) => error(got[i] as Float32Array, w)));
    return worst <= TOLERANCE ? {} : { error: `differs from the CPU by ${worst.toExponential(1)} of the largest value` };
  } catch (e) {
    return e instanceof Error ? { error: e.message, ...(e.stack !== undefined && { stack: e.stack }) } : { error: String(e) };
  }
}

const pack = (values: Float32Array): string => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
const unpack = (text: string): Float32Array => new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer);

const device = process.argv[2] as string;
const answer: Record<string, string[] | Verdict> = {};
if (device === 'values') {
  for (const [name, family] of Object.entries(FAMILIES)) answer[name] = (await compute(family, 'cpu')).map(pack);
} else {
  const values = JSON.parse(readFileSync(0, 'utf8')) as Record<string, string[]>;
  for (const [name, family] of Object.entries(FAMILIES)) answer[name] = await verdict(family, device, (values[name] ?? []).map(unpack));
}
process.stdout.write(JSON.stringify(answer));
