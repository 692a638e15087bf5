// Paths of the CUDA kernels that the cases' small shapes do not reach: large tiles, sums cut into chunks, rows for a whole block, several
// blocks. The CPU says what is right; its own kernels are held against float64 at such sizes in test/native.
import test from 'ava';
import { native } from '../../../lib/native/addon.ts';
import * as ops from '../../../lib/ops/index.ts';
import '../../../lib/ops/methods.ts';
import { full, gpuInfo, scope, Tensor, tensor } from '../../../lib/tensor/index.ts';
import { RandomSource } from '../../../lib/tensor/random.ts';
import { agrees, Maker, withGradients, worst } from '../../run/agree.ts';
import { computesIn, DEVICES, onDevice } from '../../run/devices.ts';

test('a difference is found', (t) => {
  t.is(worst([tensor([1, 2])], [[1, 2]]), 0);
  t.is(worst([tensor([1, 2]), tensor([4])], [[1, 2], [3]]), 1 / 3);
  t.is(worst([tensor([Number.NaN]), tensor([4])], [[1], [4]]), Number.NaN);
});

const HALVES = ['f32', 'bf16', 'f16'] as const;
const SOME = ['f32', 'bf16'] as const;

// Large tiles: enough products of more than 64 x 64 for all multiprocessors; sizes that end within tiles.
for (const transA of [false, true])
  for (const transB of [false, true])
    agrees(
      `matmul in large tiles${transA ? ', aᵀ' : ''}${transB ? ', bᵀ' : ''}`,
      (m) => {
        const [M, N, K] = [72, 136, 40];
        const a = m.draw(8, ...(transA ? [K, M] : [M, K]));
        return [ops.matmul(a, m.draw(8, ...(transB ? [N, K] : [K, N])), { transA, transB })];
      },
      { dtypes: HALVES },
    );

// The gradient of a weight: its sum over rows is cut into chunks, computed side by side.
for (const [name, products, M, N] of [
  ['of one product', 1, 24, 40],
  ['of many products', 32, 8, 8],
] as const)
  for (const accumulate of [false, true])
    agrees(
      `matmul in chunks ${name}${accumulate ? ', accumulating' : ''}`,
      (m) => {
        const [a, b, out] = [m.draw(products, 4104, M), m.draw(products, 4104, N), m.full(2, products, M, N)];
        native.matmulInto(a.handle, b.handle, true, false, out.handle, accumulate, 'full');
        return [out];
      },
      { dtypes: products === 1 ? SOME : ['bf16'] },
    );

// Whatever the order in which blocks finish: chunks are added in theirs. A chunk alone is too short to be cut.
for (const device of DEVICES.filter((d) => d !== 'cpu'))
  for (const dtype of ['f32', 'bf16', 'f16'] as const)
    if (dtype === 'f32' || computesIn(device, dtype))
      test(`chunks side by side have the bits of one after another, ${dtype}${onDevice(device)}`, (t) =>
        scope(() => {
          const [M, N, K, chunk] = [136, 24, 8200, 2112]; // 4 chunks of whole tiles of k, the last one shorter
          const m = new Maker(device, dtype);
          const [a, b] = [m.draw(K, M), m.draw(K, N)];
          const [together, apart] = [m.full(2, M, N), m.full(2, M, N)];
          native.matmulInto(a.handle, b.handle, true, false, together.handle, true, 'full');
          for (let k = 0; k < K; k += chunk) {
            const [x, y] = [ops.slice(a, 0, k, Math.min(K, k + chunk)), ops.slice(b, 0, k, Math.min(K, k + chunk))];
            native.matmulInto(x.handle, y.handle, true, false, apart.handle, true, 'full');
          }
          t.is(worst([together], [apart.dataSync()]), 0);
        }));

// Hopper's kernel: more tiles than blocks run at once, so that a block computes several; more tiles of k than stages; an odd number of tiles
// below each other; edges. Every tile.
for (const [what, M, N, K] of [
  ['narrow', 2200, 120, 456],
  ['wide', 1032, 760, 264],
  ['small', 2200, 56, 584],
  ['flat', 56, 2200, 584],
] as const)
  agrees(
    `matmul in many ${what} tiles`,
    (m) => [ops.matmul(m.draw(M, K), m.draw(N, K), { transB: true }), ops.matmul(m.draw(K, 136), m.draw(K, 24), { transA: true })],
    { dtypes: ['bf16'] },
  );

agrees(
  'linear in many tiles, bias, activation, residual',
  (m) => {
    const [x, w, bias, residual] = [m.draw(264, 72), m.draw(584, 72), m.draw(584), m.draw(264, 584)].map((leaf) => leaf.detach());
    return [ops.linear(x as Tensor, w as Tensor, { bias, residual, activation: 'silu' })]; // nothing is kept for backward
  },
  { dtypes: ['bf16'] },
);

