// What benchmarks stand on: the machine's ceilings, the time of each op, a step without its kernels.
import test from 'ava';
import { native } from '../../../lib/native/addon.ts';
import { matmul, relu } from '../../../lib/ops/index.ts';
import { scope, tensor } from '../../../lib/tensor/index.ts';

test.serial('probe gives positive rates, and errors that name the argument', (t) => {
  for (const what of ['fma', 'copy', 'read'] as const) t.true(native.probe(what, 1, 1 << 20) > 0, what);
  t.throws(() => native.probe('write' as 'read', 1, 1 << 20), { message: /what must be fma, copy or read, got write/ });
  t.throws(() => native.probe('fma', 0, 0), { message: /threads must be from 1 to 1024, got 0/ });
  t.throws(() => native.probe('copy', 1, 100), { message: /bytes must be at least 4096 per thread, got 100/ });
});

test.serial('op times count every op that ran, until they are taken', (t) => {
  const x = tensor([1, 2, 3, 4], { shape: [2, 2], device: 'cpu' });
  native.timeOps('cpu');
  scope(() => relu(relu(matmul(x, x))));
  const times = native.takeOpTimes('cpu');
  t.deepEqual(
    times.map(({ op, count }) => [op, count]),
    [
      ['matmul', 1],
      ['relu', 2],
    ],
  );
  t.true(times.every(({ ms }) => ms >= 0));
  scope(() => relu(x));
  t.deepEqual(native.takeOpTimes('cpu'), []);
});

test.serial('a hollow device runs no kernel, and all of them again afterwards', async (t) => {
  const x = tensor([-1, 2], { device: 'cpu' });
  await x.data();
  native.timeOps('cpu');
  native.setHollow('cpu', true);
  scope(() => relu(x));
  native.setHollow('cpu', false);
  scope(() => relu(x));
  t.deepEqual(
    native
      .takeOpTimes('cpu')
      .filter(({ op }) => op === 'relu')
      .map(({ count }) => count),
    [1],
  );
});
