// Wrong calls: what their errors say, to the letter, and where they say it happened.
import test from 'ava';
import * as heddle from '../../../lib/ops/index.ts';
import { RandomSource, tensor, zeros } from '../../../lib/tensor/index.ts';
import '../../../lib/ops/methods.ts';

const z = zeros;
const ids = (...shape: number[]) => zeros(shape, { dtype: 'i32' });
const o = heddle;

const CALLS: readonly (readonly [call: () => unknown, message: string])[] = [
  [() => o.matmul(z([3]), z([3, 2])), 'matmul: a must be of at least two dimensions, got (3)'],
  [() => o.matmul(z([2, 3]), z([4, 5])), 'matmul: a and b must have equal inner sizes, got (2, 3) and (4, 5)'],
  [() => o.matmul(z([2, 3]), z([3, 5]), { transB: true }), 'matmul: a and b must have equal inner sizes, got (2, 3) and (3, 5) transposed'],
  [() => o.matmul(z([2, 4, 3]), z([3, 3, 5])), 'matmul: shapes must broadcast, got (2) and (3)'],
  [() => o.matmul(ids(2, 2), z([2, 2])), 'matmul: a must be f32, bf16 or f16, got i32'],
  [() => o.linear(z([2, 3]), z([5, 4])), 'linear: x must be (..., 4) for w (5, 4), got (2, 3)'],
  [() => o.linear(z([2, 3]), z([3, 4]), { conv1d: true, bias: z([3]) }), 'linear: bias must be (4), got (3)'],
  [() => o.linear(z([2, 3]), z([4, 3]), { residual: z([2, 3]) }), 'linear: residual must be (2, 4), got (2, 3)'],
  [() => o.mlp(z([2, 3]), z([5, 3]), z([4, 6]), { activation: 'relu' }), 'mlp: down must be (out, 5) for up (5, 3), got (4, 6)'],
  [() => o.add(z([2, 3]), z([2, 4])), 'add: shapes must broadcast, got (2, 3) and (2, 4)'],
  [() => o.mul(1, 2), 'mul: one of a and b must be a tensor, got two numbers'],
  [() => o.mul(z([1]), '2' as never), 'mul: b must be a tensor or a number, got string'],
  [() => o.exp(ids(2)), 'exp: x must be f32, bf16 or f16, got i32'],
  [() => z([2]).gelu('exact' as never), "gelu: approximate must be 'tanh' or 'erf', got exact"],
  [() => o.where(z([2]), 1, 0), 'where: condition must be bool or u8, got f32'],
  [() => o.swiglu(z([2, 3]), z([2, 4])), 'swiglu: up must be (2, 3), got (2, 4)'],
  [() => o.dropout(z([2]), 1.5, new RandomSource(1, 'cpu')), 'dropout: p must be a probability from 0 to 1, got 1.500000'],
  [() => o.sum(z([2, 3]), { dim: 2 }), 'sum: dim must be from -2 to 1, got 2'],
  [() => o.mean(z([2, 3]), { dim: [0, -2] }), 'mean: dim must name each dimension once, got [0,-2]'],
  [() => o.max(z([0])), 'max: x must be non-empty in the reduced dimensions, got (0)'],
  [() => o.argmax(z([2, 0])), 'argmax: x must be non-empty in the reduced dimensions, got (2, 0)'],
  [() => o.softmax(z([])), 'softmax: x must be of at least one dimension, got ()'],
  [() => o.reshape(z([2, 3]), 4, -1), 'reshape: shape must be of the 6 elements of (2, 3), got (4, -1)'],
  [() => o.reshape(z([0, 3]), 0, -1), 'reshape: shape must be without -1 beside a 0, where any size would fit, got (0, -1)'],
  [() => o.reshape(z([2]), 1.5), 'reshape: shape must be integers, got [1.5]'],
  [() => o.reshape(z([1]), 1, 1, 1, 1, 1, 1, 1, 1, 1), 'reshape: a tensor has at most 8 dimensions, got 9'],
  [() => o.permute(z([2, 3]), 0), 'permute: dims must be an order of the 2 dimensions of (2, 3), got (0)'],
  [() => o.permute(z([2, 3]), 0, -2), 'permute: dims must be each dimension once, got (0, 0)'],
  [() => o.transpose(z([2]), 0, 1), 'transpose: dim must be from -1 to 0, got 1'],
  [() => o.slice(z([2]), 0, 0, 2, 0), 'slice: step must be at least 1, got 0'],
  [() => o.select(z([2]), 0, 2), 'select: index must be from -2 to 1, got 2'],
  [() => o.split(z([2, 4]), 3), 'split: parts must divide dimension 1 of (2, 4), got 3'],
  [() => o.expand(z([2, 3]), 4, 3), 'expand: shape must be one that (2, 3) broadcasts to, got (4, 3)'],
  [() => o.expand(z([3]), -1, 3), 'expand: shape must be sizes of at least 0, or -1 for one that stays, got (-1, 3)'],
  [() => o.squeeze(z([2, 1]), 0), 'squeeze: dimension 0 must be of size 1, got (2, 1)'],
  [() => o.concat([]), 'concat: tensors must be at least one, got none'],
  [() => o.concat([z([2, 3]), z([3, 3])], 1), 'concat: tensors[1] must be (2, 3) but for dimension 1, got (3, 3)'],
  [() => o.concat([z([2]), ids(2)]), 'concat: tensors[1] must be f32, got i32'],
  [() => o.gather(z([2, 3]), 1, z([2, 3])), 'gather: index must be i32 or u8, got f32'],
  [() => o.gather(z([2, 3]), 1, ids(3, 3)), 'gather: index must be (2, 3) but for dimension 1, got (3, 3)'],
  [() => o.cast(z([2]), 'f64' as never), "cast: dtype must be 'f32' | 'bf16' | 'f16' | 'i32' | 'u8' | 'bool', got 'f64'"],
  [() => o.embedding(z([5, 4]), z([2])), 'embedding: ids must be i32 or u8, got f32'],
  [() => o.embedding(z([5, 4]), ids(2, 6), { positions: z([6, 4]), first: 1 }), 'embedding: positions must be (at least 7, 4), got (6, 4)'],
  [() => o.rope(z([2, 3, 4])), 'rope: x must be (B, T, H, D), got (2, 3, 4)'],
  [() => o.rope(z([1, 2, 3, 4]), { rotary: 3 }), 'rope: rotary must be an even number up to the head size 4, got 3'],
  [() => o.layerNorm(z([2, 3]), { weight: z([2]) }), 'layerNorm: w must be (3), got (2)'],
  [() => o.rmsNorm(z([2, 0])), 'rmsNorm: x must be (..., C) with C of at least 1, got (2, 0)'],
  [
    () => o.attention(z([1, 2, 3, 4]), z([1, 2, 2, 4]), z([1, 2, 2, 4])),
    'attention: k must be of a number of heads that divides the 3 of q, got 2',
  ],
  [
    () => o.attention(z([1, 2, 2, 4]), z([1, 2, 2, 5]), z([1, 2, 2, 5])),
    'attention: k must be (1, Tk, Hkv, 4) for q (1, 2, 2, 4), got (1, 2, 2, 5)',
  ],
  [
    () => o.attention(z([1, 1, 1, 2]), z([1, 1, 1, 2]), z([1, 1, 1, 2]), { dropout: 0.1 }),
    'attention: dropout needs random, a RandomSource',
  ],
  [() => o.packedAttention(z([1, 2, 10]), 2, 1), 'packedAttention: qkv must be (B, T, (2 + 2 * 1) * D), got (1, 2, 10)'],
  [() => o.crossEntropy(z([2, 3]), ids(3)), 'crossEntropy: targets must be (2), got (3)'],
  [() => o.crossEntropy(z([2, 3]), ids(2), { labelSmoothing: 2 }), 'crossEntropy: smoothing must be from 0 to 1, got 2.000000'],
  [() => o.linearCrossEntropy(z([2, 3]), z([5, 4]), ids(2)), 'linearCrossEntropy: w must be (V, 3) for x (2, 3), got (5, 4)'],
  [
    () => z([2], { requiresGrad: true }).backward(),
    'backward: a tensor of shape (2) needs { gradient }; only one element has an implicit 1',
  ],
  [() => z([]).backward(), 'backward: no input of this tensor has requiresGrad, or it was made under noGrad'],
  [() => z([2], { requiresGrad: true }).backward({ gradient: z([3]) }), 'backward: gradient must be (2), got (3)'],
];

