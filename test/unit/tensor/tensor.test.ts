import { inspect as inspectAnything } from 'node:util';
import test from 'ava';
import { arange, full, ops, rand, setThreads, synchronize, Tensor, tensor, zeros } from '../../../lib/index.ts';
import type { Handle } from '../../../lib/native/addon.ts';
import { DEVICE } from '../../run/devices.ts';

/** As on the CPU, wherever the tests run. */
const onCpu = (text: string): string => text.replace(` on ${DEVICE}`, ' on cpu');
const inspect = (value: unknown): string => onCpu(inspectAnything(value));

const { add, embedding, mul, permute, sum } = ops;

test('data, dataSync, item and set', async (t) => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  t.deepEqual(x.shape, [2, 3]);
  t.is(x.dtype, 'f32');
  t.is(x.device, DEVICE);
  t.deepEqual(await x.data(), Float32Array.of(1, 2, 3, 4, 5, 6));
  t.deepEqual(permute(x, 1, 0).dataSync(), Float32Array.of(1, 4, 2, 5, 3, 6));
  t.is(await sum(x).item(), 21);
  t.is(sum(x).itemSync(), 21);
  t.is(x.set([6, 5, 4, 3, 2, 1]), x);
  t.deepEqual(x.dataSync(), Float32Array.of(6, 5, 4, 3, 2, 1));
  t.throws(() => x.set([1]), { message: 'set: data must have 6 elements, got 1' });
  t.throws(() => x.itemSync(), { message: 'item: the tensor must have one element, got (2, 3)' });
  await t.throwsAsync(() => x.item(), { message: 'item: the tensor must have one element, got (2, 3)' });
  permute(x, 1, 0).set([1, 2, 3, 4, 5, 6]);
  t.deepEqual(x.dataSync(), Float32Array.of(1, 3, 5, 2, 4, 6), 'set writes through a view');
});

test('every dtype comes back as it went in', (t) => {
  t.deepEqual(tensor(Int32Array.of(-1, 2 ** 31 - 1)).dataSync(), Int32Array.of(-1, 2 ** 31 - 1));
  t.deepEqual(tensor(Uint8Array.of(0, 255)).dataSync(), Uint8Array.of(0, 255));
  t.deepEqual(tensor([0, 1, 256, 0.5, -2], { dtype: 'bool' }).dataSync(), Uint8Array.of(0, 1, 1, 1, 1));
  t.deepEqual(zeros([3], { dtype: 'bool' }).set([3, 0, 0.25]).dataSync(), Uint8Array.of(1, 0, 1));
  t.deepEqual(tensor([1, 1 / 3, -65504], { dtype: 'f16' }).dataSync(), Float32Array.of(1, 0.333251953125, -65504));
  t.deepEqual(tensor([1, 1 / 3, 2 ** 127], { dtype: 'bf16' }).dataSync(), Float32Array.of(1, 0.333984375, 2 ** 127));
  t.deepEqual(zeros([0, 3]).dataSync(), new Float32Array(0));
  t.deepEqual(arange(2, 8, 3).dataSync(), Int32Array.of(2, 5));
  t.deepEqual(arange(0, 1, 0.25).dataSync(), Float32Array.of(0, 0.25, 0.5, 0.75));
});

test('wrong data is named', (t) => {
  t.throws(() => tensor([[1, 2], [3]]), { message: 'tensor: data must be numbers nested evenly, like (2, 2), got an uneven row' });
  t.throws(() => tensor([1, 2, 3], { shape: [2, 2] }), { message: 'tensor: data must have 4 elements for shape (2, 2), got 3' });
  t.throws(() => zeros([2, -1]), { code: 'ERR_HEDDLE_ARGUMENT', message: /shape must have no negative dimension, got \(2, -1\)/ });
  t.throws(() => zeros([2.5]), { message: 'empty: shape must be integers, got [2.5]' });
  t.throws(() => zeros([2 ** 40, 2 ** 40]), { message: /has too many elements/ });
  t.throws(() => tensor([1], { dtype: 'i32', requiresGrad: true }), { message: 'requiresGrad: dtype must be f32, bf16 or f16, got i32' });
  t.throws(() => setThreads(0), { message: 'setThreads: threads must be an integer of at least 1, got 0' });
});

