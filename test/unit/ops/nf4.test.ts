// NF4 by hand: levels, ties, the order of nibbles, double quantisation; every type of a device; a product with a matrix in it.
import test from 'ava';
import { backward, noGrad, type Tensor } from '../../../lib/index.ts';
import { native } from '../../../lib/native/addon.ts';
import { cast, dequantizeNF4, linear, mul, quantizeNF4, sum } from '../../../lib/ops/index.ts';
import { memory, randn, scope, tensor, zeros } from '../../../lib/tensor/index.ts';
import { hostNF4, NF4_LEVELS, packed, SCALE_LEVELS } from '../../cases/nf4.ts';
import { computesIn, DEVICES, EVERY_DEVICE, onDevice } from '../../run/devices.ts';

const numbers = (t: Tensor): number[] => [...t.dataSync()];

for (const device of DEVICES) {
  test(`the levels are those of bitsandbytes, ties go to the lower one, the first number is in the high half${onDevice(device)}`, (t) =>
    scope(() => {
      t.is(SCALE_LEVELS.length, 256);
      const codesOf = (x: number[]): number[] => numbers(quantizeNF4(tensor(x, { device })).codes).flatMap((b) => [b >> 4, b & 15]);
      t.deepEqual(codesOf(NF4_LEVELS), [...NF4_LEVELS.keys()]);
      t.deepEqual(
        codesOf([1, -1, 0, 0.3]).map((c) => c),
        [15, 0, 7, 11],
        '0.3 lies between 0.246 and 0.338, beyond 0.292',
      );
      // bitsandbytes' thresholds (dQuantizeNF4): at one the lower level, right above it the upper.
      const thresholds = [
        ...[-0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984],
        ...[-0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668],
        ...[0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784181118011],
      ].map(Math.fround);
      t.deepEqual(codesOf([1, ...thresholds]), [15, ...thresholds.keys()]);
      const above = thresholds.map((x) => Math.fround(x + Math.abs(x) * 2 ** -23));
      t.deepEqual(codesOf([1, ...above]), [15, ...above.map((_, i) => i + 1)]);
    }));

  test(`constants: one block has its own, of two the mean is taken off${onDevice(device)}`, (t) =>
    scope(() => {
      const alone = quantizeNF4(tensor([0.5, -2, 0.25], { device }));
      t.deepEqual([numbers(alone.mean), numbers(alone.ranges), alone.shape], [[2], [0], [3]]);
      t.deepEqual(
        numbers(dequantizeNF4(alone)),
        [0.24611230194568634, -1, 0.16093020141124725].map((x) => Math.fround(x * 2)),
      );
      const two = Array.from({ length: 65 }, (_, i) => (i === 3 ? 3 : i === 64 ? -1 : 0));
      const q = quantizeNF4(tensor(two, { device }));
      // The constants 3 and 1 are 2 + 1 and 2 - 1: the codes of 1 and of -1, whose nearest is -0.99296875.
      t.deepEqual([numbers(q.mean), numbers(q.ranges), numbers(q.scales)], [[2], [1], [255, 0]]);
      const back = numbers(dequantizeNF4(q));
      t.deepEqual([back[3], back[0], back[64]], [3, 0, -Math.fround(2 + (SCALE_LEVELS[0] as number))]);
    }));

  test(`zeros stay zeros, and a number that is none makes the matrix so${onDevice(device)}`, (t) =>
    scope(() => {
      t.deepEqual(new Set(numbers(dequantizeNF4(quantizeNF4(zeros([3, 50], { device }))))), new Set([0]));
      const tiny = numbers(dequantizeNF4(quantizeNF4(tensor([1e-44, -1e-44], { device }))));
      t.true(tiny.every((x) => Math.abs(x) <= 1e-44));
      const broken = numbers(dequantizeNF4(quantizeNF4(tensor([1, Number.NaN, 2], { device }))));
      t.true(broken.every((x) => Number.isNaN(x)));
    }));

  test(`a matrix of several groups, in the types that the device computes in${onDevice(device)}`, (t) =>
    scope(() => {
      const w = randn([130, 257], { seed: 3, device });
      const host = hostNF4(Float64Array.from(w.dataSync()));
      const q = quantizeNF4(w);
      t.deepEqual(numbers(q.codes), packed(host.codes));
      t.deepEqual(numbers(q.scales), host.scales);
      t.deepEqual([numbers(q.ranges), numbers(q.mean)], [host.ranges, [host.mean]]);
      const values = dequantizeNF4(q);
      t.deepEqual(numbers(values), host.values);
      for (const dtype of ['bf16', 'f16'] as const) {
        if (!computesIn(device, dtype)) continue;
        t.is(dequantizeNF4(q, dtype).dtype, dtype);
        t.deepEqual(numbers(dequantizeNF4(q, dtype)), numbers(cast(values, dtype)));
      }
    }));

  test(`a product takes the matrix out and keeps neither it nor its input${onDevice(device)}`, (t) =>
    scope(() => {
      const [w, bias] = [randn([96, 64], { seed: 1, device }), randn([96], { seed: 2, device })];
      const q = quantizeNF4(w);
      const plain = noGrad(() => dequantizeNF4(q)).detach();
      const results = [plain, q].map((weight) => {
        const x = randn([2, 5, 64], { seed: 4, device }).detach();
        x.requiresGrad = true;
        const y = linear(x, weight, { bias, activation: 'geluTanh' });
        backward(sum(mul(y, y)));
        return [numbers(y), numbers(x.grad as Tensor)];
      });
      t.deepEqual(results[1], results[0]);
      const x = randn([2, 5, 64], { seed: 4, device, requiresGrad: true });
      native.synchronizeSync(device);
      const before = memory(device).used;
      const y = linear(x, q, { bias });
      t.true(memory(device).used - before <= 4 * 2 * 5 * 96 + 1024, 'the result alone');
      y.dispose();
      t.is(memory(device).used, before);
    }));
}

test('the same bits on every device', (t) =>
  scope(() => {
    const w = randn([70, 300], { seed: 9, device: 'cpu' });
    const on = EVERY_DEVICE.map((device) => {
      const q = quantizeNF4(w.to(device));
      return [q.codes, q.scales, q.ranges, q.mean, dequantizeNF4(q)].map(numbers);
    });
    for (const parts of on) t.deepEqual(parts, on[0]);
  }));

test('what is wrong is named', (t) =>
  scope(() => {
    const { codes, scales, ranges, mean } = quantizeNF4(zeros([4, 32]));
    const [c, s, r, m] = [codes, scales, ranges, mean].map((x) => x.handle) as [never, never, never, never];
    t.throws(() => native.nf4Dequantize(c, s, r, m, [4, 33], 'f32'), { message: /codes must be dense and \(66\), got/ });
    t.throws(() => native.nf4Dequantize(c, s, r, m, [4, 32], 'i32'), { message: /dtype must be f32, bf16 or f16, got i32/ });
    t.throws(() => native.nf4Dequantize(s, s, r, m, [4, 32], 'f32'), { message: /codes must be dense and \(64\), got/ });
    t.throws(() => native.nf4Dequantize(c, s, s, m, [4, 32], 'f32'), { message: /ranges must be f32, got u8/ });
    t.throws(() => quantizeNF4(zeros([0, 3])), { message: /w must be of at least one element, got \(0, 3\)/ });
  }));