// Every epilogue over more than a tile, with the products of backward: what is kept for it, residual, edges in both directions.
for (const [what, options] of Object.entries({
  bias: {},
  'bias, activation': { activation: 'geluTanh' },
  'bias, residual': { residual: true },
  'bias, activation, residual': { activation: 'silu', residual: true },
} as const satisfies Record<string, { activation?: 'geluTanh' | 'silu'; residual?: boolean }>))
  agrees(
    `linear in tiles, ${what}`,
    (m) => {
      const [x, w, bias, r] = [m.draw(2, 100, 72), m.draw(328, 72), m.draw(328), m.draw(2, 100, 328)];
      const residual = 'residual' in options ? r : null;
      const y = ops.linear(x, w, { bias, residual, activation: 'activation' in options ? options.activation : 'none' });
      return withGradients(y, x, w, bias);
    },
    { dtypes: ['bf16', 'f16'] },
  );

// The product of backward that multiplies by an activation's derivative: tiles and edges, both orders of b, few rows.
for (const activation of ['geluTanh', 'geluErf', 'relu', 'relu2', 'silu'] as const)
  agrees(
    `matmul by the derivative of ${activation}`,
    (m) =>
      ([100, 3] as const).flatMap((M) =>
        [false, true].map((transB) => {
          const [a, b, pre] = [m.draw(M, 72), transB ? m.draw(328, 72) : m.draw(72, 328), m.draw(M, 328)];
          return new Tensor(native.matmulDerivative(a.handle, b.handle, transB, pre.handle, activation, 'full'));
        }),
      ),
    { dtypes: HALVES },
  );

// f32 results of 16-bit operands, in rows of whole vectors and not; operands that begin between two vectors.
for (const accumulate of [false, true])
  agrees(
    `matmul into f32${accumulate ? ', accumulating' : ''}`,
    (m) =>
      [8, 9, 12, 20].map((N) => {
        const [a, b, out] = [m.draw(21, 24), m.draw(24, N), m.full(2, 21, N)];
        native.matmulInto(a.handle, b.handle, false, false, out.handle, accumulate, 'full');
        return out;
      }),
    { dtypes: HALVES },
  );
agrees(
  'matmul of slices of aligned rows',
  (m) => {
    const [a, b] = [m.draw(20, 48), m.draw(40, 32)];
    return [0, 1, 8].map((from) => ops.matmul(ops.slice(a, 1, from, from + 40), ops.slice(b, 1, from, from + 16)));
  },
  { dtypes: HALVES },
);

// Ties and values that rounding and cutting off tell apart: a tf32 keeps ten bits of 1 + 2^-11 + 2^-12.
for (const device of DEVICES.filter((d) => (gpuInfo(d)?.capability ?? 0) >= 80))
  test(`matmul in tf32 rounds operands to the nearest${onDevice(device)}`, (t) => {
    const [one, above] = [1, 1 + 2 ** -11 + 2 ** -12].map((value) => full([16, 16], value, { device }));
    const y = ops.matmul(one as Tensor, above as Tensor, { precision: 'tf32' }).dataSync();
    t.true(y.every((v) => v === 16 * (1 + 2 ** -10)));
  });

// Heads of whole vectors are fused in 16 bits, others are not.
for (const [what, D] of [
  ['grouped heads', 16],
  ['grouped heads that are not whole vectors', 12],
] as const)
  agrees(
    `attention of ${what}`,
    (m) => {
      const [q, k, v] = [m.draw(2, 33, 4, D), m.draw(2, 40, 2, D), m.draw(2, 40, 2, D)];
      const [a, b, c] = [ops.neg(q), ops.neg(k), ops.neg(v)]; // the second gradient of each is added in the type of the operands
      return withGradients(ops.add(ops.attention(a, b, c, { causal: true }), ops.attention(a, b, c, { window: 9 })), q, k, v);
    },
    { dtypes: SOME },
  );

