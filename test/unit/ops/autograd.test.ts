import test from 'ava';
import { backward, noGrad } from '../../../lib/autograd/index.ts';
import * as ops from '../../../lib/ops/index.ts';
import '../../../lib/ops/methods.ts';
import { memory, randn, scope, type Tensor, tensor, zeros } from '../../../lib/tensor/index.ts';
import { DEVICE } from '../../run/devices.ts';

const leaf = (...values: number[]): Tensor => tensor(values, { requiresGrad: true });
const gradient = (x: Tensor): number[] | undefined => (x.grad ? [...x.grad.dataSync()] : undefined);

test('intermediate tensors may be gone before backward', (t) => {
  const x = leaf(1, 2, 3);
  const loss = scope(() => x.mul(x).exp().log().sum());
  backward(loss);
  t.deepEqual(gradient(x)?.map(Math.round), [2, 4, 6]);
  const y = leaf(3);
  const squared = y.square();
  const result = squared.mul(2).sum();
  squared.dispose();
  backward(result);
  t.deepEqual(gradient(y), [12]);
});

test('a tensor used several times gets the sum of its gradients', (t) => {
  const x = leaf(2);
  backward(x.mul(x).add(x).mul(x).sum()); // x³ + x²
  t.deepEqual(gradient(x), [16]);
});

test('an operand in every place of an op gets all its gradients', (t) => {
  const x = randn([1, 5, 2, 4], { seed: 1, requiresGrad: true });
  const dy = randn([1, 5, 2, 4], { seed: 2 });
  backward(ops.attention(x, x, x, { causal: true }), { gradient: dy });
  const parts = [0, 1, 2].map(() => x.detach().clone());
  for (const p of parts) p.requiresGrad = true;
  backward(ops.attention(parts[0] as Tensor, parts[1] as Tensor, parts[2] as Tensor, { causal: true }), { gradient: dy });
  const sum = parts.map((p) => p.grad as Tensor).reduce((a, b) => a.add(b));
  t.true(Math.max(...(x.grad as Tensor).sub(sum).abs().dataSync()) < 1e-6);

  const inner = x.detach();
  inner.requiresGrad = true;
  const same = inner.mul(1); // the same through a node instead of a leaf
  backward(ops.attention(same, same, same, { causal: true }), { gradient: dy });
  t.true(Math.max(...(inner.grad as Tensor).sub(sum).abs().dataSync()) < 1e-6);
});

test('mlp has the bits of two linears, also where it computes the hidden layer again, which takes less memory', (t) => {
  const leaves = [[70, 24], [100, 24], [40, 100], [100], [40], [70, 40]].map((s, seed) => randn(s, { seed, requiresGrad: true }));
  const [x, up, down, upBias, downBias, residual] = leaves as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
  const dy = randn([70, 40], { seed: 9 });
  for (const activation of ['geluTanh', 'relu2'] as const) {
    const run = (forward: () => Tensor): { values: number[][]; kept: number } => {
      const before = memory(DEVICE).used;
      const y = forward();
      const kept = memory(DEVICE).used - before;
      const value = [...y.dataSync()];
      backward(y, { gradient: dy });
      const values = [value, ...leaves.map((leaf) => [...(leaf.grad as Tensor).dataSync()])];
      for (const leaf of leaves) leaf.zeroGrad();
      return { values, kept };
    };
    const settings = { activation, upBias, downBias, residual };
    const { values } = run(() =>
      scope(() => ops.linear(ops.linear(x, up, { bias: upBias, activation }), down, { bias: downBias, residual }).keep()),
    );
    const whole = run(() => ops.mlp(x, up, down, settings));
    const again = run(() => ops.mlp(x, up, down, { ...settings, recompute: true }));
    t.deepEqual(whole.values, values);
    t.deepEqual(again.values, values);
    t.true(whole.kept - again.kept >= 70 * 100 * 4);
  }
});

test('a gradient that flows on as a view is not written to', (t) => {
  const [a, b] = [leaf(1, 2, 3, 4), leaf(5, 6, 7, 8)];
  const z = a.mul(1);
  const x = b.mul(1);
  const other = x.mul(10); // adds to x's gradient after reshape passed on a view of what z also gets
  const y = x.reshape(2, 2).reshape(4).add(z);
  backward(y.sum().add(other.sum()));
  t.deepEqual(gradient(a), [1, 1, 1, 1]);
  t.deepEqual(gradient(b), [11, 11, 11, 11]);
});

