// Empty tensors, memory, chunks, and the methods that do more than call an op.
import test from 'ava';
import { backward, noGrad } from '../../../lib/autograd/index.ts';
import * as ops from '../../../lib/ops/index.ts';
import '../../../lib/ops/methods.ts';
import { memory, ones, randn, resetPeakMemory, scope, type Tensor, tensor, zeros } from '../../../lib/tensor/index.ts';
import { DEVICE } from '../../run/devices.ts';

const f = (...shape: number[]): Tensor => zeros(shape, { requiresGrad: true });
const ids = (...shape: number[]): Tensor => zeros(shape, { dtype: 'i32' });

const EMPTY: Readonly<Record<string, readonly [shape: number[], make: (...inputs: Tensor[]) => Tensor, inputs: Tensor[]]>> = {
  unary: [[0, 3], (x) => ops.gelu(x as Tensor), [f(0, 3)]],
  binary: [[0, 3], (a, b) => ops.mul(a as Tensor, b as Tensor), [f(0, 3), f(1, 3)]],
  where: [[2, 0], (a, b) => ops.where(ids(2, 1).eq(0), a as Tensor, b as Tensor), [f(2, 0), f(1)]],
  swiglu: [[3, 0], (a, b) => ops.swiglu(a as Tensor, b as Tensor), [f(3, 0), f(3, 0)]],
  sum: [[3], (x) => ops.sum(x as Tensor, { dim: 0 }), [f(0, 3)]],
  softmax: [[0, 3], (x) => ops.softmax(x as Tensor), [f(0, 3)]],
  'softmax of nothing': [[2, 0], (x) => ops.logSoftmax(x as Tensor), [f(2, 0)]],
  'matmul without rows': [[0, 4], (a, b) => ops.matmul(a as Tensor, b as Tensor), [f(0, 3), f(3, 4)]],
  'matmul without batches': [[0, 2, 4], (a, b) => ops.matmul(a as Tensor, b as Tensor), [f(0, 2, 3), f(3, 4)]],
  'matmul over nothing': [[2, 4], (a, b) => ops.matmul(a as Tensor, b as Tensor), [f(2, 0), f(0, 4)]],
  linear: [
    [0, 4],
    (x, w, bias) => ops.linear(x as Tensor, w as Tensor, { bias: bias as Tensor, activation: 'silu' }),
    [f(0, 3), f(4, 3), f(4)],
  ],
  embedding: [[2, 0, 4], (w, p) => ops.embedding(w as Tensor, ids(2, 0), { positions: p as Tensor }), [f(5, 4), f(3, 4)]],
  rope: [[2, 0, 3, 4], (x) => ops.rope(x as Tensor), [f(2, 0, 3, 4)]],
  layerNorm: [[0, 3], (x, w, b) => ops.layerNorm(x as Tensor, { weight: w as Tensor, bias: b as Tensor }), [f(0, 3), f(3), f(3)]],
  attention: [
    [2, 0, 2, 4],
    (q, k, v) => ops.attention(q as Tensor, k as Tensor, v as Tensor),
    [f(2, 0, 2, 4), f(2, 3, 2, 4), f(2, 3, 2, 4)],
  ],
  'attention to nothing': [
    [2, 3, 2, 4],
    (q, k, v) => ops.attention(q as Tensor, k as Tensor, v as Tensor),
    [f(2, 3, 2, 4), f(2, 0, 2, 4), f(2, 0, 2, 4)],
  ],
  crossEntropy: [[], (x) => ops.crossEntropy(x as Tensor, ids(0), { reduction: 'sum' }), [f(0, 3)]],
  linearCrossEntropy: [[], (x, w) => ops.linearCrossEntropy(x as Tensor, w as Tensor, ids(0), { reduction: 'sum' }), [f(0, 3), f(5, 3)]],
  gather: [[2, 0], (x) => ops.gather(x as Tensor, 1, ids(2, 0)), [f(2, 3)]],
  concat: [[0, 3], (a, b) => ops.concat([a as Tensor, b as Tensor]), [f(0, 3), f(0, 3)]],
  slice: [[0, 3], (x) => ops.slice(x as Tensor, 0, 2, 2), [f(2, 3)]],
  reshape: [[3, 0], (x) => ops.reshape(x as Tensor, 3, 0), [f(0, 7)]],
  permute: [[3, 0], (x) => ops.permute(x as Tensor, 1, 0), [f(0, 3)]],
  expand: [[4, 0], (x) => ops.expand(x as Tensor, 4, 0), [f(1, 0)]],
  cast: [[0], (x) => ops.cast(x as Tensor, 'bf16'), [f(0)]],
  toDevice: [[0], (x) => ops.toDevice(x as Tensor, 'cpu'), [f(0)]],
};

for (const [name, [shape, make, inputs]] of Object.entries(EMPTY))
  test(`empty tensors: ${name}`, (t) => {
    // What was in memory before must not show in gradients that nothing contributes to.
    scope(() => {
      for (const x of inputs)
        ones([...x.shape])
          .mul(Number.NaN)
          .dispose();
    });
    const y = make(...inputs);
    t.deepEqual([...y.shape], shape);
    t.true(y.dataSync().every((v) => v === 0));
    backward(y, { gradient: ones(shape, { device: y.device }) });
    for (const x of inputs) {
      t.deepEqual([...(x.grad?.shape ?? [])], [...x.shape]);
      t.true(x.grad?.dataSync().every((v) => v === 0));
    }
  });