// Fused kernels of every head size: several tiles of queries and keys, edges within tiles, tiles of which nothing or everything is seen,
// queries that see nothing.
for (const [what, { B = 1, Tq, Tk = Tq, H, Hkv = H, D, ids = false, p = 0, ...options }] of Object.entries({
  'causal, grouped heads': { Tq: 270, H: 4, Hkv: 2, D: 64, causal: true },
  'more keys than queries': { Tq: 40, Tk: 210, H: 2, D: 96, causal: true },
  'more queries than keys': { Tq: 210, Tk: 40, H: 1, D: 32, causal: true },
  'a window within a tile': { Tq: 200, H: 1, D: 64, causal: true, window: 20 },
  'a window on both sides': { Tq: 150, Tk: 170, H: 1, D: 128, window: 50 },
  documents: { B: 2, Tq: 150, H: 1, D: 128, ids: true },
  'documents, causal, a window': { B: 2, Tq: 200, H: 2, Hkv: 1, D: 40, ids: true, causal: true, window: 30 },
  'large heads': { Tq: 70, Tk: 75, H: 2, Hkv: 1, D: 256, causal: true },
  'large heads, not whole': { Tq: 70, H: 1, D: 200 },
  dropout: { B: 2, Tq: 75, Tk: 90, H: 2, Hkv: 1, D: 64, causal: true, p: 0.3 },
  'few queries, keys in chunks': { B: 2, Tq: 1, Tk: 600, H: 4, Hkv: 2, D: 64, causal: true },
  'few queries, most chunks hidden': { Tq: 3, Tk: 530, H: 1, D: 32, causal: true, window: 40 },
  'dropout, rows that begin anywhere': { Tq: 30, Tk: 77, H: 2, D: 16, p: 0.2 },
} as Record<
  string,
  ops.AttentionOptions & { B?: number; Tq: number; Tk?: number; H: number; Hkv?: number; D: number; ids?: boolean; p?: number }
>))
  agrees(
    `fused attention, ${what}`,
    (m) => {
      const [q, k, v] = [m.draw(B, Tq, H, D), m.draw(B, Tk, Hkv, D), m.draw(B, Tk, Hkv, D)];
      const random = new RandomSource(7, q.device);
      const drop = p > 0 ? { dropout: p, random } : {};
      const y = ops.attention(q, k, v, { ...options, ...drop, documents: ids ? [m.documents(37, B, Tq), m.documents(37, B, Tk)] : null });
      const all = withGradients(y, q, k, v);
      random.dispose();
      return all;
    },
    { dtypes: ['bf16', 'f16'] },
  );

// A row of a batch in decoding has the bits that it has alone.
for (const device of DEVICES.filter((d) => d !== 'cpu'))
  test(`fused attention of few queries does not depend on the rest of the batch${onDevice(device)}`, (t) =>
    scope(() => {
      const m = new Maker(device, 'f16');
      const [q, k, v] = [m.draw(3, 1, 2, 64), m.draw(3, 300, 1, 64), m.draw(3, 300, 1, 64)];
      const all = ops.attention(q, k, v, { causal: true });
      for (const b of [0, 1, 2]) {
        const [x, y, z, want] = [q, k, v, all].map((whole) => ops.slice(whole, 0, b, b + 1)) as [Tensor, Tensor, Tensor, Tensor];
        t.is(worst([ops.attention(x, y, z, { causal: true })], [want.dataSync()]), 0);
      }
    }));

agrees(
  'fused attention of views of one tensor',
  (m) => {
    const [B, T, H, D] = [2, 70, 2, 32];
    const packed = m.draw(B, T, 3 * H, D);
    const [q, k, v] = [0, 1, 2].map((i) => ops.slice(packed, 2, i * H, (i + 1) * H)) as [Tensor, Tensor, Tensor];
    return withGradients(ops.attention(q, k, v, { causal: true }), packed);
  },
  { dtypes: ['bf16', 'f16'] },
);

agrees('layerNorm far from zero', (m) => {
  const x = ops.add(m.draw(4, 1000), 3000).detach();
  return [ops.layerNorm(x), ops.layerNorm(ops.slice(x, 1, 0, 200))];
});

// Rows of several vectors for each lane of a warp; for a block, aligned and not; too long for shared memory; more rows than a launch has
// warps or blocks.
for (const [rows, C] of [
  [2100, 24],
  [40, 700],
  [300, 301],
  [40, 1100],
  [2, 50_000],
] as const) {
  const dtypes = C > 2000 ? (['f32'] as const) : SOME;
  const options = { dtypes };
  for (const [name, f] of Object.entries({ softmax: ops.softmax, logSoftmax: ops.logSoftmax }))
    agrees(
      `${name} of rows of ${C}`,
      (m) => {
        const x = m.draw(rows, C);
        return withGradients(f(x), x);
      },
      options,
    );
  agrees(
    `layerNorm of rows of ${C}`,
    (m) => {
      const [x, residual, weight, bias] = [m.draw(rows, C), m.draw(rows, C), m.draw(C), m.draw(C)];
      const { h, y } = ops.addLayerNorm(x, residual, { weight, bias });
      return [h, ...withGradients(y, x, residual, weight, bias)];
    },
    options,
  );
  agrees(
    `rmsNorm of rows of ${C}`,
    (m) => {
      const [x, weight] = [m.draw(rows, C), m.draw(C)];
      return withGradients(ops.rmsNorm(x, { weight }), x, weight);
    },
    options,
  );
  agrees(
    `crossEntropy of rows of ${C}`,
    (m) => {
      const x = m.draw(rows, C);
      const rest = { labelSmoothing: 0.1, zLoss: 1e-2, validColumns: C - 3, reduction: 'none' } as const;
      return withGradients(ops.crossEntropy(x, m.ints(C - 3, rows), rest), x);
    },
    options,
  );
}

