import test from 'ava';
import { backward, enableGrad, isGradEnabled, noGrad, ops, tensor, zeros } from '../../../lib/index.ts';

const leaf = (...values: number[]) => tensor(values, { requiresGrad: true });

test('noGrad and enableGrad nest, and an exception ends them', (t) => {
  t.true(isGradEnabled());
  noGrad(() => {
    t.false(isGradEnabled());
    enableGrad(() => t.true(isGradEnabled()));
    t.false(isGradEnabled());
  });
  t.throws(() =>
    noGrad(() => {
      throw new Error('mine');
    }),
  );
  t.true(isGradEnabled());
});

test('noGrad refuses a function that goes on later', (t) => {
  t.throws(() => noGrad(async () => 1), { message: 'noGrad: fn must be synchronous, got a function that returns a promise' });
  t.true(isGradEnabled());
});

test('detach shares the memory and leaves the graph', (t) => {
  const x = leaf(1, 2);
  const y = x.mul(3);
  const d = y.detach();
  t.true(y.requiresGrad);
  t.false(d.requiresGrad);
  d.set([9, 9]);
  t.deepEqual([...y.dataSync()], [9, 9]);
  backward(y.mul(d).sum());
  t.deepEqual([...(x.grad?.dataSync() ?? [])], [27, 27]);
});

test('requiresGrad belongs to leaves', (t) => {
  const x = leaf(1);
  const y = x.mul(2);
  t.throws(
    () => {
      y.requiresGrad = false;
    },
    { message: 'requiresGrad can be turned off on leaves only; use detach()' },
  );
  t.throws(
    () => {
      zeros([2], { dtype: 'i32' }).requiresGrad = true;
    },
    { message: 'requiresGrad: dtype must be f32, bf16 or f16, got i32' },
  );
  t.throws(() => backward(zeros([1])), { message: 'backward: no input of this tensor has requiresGrad, or it was made under noGrad' });
  t.throws(() => backward(leaf(1, 2).mul(2)), { message: /a tensor of shape \(2\) needs \{ gradient \}/ });
  t.is(y.grad, null, 'an intermediate tensor has none');
});

test('a leaf that was turned off gets no gradient, and gets it again when it is turned on', (t) => {
  const [x, w] = [leaf(2), leaf(3)];
  w.requiresGrad = false;
  backward(x.mul(w).sum());
  t.deepEqual([...(x.grad?.dataSync() ?? [])], [3]);
  t.is(w.grad, null);
  w.requiresGrad = true;
  x.zeroGrad();
  t.is(x.grad, null);
  backward(x.mul(w).sum());
  t.deepEqual([...(w.grad?.dataSync() ?? [])], [2]);
  backward(x.mul(w).sum());
  t.deepEqual([...(w.grad?.dataSync() ?? [])], [4], 'gradients add up until zeroGrad');
});

test('backward of a leaf itself', (t) => {
  const x = leaf(5);
  backward(x);
  t.deepEqual([...(x.grad?.dataSync() ?? [])], [1]);
  backward(x, { gradient: tensor([2]) });
  t.deepEqual([...(x.grad?.dataSync() ?? [])], [3]);
});

test('an error in the middle of a custom backward comes through, and the next backward is sound', (t) => {
  let broken = true;
  const fragile = ops.defineFunction({
    name: 'fragile',
    forward: ([x], _, save) => {
      save(x as never);
      return ops.mul(x as never, 2);
    },
    backward: (dy) => {
      if (broken) throw new Error('mine');
      return [ops.mul(dy, 2)];
    },
  });
  const x = leaf(1, 2);
  const run = () =>
    backward(
      fragile([x.mul(3)], undefined)
        .exp()
        .sum(),
    );
  t.throws(run, { message: 'mine' });
  broken = false;
  x.zeroGrad();
  run();
  const [a = 0, b = 0] = x.grad?.dataSync() ?? [];
  t.true(Math.abs(a - 6 * Math.exp(6)) < 0.01 && Math.abs(b - 6 * Math.exp(12)) < 10, `${a} ${b}`);
});