test('what is read is what was there when reading was asked for', async (t) => {
  const x = full([1000], 1);
  const before = x.data();
  x.set(new Float32Array(1000).fill(2));
  const after = x.data();
  x.dispose(); // its memory may be used again at once: the copies are ahead in the stream
  const other = full([1000], 3);
  t.true((await before).every((v) => v === 1));
  t.true((await after).every((v) => v === 2));
  t.true(other.dataSync().every((v) => v === 3));
});

test('printing: small, scalar, empty', (t) => {
  t.is(
    inspect(
      tensor([
        [1, -2.5],
        [0.12345, 30],
      ]),
    ),
    'Tensor f32 (2, 2) on cpu\n[[ 1.0000, -2.5000],\n [ 0.1235, 30.0000]]',
  );
  t.is(inspect(tensor(3.5)), 'Tensor f32 () on cpu\n3.5000');
  t.is(onCpu(String(zeros([0, 3]))), 'Tensor f32 (0, 3) on cpu []');
  t.is(inspect(tensor([1], { requiresGrad: true })), 'Tensor f32 (1) on cpu, requiresGrad\n[1.0000]');
  t.is(inspect(tensor([1.5], { dtype: 'bf16' })), 'Tensor bf16 (1) on cpu\n[1.5000]');
});

test('printing: three dimensions, integers, bool', (t) => {
  t.is(inspect(arange(0, 8).reshape(2, 2, 2)), 'Tensor i32 (2, 2, 2) on cpu\n[[[0, 1],\n  [2, 3]],\n [[4, 5],\n  [6, 7]]]');
  t.is(inspect(tensor(Int32Array.of(1, -20, 300))), 'Tensor i32 (3) on cpu\n[  1, -20, 300]');
  t.is(inspect(tensor([1, 0], { dtype: 'bool' })), 'Tensor bool (2) on cpu\n[ true, false]');
});

test('printing: long dimensions are cut, and only what is shown counts for the format', (t) => {
  t.is(inspect(arange(0, 9)), 'Tensor i32 (9) on cpu\n[0, 1, 2, ..., 6, 7, 8]');
  t.is(inspect(arange(0, 8)), 'Tensor i32 (8) on cpu\n[0, 1, 2, 3, 4, 5, 6, 7]');
  const values = new Float32Array(100);
  values[50] = 1e30;
  t.is(inspect(tensor(values)), 'Tensor f32 (100) on cpu\n[0.0000, 0.0000, 0.0000, ..., 0.0000, 0.0000, 0.0000]');
  t.is(
    inspect(arange(0, 100).reshape(10, 10)),
    'Tensor i32 (10, 10) on cpu\n[[ 0,  1,  2, ...,  7,  8,  9],\n [10, 11, 12, ..., 17, 18, 19],\n [20, 21, 22, ..., 27, 28, 29],\n' +
      ' ...,\n [70, 71, 72, ..., 77, 78, 79],\n [80, 81, 82, ..., 87, 88, 89],\n [90, 91, 92, ..., 97, 98, 99]]',
  );
});

test('printing: not finite, tiny and huge', (t) => {
  t.is(
    inspect(tensor([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1])),
    'Tensor f32 (4) on cpu\n[   nan,    inf,   -inf, 1.0000]',
  );
  t.is(inspect(tensor([1e-6, 2e-3])), 'Tensor f32 (2) on cpu\n[1.000e-6, 2.000e-3]');
  t.is(inspect(tensor([1, 2e5])), 'Tensor f32 (2) on cpu\n[1.000e+0, 2.000e+5]');
});