test('a tensor without any element prints and reads', async (t) => {
  const x = zeros([2, 0]);
  t.is(String(x), `Tensor f32 (2, 0) on ${DEVICE} []`);
  t.deepEqual(await x.data(), new Float32Array(0));
});

/** The most memory beyond what was there, while `run` runs. */
function peakOf(run: () => void, device = DEVICE): number {
  const before = memory(device).used;
  resetPeakMemory(device);
  scope(run);
  return memory(device).peak - before;
}

test('attention’s memory grows as T, not as T², on the CPU', (t) => {
  const run = (T: number) =>
    peakOf(() => {
      const [q, k, v] = [1, 2, 3].map((seed) => randn([1, T, 2, 16], { seed, requiresGrad: true, device: 'cpu' })) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      backward(ops.attention(q, k, v, { causal: true }).sum());
    }, 'cpu');
  run(64);
  const [short, long] = [run(512), run(2048)];
  t.true(long <= 4.2 * short, `${short} bytes for T = 512, ${long} for T = 2048`);
  t.true(long < 2048 * 2048 * 4 * 2, 'less than one matrix of scores');
});

test('linearCrossEntropy in chunks is the whole one, in less memory', (t) => {
  const [rows, C, V] = [60, 8, 300];
  const targets = tensor(
    Int32Array.from({ length: rows }, (_, i) => (i % 7 === 0 ? -100 : (i * 37) % (V - 9))),
    { shape: [3, rows / 3] },
  );
  const run = (chunkRows?: number, whole = true) => {
    const [x, w] = [randn([3, rows / 3, C], { seed: 1, requiresGrad: true }), randn([V, C], { seed: 2, requiresGrad: true })];
    const options = { labelSmoothing: 0.1, zLoss: 1e-3, validColumns: V - 9 };
    const loss = whole
      ? ops.linearCrossEntropy(x, w, targets, chunkRows ? { ...options, chunkRows } : options)
      : ops.crossEntropy(x.matmul(w, { transB: true }), targets, options);
    backward(loss.mul(3));
    return [loss, x.grad as Tensor, w.grad as Tensor].map((r) => r.dataSync<'f32'>());
  };
  const reference = run(undefined, false);
  for (const chunk of [undefined, 1, 7, 20, 59, 60, 1000])
    for (const [i, got] of run(chunk).entries()) {
      const want = reference[i] as Float32Array;
      const error = got.reduce((m, v, j) => Math.max(m, Math.abs(v - (want[j] as number))), 0);
      t.true(error < 2e-6 && got.every(Number.isFinite), `chunks of ${chunk}: ${error}`);
    }
  t.true(peakOf(() => run(5)) < peakOf(() => run()) / 2);
});

test('softmax along any dimension', (t) => {
  const x = randn([2, 3, 4], { seed: 1, requiresGrad: true });
  for (const dim of [0, 1, 2, -1, -3]) {
    const sums = x.softmax(dim).sum(dim).dataSync();
    t.true(sums.every((s) => Math.abs(s - 1) < 1e-6));
    t.true(x.logSoftmax(dim).exp().sub(x.softmax(dim)).abs().max().itemSync() < 1e-6);
  }
  backward(x.softmax(1).select(1, 0).sum());
  t.true(x.grad?.sum(1).abs().max().itemSync() === undefined || (x.grad as Tensor).sum(1).abs().max().itemSync() < 1e-6);
});

test('methods are the functions', (t) => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  t.deepEqual([...x.view(3, 2).shape], [3, 2]);
  t.deepEqual([...x.transpose().shape], [3, 2]);
  t.deepEqual([...x.unsqueeze(-1).squeeze().shape], [2, 3]);
  t.deepEqual([...x.flatten().dataSync()], [1, 2, 3, 4, 5, 6]);
  t.deepEqual([...x.expand(4, -1, 3).shape], [4, 2, 3]);
  t.deepEqual([...x.sum([0], true).shape], [1, 3]);
  t.deepEqual([...x.mean(1).dataSync()], [2, 5]);
  t.deepEqual([...x.argmax().dataSync()], [2, 2]);
  t.deepEqual([...x.argmin(0, true).dataSync()], [0, 0, 0]);
  t.deepEqual([...x.select(0, -1).dataSync()], [4, 5, 6]);
  t.deepEqual(
    x.split(3).map((part) => [...part.flatten().dataSync()]),
    [
      [1, 4],
      [2, 5],
      [3, 6],
    ],
  );
  t.deepEqual([...x.maskedFill(x.gt(4), 0).flatten().dataSync()], [1, 2, 3, 4, 0, 0]);
  t.is(x.to('bf16').dtype, 'bf16');
  t.is(x.to('f16').float().dtype, 'f32');
  t.deepEqual(
    [
      ...x
        .gather(1, tensor([[2], [0]], { dtype: 'i32' }))
        .flatten()
        .dataSync(),
    ],
    [3, 4],
  );
  t.is(
    noGrad(() => x.pow(2).sum().itemSync()),
    91,
  );
});
