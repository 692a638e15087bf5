// What the static report looks at: of each subject the ops whose kernels decide the speed of training GPT-2 124M, as small launches that
// choose the same kernels as the large ones.
import { backward } from '../../lib/autograd/index.ts';
import { native } from '../../lib/native/addon.ts';
import * as ops from '../../lib/ops/index.ts';
import { scope, type Tensor, tensor } from '../../lib/tensor/index.ts';
import type { Make } from '../values.ts';
import type { Kind } from './products.ts';

export interface Prepared {
  /** Enqueues the op once. */
  run(): void;
  /** Bytes of its operands, each read once and written once; 0: not asked. */
  bytes: number;
}

export interface Job {
  subject: string;
  name: string;
  /** Of the small launch. */
  shape: string;
  /** The kernel among the op's launches; more than one: the one that executes most. */
  kernel: RegExp;
  /** Sources that may hold it, *_sm90.cu of the same folder aside. */
  sources: string[];
  /** The job of bench/peers/triton_kernels.py, where there is one. */
  peer?: string;
  /** At its real size the kernel's blocks walk over many rows, of which the small launch has one: the loop counts. */
  walks?: boolean;
  /** Products run at K and at 2 K, which tells the main loop from the rest. */
  depth?: number;
  /** Which of GPT-2's products it stands for, with every tile that they take. */
  product?: Kind;
  prepare(make: Make, depth: number): Prepared;
}

const ROWS = 64;
const C = 768;
const V = 50304;

/** Of 256 x 256. */
const product = (name: Kind, kind: string, transA: boolean, transB: boolean): Job => ({
  ...{
    subject: 'matmul',
    name: `${name} (${kind})`,
    peer: name,
    product: name,
    shape: '256x256, bf16',
    kernel: /^matmul_(mma|hopper)\w*_kernel</,
    depth: 256,
  },
  sources: ['cuda/matmul/bf16.cu', 'cuda/matmul/bf16_sm90.cu'],
  prepare(make, K) {
    const [a, b] = [make(transA ? [K, 256] : [256, K], 'bf16'), make(transB ? [256, K] : [K, 256], 'bf16')];
    const out = name === 'dW' ? make([256, 256]) : undefined; // a weight's gradient is f32, and added to
    const run = (): void => {
      if (out) native.matmulInto(a.handle, b.handle, transA, transB, out.handle, true, 'full');
      else ops.matmul(a, b, { transA, transB }).dispose();
    };
    return { run, bytes: 0 };
  },
});

function attention(make: Make, D: number, dtype: 'bf16' | 'f32', gradients: boolean): Prepared {
  const [q, k, v] = [0, 1, 2].map(() => make([1, 512, 1, D], dtype, gradients)) as [Tensor, Tensor, Tensor];
  const run = (): void => {
    const y = ops.attention(q, k, v, { causal: true });
    if (gradients) backward(ops.sum(y));
  };
  return { run, bytes: 0 };
}

// Of the fused kernels, those on mma.sync and Hopper's own.
const FUSED = {
  forward: /^attention_forward_(hopper_)?kernel</,
  'dK and dV': /^attention_(backward_kernel<\w+,\d+,1,|keys_hopper_kernel<)/,
  dQ: /^attention_(backward_kernel<\w+,\d+,0,|queries_hopper_kernel<)/,
};
const PEER = { forward: 'forward', 'dK and dV': 'keys', dQ: 'queries' };
const fused = (what: keyof typeof FUSED, D: number): Job => ({
  ...{ subject: 'attention', name: `${what}, D = ${D}`, shape: `1x512x1x${D}, bf16` },
  kernel: FUSED[what],
  sources:
    what === 'forward'
      ? ['cuda/attention/forward_bf16.cu', 'cuda/attention/hopper_forward_bf16_sm90.cu']
      : ['cuda/attention/backward_bf16.cu', 'cuda/attention/hopper_backward_bf16_sm90.cu'],
  peer: `attention-${PEER[what]}-${D}`,
  prepare: (make) => attention(make, D, 'bf16', what !== 'forward'),
});

function layerNorm(make: Make, gradients: boolean): Prepared {
  const [x, residual, w, b, dy] = [
    make([ROWS, C], 'bf16'),
    make([ROWS, C], 'bf16'),
    make([C], 'bf16'),
    make([C], 'bf16'),
    make([ROWS, C], 'bf16'),
  ];
  if (!gradients) return { run: () => void ops.addLayerNorm(x, residual, { weight: w, bias: b }), bytes: ROWS * C * 2 * 4 };
  const [mean, rstd] = [make([ROWS]), make([ROWS])];
  const [dx, dw, db] = [make([ROWS, C], 'bf16'), make([C]), make([C])];
  const run = (): void =>
    native.normBackward(
      ...([x.handle, w.handle, mean.handle, rstd.handle, dy.handle, false, dx.handle, true] as const),
      ...([dw.handle, false, db.handle, false] as const),
    );
  return { run, bytes: ROWS * C * 2 * 4 };
}