// One stage of a reduction or two, along rows and across columns.
for (const [shape, dim] of [
  [[3, 9000], 1],
  [[40, 9000], 1],
  [[700, 40], 0],
  [[2, 700, 12], 1],
] as const) {
  agrees(`sums and means of (${shape}) over ${dim}`, (m) => [ops.sum, ops.mean].map((f) => f(m.draw(...shape), { dim })), { dtypes: SOME });
  // Few values, so that the greatest comes often: the first one counts.
  agrees(
    `extremes and their places of (${shape}) over ${dim}`,
    (m) => {
      const x = ops.cast(m.ints(9, ...shape), 'f32');
      return [ops.max(x, { dim }), ops.min(x, { dim }), ops.argmax(x, dim), ops.argmin(x, dim)];
    },
    { exact: true },
  );
}

// Sums in the order of the ids, over several tiles and digits of the sort.
for (const [V, C] of [
  [700, 136],
  [5, 3],
] as const)
  agrees(
    `embedding of 2,100 ids of ${V}`,
    (m) => {
      const table = m.draw(V, C);
      return withGradients(ops.embedding(table, m.ints(V, 2100)), table);
    },
    { exact: true },
  );

for (const [shape, dim, picks] of [
  [[2, 290, 3], 1, 600],
  [[3, 40], 1, 70],
] as const)
  agrees(
    `gather of ${picks} of (${shape})`,
    (m) => {
      const x = m.draw(...shape);
      return withGradients(ops.gather(x, dim, m.ints(shape[dim], ...shape.map((n, d) => (d === dim ? picks : n)))), x);
    },
    { exact: true },
  );

// More pairs than a digit of their number, than a block's angles.
for (const D of [160, 640])
  for (const interleaved of [false, true])
    agrees(
      `rope of ${D} elements${interleaved ? ', interleaved' : ''}`,
      (m) => {
        const x = m.draw(2, 5, 2, D);
        return withGradients(ops.rope(x, { interleaved, first: 1000 }), x);
      },
      { dtypes: SOME },
    );

agrees('the norm of 20,000 gradients and a step', (m) => {
  const [values, gradient] = [m.draw(20_000), m.draw(20_000)];
  const [first, second, state] = [m.full(0, 20_000), m.full(0, 20_000), ops.stepState(values.device)];
  ops.gradNorm(gradient, state, 1);
  ops.stepBegin(state, 0.01, true);
  const rest = { betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0.1, decayCount: 9000, dampening: 0, nesterov: false } as const;
  ops.optimizerStep({ kind: 'adamw', values, gradient, m: first, v: second, state, ...rest });
  return [values, first, second];
});

agrees(
  'a turned copy',
  (m) => [ops.clone(ops.permute(m.draw(3, 70, 45), [0, 2, 1])), ops.clone(ops.permute(m.draw(9, 5, 33), [2, 1, 0]))],
  {
    dtypes: SOME,
    exact: true,
  },
);

// Sides whose rows begin where vectors may, and end within one; within a tile, and in several.
const other = (x: Tensor): 'f32' | 'bf16' => (x.dtype === 'f32' ? 'bf16' : 'f32');
agrees(
  'a turned copy in vectors',
  (m) => {
    const turned = (x: Tensor): Tensor => ops.permute(x, [0, 2, 1]);
    const into = m.full(2, 2, 45, 80);
    ops.copyInto(ops.slice(into, 2, 0, 69), turned(ops.slice(m.draw(2, 69, 48), 2, 0, 45)));
    const x = m.draw(2, 72, 136);
    return [into, ops.clone(turned(x)), ops.cast(turned(x), other(x))];
  },
  { dtypes: SOME, exact: true },
);
agrees(
  'a turned copy in vectors of bytes',
  (m) => [ops.cast(ops.clone(ops.permute(ops.cast(m.ints(250, 144, 272), 'u8'), [1, 0])), 'f32')],
  { dtypes: ['f32'], exact: true },
);