test('a disposed tensor says so', (t) => {
  const x = zeros([2, 3]);
  t.deepEqual(x.shape, [2, 3]);
  x.dispose();
  x.dispose();
  t.true(x.disposed);
  const error = t.throws(() => add(x, 1), { code: 'ERR_HEDDLE_DISPOSED', message: /^this tensor \(2, 3\) was disposed/ });
  t.regex(String(error?.stack), /tensor\.test\.ts/);
  t.throws(() => x.dataSync(), { code: 'ERR_HEDDLE_DISPOSED' });
  t.is(inspect(x), 'Tensor(disposed)');
});

test('forged and stale handles are refused with the op and the argument', (t) => {
  const x = zeros([2]);
  const { handle } = x;
  for (const forged of [handle + 1, -1, 0.5, Number.NaN, 2 ** 60, handle + 2 ** 24]) {
    const fake = new Tensor(forged as Handle);
    t.throws(() => fake.dataSync(), { code: 'ERR_HEDDLE_DISPOSED', message: /disposed, or one of another thread/ }, String(forged));
    fake.dispose();
  }
  const stale = new Tensor(handle);
  x.dispose();
  zeros([2]); // takes the slot
  t.throws(() => add(stale, stale), {
    code: 'ERR_HEDDLE_DISPOSED',
    message: 'binary: a is a tensor that was disposed, or one of another thread',
  });
  t.throws(() => new Tensor('no' as unknown as Handle).shape, {
    code: 'ERR_HEDDLE_ARGUMENT',
    message: 'shape: x must be a tensor, got a string',
  });
});

test('an error found while executing comes at the next wait, names the op, and is gone then', async (t) => {
  const table = zeros([4, 2]);
  const bad = (): Tensor => embedding(table, tensor(Int32Array.of(1, 7)));
  const pattern = /^embedding: ids\[1\] must be within \[0, 4\), got 7$/;
  const y = bad(); // does not throw here
  const z = mul(y, 2);
  await t.throwsAsync(() => z.data(), { message: pattern, code: 'ERR_HEDDLE_ARGUMENT' });
  t.deepEqual(await full([2], 5).data(), Float32Array.of(5, 5));
  bad();
  t.throws(() => table.dataSync(), { message: pattern });
  t.deepEqual(table.dataSync(), new Float32Array(8), 'what was there before the error is untouched');
  bad();
  await t.throwsAsync(() => synchronize(), { message: pattern });
  await synchronize();
  // Changing the threads in between neither takes the error nor loses it.
  bad();
  setThreads(2);
  t.throws(() => table.dataSync(), { message: pattern });
  t.deepEqual(mul(full([3], 2), 2).dataSync(), Float32Array.of(4, 4, 4));
});

test('an error does not keep the bytes that were on their way', (t) => {
  const table = zeros([4, 2]);
  const x = zeros([1000]);
  embedding(table, tensor(Int32Array.of(9)));
  x.set(new Float32Array(1000).fill(1)); // skipped, as everything up to the wait
  t.throws(() => x.dataSync());
  if (DEVICE === 'cpu')
    t.deepEqual(x.dataSync(), new Float32Array(1000)); // a GPU finds the error while the next kernels run
  else t.is(x.dataSync().length, 1000);
});

test('random tensors: reproducible, and an element does not depend on the shape around it', (t) => {
  const a = rand([64], { seed: 5 }).dataSync();
  t.deepEqual(rand([64], { seed: 5 }).dataSync(), a);
  t.deepEqual(rand([4, 32], { seed: 5 }).dataSync().slice(0, 64), a);
  t.notDeepEqual(rand([64], { seed: 6 }).dataSync(), a);
  setThreads(1);
  const one = rand([300, 1000], { seed: 9 }).dataSync();
  setThreads(3);
  t.deepEqual(rand([300, 1000], { seed: 9 }).dataSync(), one);
  setThreads(2);
});