for (const [i, [call, message]] of CALLS.entries())
  test(`wrong call ${i}: ${message}`, (t) => {
    const error = t.throws(call);
    t.is(error?.message, message);
    t.is((error as { code?: string }).code, 'ERR_HEDDLE_ARGUMENT');
    t.regex(error?.stack ?? '', /errors\.test\.ts/, 'the line of the call is on the stack');
  });

test('a disposed tensor is named as such', (t) => {
  const x = tensor([1, 2]);
  t.deepEqual([...x.shape], [2]);
  x.dispose();
  x.dispose();
  const error = t.throws(() => o.exp(x));
  t.regex(error?.message ?? '', /^this tensor \(2\) was disposed/);
  t.is((error as { code?: string }).code, 'ERR_HEDDLE_DISPOSED');
});

test('ids outside their range are errors of the next wait, and the device works on', async (t) => {
  const bad = o.embedding(z([5, 4]), tensor([[0, 7]], { dtype: 'i32' }));
  await t.throwsAsync(bad.data(), { message: /^embedding: .*7/ });
  const next = o.embedding(z([5, 4]), tensor([4, 5], { dtype: 'i32' }));
  await t.throwsAsync(next.data(), { message: /^embedding: ids\[1\] must be within \[0, 5\), got 5$/ });
  const target = o.crossEntropy(z([1, 3]), tensor([3], { dtype: 'i32' }));
  await t.throwsAsync(target.data(), { message: /^crossEntropy: .*3/ });
  const picked = o.gather(z([2, 2]), 1, tensor([[0], [-1]], { dtype: 'i32' }));
  await t.throwsAsync(picked.data(), { message: /^gather: .*-1/ });
  t.deepEqual(await o.add(tensor([1, 2]), 1).data(), Float32Array.of(2, 3));
});