test('the implicit 1 stays 1 although other gradients join it', (t) => {
  const logits = tensor([[1, 2, 3]], { requiresGrad: true });
  const target = tensor([2], { dtype: 'i32' });
  const loss = ops.crossEntropy(logits, target);
  backward(loss.add(loss.sqrt().mul(3)));
  const single = tensor([[1, 2, 3]], { requiresGrad: true });
  const plain = ops.crossEntropy(single, target);
  const factor = 1 + 1.5 / Math.sqrt(plain.itemSync());
  backward(plain);
  const [got, want] = [gradient(logits) as number[], (gradient(single) as number[]).map((g) => g * factor)];
  for (const [i, g] of got.entries()) t.true(Math.abs(g - (want[i] as number)) < 1e-6, `${got} ${want}`);
});

test('retainGraph: a second backward gives the same again, and without it an error', (t) => {
  const [x, w] = [randn([4, 3], { seed: 1, requiresGrad: true }), randn([5, 3], { seed: 2, requiresGrad: true })];
  const targets = tensor([0, 4, 2, 1], { dtype: 'i32' });
  for (const make of [
    () => ops.crossEntropy(ops.linear(x, w), targets).mul(2),
    () => ops.linearCrossEntropy(x, w, targets).mul(2),
    () => ops.linearCrossEntropy(x, w, targets, { chunkRows: 3 }).mul(2),
    () => ops.crossEntropy(ops.linear(x, w), targets, { reduction: 'none' }).sum(),
  ]) {
    x.zeroGrad();
    w.zeroGrad();
    const loss = make();
    backward(loss, { retainGraph: true });
    const once = gradient(w) as number[];
    backward(loss);
    const twice = gradient(w) as number[];
    t.true(once.some((g) => Math.abs(g) > 0.01));
    for (const [i, g] of once.entries()) t.true(Math.abs((twice[i] as number) - 2 * g) < 1e-5);
    t.throws(() => backward(loss), {
      message: /^backward: the graph behind this tensor \(op \w+\) was already used; pass \{ retainGraph: true \}/,
    });
  }
});

test('nothing is recorded under noGrad, nor by comparisons', (t) => {
  const x = leaf(1, 2);
  t.false(noGrad(() => x.mul(2)).requiresGrad);
  t.false(x.gt(1).requiresGrad);
  t.true(x.mul(2).requiresGrad);
});

test('an integer operand has no gradient, the other one does', (t) => {
  const x = leaf(1, 2);
  backward(x.mul(tensor([3, 4], { dtype: 'i32' })).sum());
  t.deepEqual(gradient(x), [3, 4]);
});

test('numbers leave half precision as it is', (t) => {
  const x = tensor([1, 2], { dtype: 'bf16' });
  t.is(x.mul(0.1).dtype, 'bf16');
  t.is(ops.sub(1, x).dtype, 'bf16');
  t.is(x.maskedFill(x.gt(1), -Infinity).dtype, 'bf16');
  t.is(x.add(tensor([1, 2])).dtype, 'f32');
  t.is(x.add(tensor([1, 2], { dtype: 'i32' })).dtype, 'bf16');
});

test('a step leaves nothing behind', (t) => {
  const w = randn([8, 8], { seed: 1, requiresGrad: true });
  const x = randn([4, 8], { seed: 2 });
  const step = (): void =>
    scope(() => {
      backward(
        ops
          .layerNorm(ops.linear(x, w, { activation: 'geluTanh' }).matmul(w))
          .softmax()
          .max(1)
          .sub(1)
          .div(2)
          .pow(2)
          .mean(),
      );
      w.zeroGrad();
    });
  step();
  const before = memory(DEVICE);
  for (let i = 0; i < 5; i++) step();
  const after = memory(DEVICE);
  t.is(after.tensors, before.tensors);
  t.is(after.used, before.used);
});

test('defineFunction: a gradient of one’s own', (t) => {
  const cube = ops.defineFunction<{ factor: number }>({
    name: 'cube',
    forward: ([x], { factor }, save) => {
      save(x as Tensor);
      return (x as Tensor)
        .mul(x as Tensor)
        .mul(x as Tensor)
        .mul(factor);
    },
    backward: (dy, [x], { factor }) => [dy.mul((x as Tensor).square().mul(3 * factor))],
  });
  const x = leaf(1, 2);
  backward(cube([x], { factor: 2 }).sum());
  t.deepEqual(gradient(x), [6, 24]);
  const broken = ops.defineFunction({ name: 'broken', forward: ([a]) => (a as Tensor).mul(1), backward: () => [zeros([3])] });
  t.throws(() => backward(broken([x], undefined).sum()), { message: 'broken: backward must give input 0 a gradient of (2), got (3)' });
});