function crossEntropy(make: Make): Prepared {
  const rows = 8;
  const logits = make([rows, V], 'bf16', true);
  const targets = tensor(
    Int32Array.from({ length: rows }, (_, i) => (i * 7919) % V),
    { device: logits.device },
  );
  return { run: () => void ops.crossEntropy(logits, targets), bytes: rows * V * 2 * 2 };
}

function adamw(make: Make): Prepared {
  const n = 1 << 18;
  const [values, gradient, m, copy] = [make([n]), make([n]), make([n]), make([n], 'bf16')];
  const v = scope(() => ops.square(make([n])).keep());
  const state = ops.stepState(values.device);
  ops.stepBegin(state, 1e-4, false);
  const fixed = { betas: [0.9, 0.95] as const, eps: 1e-8, weightDecay: 0.1, dampening: 0, nesterov: false };
  return { run: () => ops.optimizerStep({ kind: 'adamw', values, gradient, m, v, copy, state, decayCount: n, ...fixed }), bytes: n * 30 };
}

export const JOBS: readonly Job[] = [
  product('forward', 'X W^T', false, true),
  product('dX', 'dY W', false, false),
  product('dW', 'dY^T X', true, false),
  {
    ...{ subject: 'matmul', name: 'forward (X W^T, e4m3)', shape: '256x256, bf16', kernel: /^matmul_(mma|hopper)\w*_kernel</, depth: 256 },
    sources: ['cuda/matmul/bf16.cu', 'cuda/matmul/fp8_bf16_sm90.cu'],
    prepare(make, K) {
      const [x, w] = [make([256, K], 'bf16'), make([256, K], 'bf16')].map((t) => ops.quantizeFP8(t)) as [ops.FP8, ops.FP8];
      return { run: () => ops.linearFP8(x, w, { dtype: 'bf16' }).dispose(), bytes: 0 };
    },
  },
  fused('forward', 64),
  fused('forward', 128),
  fused('dK and dV', 64),
  fused('dQ', 64),
  fused('dK and dV', 128),
  fused('dQ', 128),
  {
    ...{
      subject: 'attention',
      name: 'composed: rows of scores to probabilities',
      shape: '1x512x1x64, f32',
      kernel: /^attention_softmax_kernel/,
    },
    ...{ sources: ['cuda/attention/softmax.cu'], prepare: (make) => attention(make, 64, 'f32', false) },
  },
  {
    ...{
      subject: 'attention',
      name: 'composed: gradient of rows of scores',
      shape: '1x512x1x64, f32',
      kernel: /^attention_gradient_kernel/,
    },
    ...{ sources: ['cuda/attention/softmax.cu'], prepare: (make) => attention(make, 64, 'f32', true) },
  },
  {
    ...{ subject: 'layernorm', name: 'residual and norm', shape: `${ROWS}x${C}, bf16`, kernel: /^norm_(warp|block)</, peer: 'layernorm' },
    ...{ sources: ['cuda/norm/norm.cu'], prepare: (make) => layerNorm(make, false) },
  },
  {
    ...{ subject: 'layernorm', name: 'backward', shape: `${ROWS}x${C}, bf16`, kernel: /^norm_backward_(warp|block)</, walks: true },
    ...{ sources: ['cuda/norm/norm_backward.cu'], prepare: (make) => layerNorm(make, true) },
  },
  {
    ...{ subject: 'softmax', name: 'rows of 1024', shape: `${ROWS}x1024, bf16`, kernel: /^softmax_(warp|block)</, peer: 'softmax' },
    sources: ['cuda/softmax/softmax.cu'],
    prepare(make) {
      const x = make([ROWS, 1024], 'bf16');
      return { run: () => void ops.softmax(x), bytes: ROWS * 1024 * 2 * 2 };
    },
  },
  {
    ...{ subject: 'cross-entropy', name: 'loss and gradient', shape: `8x${V}, bf16`, kernel: /^cross_entropy/, peer: 'cross-entropy' },
    ...{ sources: ['cuda/loss/cross_entropy.cu'], prepare: crossEntropy },
  },
  {
    ...{ subject: 'adamw', name: 'f32 with a bf16 copy', shape: `${1 << 18}`, kernel: /^optimizer_step</, peer: 'adamw' },
    ...{ sources: ['cuda/optim/optimizer.cu'], prepare: adamw },
  },
];

export const jobName = ({ subject, name }: Job): string => `${subject}: ${name}`;
export const SUBJECTS: readonly string[] = [...new Set(JOBS.map((job) => job.subject))];
