import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { full, keep, memory, ops, scope, type Tensor, zeros } from '../../../lib/index.ts';

const { add, mul } = ops;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Living tensors and bytes more than before. */
function growth<T>(fn: () => T): { result: T; tensors: number; used: number } {
  const before = memory();
  const result = fn();
  const after = memory();
  return { result, tensors: after.tensors - before.tensors, used: after.used - before.used };
}

test('a scope frees what it does not return', (t) => {
  const { result, tensors, used } = growth(() =>
    scope(() => {
      const a = full([1000], 1);
      return add(mul(a, 2), a);
    }),
  );
  t.is(tensors, 1);
  t.is(used, 4096);
  t.is(result.dataSync()[999], 3);
  result.dispose();
});

test('results in arrays and objects survive, nested ones too', (t) => {
  const { result, tensors } = growth(() =>
    scope(() => ({ list: [zeros([1]), [zeros([2])]], named: { x: zeros([3]) }, none: null, lost: zeros([4]).shape })),
  );
  t.is(tensors, 3);
  t.deepEqual(result.named.x.shape, [3]);
  for (const x of [...result.list.flat(), result.named.x]) x.dispose();
});

test('scopes nest: an inner result belongs to the outer scope', (t) => {
  const { tensors } = growth(() =>
    scope(() => {
      const inner = scope(() => scope(() => add(zeros([2]), 1)));
      t.false(inner.disposed);
      t.is(inner.dataSync()[1], 1);
    }),
  );
  t.is(tensors, 0);
});

test('an exception frees everything and comes through', (t) => {
  let lost: Tensor | undefined;
  const { tensors } = growth(() =>
    t.throws(
      () =>
        scope(() => {
          lost = zeros([2]);
          scope(() => {
            zeros([3]);
            throw new Error('mine');
          });
        }),
      { message: 'mine' },
    ),
  );
  t.is(tensors, 0);
  t.true(lost?.disposed);
  const { tensors: after } = growth(() => scope(() => void zeros([2])));
  t.is(after, 0, 'the outer scope is current again');
});

test('a function that returns a promise is refused', (t) => {
  const { tensors } = growth(() =>
    t.throws(() => scope(() => Promise.resolve(zeros([2]))), {
      message: 'scope: fn must be synchronous, got a function that returns a promise',
    }),
  );
  t.is(tensors, 0);
});

test('keep takes a tensor out of the scope it was made in, however deep it is called', (t) => {
  const { result, tensors } = growth(() =>
    scope(() => {
      const a = zeros([2]);
      const b = zeros([2]);
      scope(() => {
        keep(a);
        b.dispose();
      });
      return [a];
    }),
  );
  t.is(tensors, 1);
  t.false((result[0] as Tensor).disposed);
  (result[0] as Tensor).dispose();
});

test('using frees at the end of the block', (t) => {
  const { tensors, used } = growth(() => {
    using a = zeros([100]);
    using b = add(a, 1);
    t.is(b.dataSync()[0], 1);
  });
  t.is(tensors, 0);
  t.is(used, 0);
});

test('views share memory: it goes when the last of them goes', (t) => {
  const before = memory().used;
  const a = zeros([1000]);
  const view = a.reshape(10, 100);
  a.dispose();
  t.is(memory().used - before, 4096);
  t.is(view.dataSync()[5], 0);
  view.dispose();
  t.is(memory().used, before);
});

test('what the collector takes is freed, gradients of leaves too', async (t) => {
  const before = memory().tensors;
  (() => {
    const x = full([4], 2, { requiresGrad: true });
    mul(x, x).sum().backward();
    t.deepEqual(x.grad?.dataSync(), Float32Array.of(4, 4, 4, 4));
    mul(x, 3); // a graph that nobody walks
  })();
  for (let i = 0; i < 50 && memory().tensors > before; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.is(memory().tensors, before);
});
