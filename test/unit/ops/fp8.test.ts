// fp8: every code, nearest codes, scales; products of codes, by which kernels; linear in fp8 and its gradients.
import test, { type ExecutionContext } from 'ava';
import { backward, type Device, type Tensor } from '../../../lib/index.ts';
import { native } from '../../../lib/native/addon.ts';
import { cast, dequantizeFP8, type FP8Format, linear, linearFP8, mlp, mul, permute, quantizeFP8, sum } from '../../../lib/ops/index.ts';
import { gpuInfo, randn, scope, tensor, zeros } from '../../../lib/tensor/index.ts';
import { FORMATS, FP8_LARGEST, FP8_VALUES, hostFP8, nearestFP8 } from '../../cases/fp8.ts';
import { type Float, Maker, TOLERANCE, worst } from '../../run/agree.ts';
import { computesIn, DEVICES, EVERY_DEVICE, onDevice } from '../../run/devices.ts';

const numbers = (t: Tensor): number[] => [...t.dataSync()];

/** Names of the kernels that `work` launches, and its result. */
function launches<T>(device: Device, work: () => T): [string[], T] {
  native.synchronizeSync(device);
  native.startLaunchLog();
  const result = work();
  native.synchronizeSync(device);
  return [native.takeLaunchLog().map(({ kernel }) => kernel), result];
}

/** Codes, products and epilogues as the CPU has them, by the kernels that docs/cuda.md names. */
function productIsRight(
  t: ExecutionContext,
  device: Device,
  dtype: Float,
  [M, N, K]: readonly [number, number, number],
  [ofX, ofW]: readonly [FP8Format, FP8Format],
): void {
  const make = (on: Device): [string[], Tensor[]] => {
    const m = new Maker(on, dtype);
    const [x, w, bias, residual] = [m.draw(M, K), m.draw(N, K), m.draw(N), m.draw(M, N)];
    const [qx, qw] = [quantizeFP8(x, ofX), quantizeFP8(w, ofW)];
    return launches(on, () => [
      linearFP8(qx, qw, { dtype }),
      linearFP8(qx, qw, { dtype, bias, activation: 'silu' }),
      linearFP8(qx, qw, { dtype, bias, residual, activation: 'geluTanh' }),
    ]);
  };
  const what = `${ofX} (${M}, ${K}) by ${ofW} (${N}, ${K}) in ${dtype}`;
  const want = scope(() => make('cpu')[1].map((y) => y.dataSync()));
  scope(() => {
    const [names, got] = make(device);
    const error = worst(got, want);
    t.true(error <= TOLERANCE[dtype], `${what}: differs by ${error}`);
    if (device === 'cpu') return;
    const formats = ofX === ofW ? ofX : `${ofX} ${ofW}`;
    const hopper = gpuInfo(device)?.capability === 90 && dtype !== 'f32' && K % 16 === 0;
    const expected = new RegExp(hopper ? `^matmul ${formats} \\d+x\\d+x128 wgmma$` : `^(fp8_values|matmul ${dtype} .*)$`);
    t.deepEqual([names.filter((name) => !expected.test(name)), names.length], [[], hopper ? 3 : 9], what);
  });
}

for (const device of DEVICES) {
  test(`every code is the number of its definition, and comes back${onDevice(device)}`, (t) =>
    scope(() => {
      const one = tensor([1], { device });
      const codes = tensor(
        Uint8Array.from({ length: 256 }, (_, i) => i),
        { device },
      );
      for (const format of FORMATS) {
        const values = FP8_VALUES[format];
        t.deepEqual(numbers(dequantizeFP8({ format, codes, scale: one })), [...values]);
        for (const dtype of ['bf16', 'f16'] as const)
          if (computesIn(device, dtype)) t.deepEqual(numbers(dequantizeFP8({ format, codes, scale: one }, dtype)), [...values]);
        const finite = values.flatMap((value, code) => (Number.isFinite(value) ? [{ value, code }] : []));
        const q = quantizeFP8(
          tensor(
            finite.map(({ value }) => value),
            { device },
          ),
          format,
        );
        t.deepEqual(numbers(q.scale), [1], 'the largest of them has the largest code');
        t.deepEqual(
          numbers(q.codes),
          finite.map(({ code }) => code),
        );
      }
    }));

  test(`between two numbers the nearer one, in the middle the even one${onDevice(device)}`, (t) =>
    scope(() => {
      for (const format of FORMATS) {
        const values = FP8_VALUES[format].slice(0, 128).filter(Number.isFinite);
        const middles = values.slice(1).map((v, i) => (v + (values[i] as number)) / 2);
        const beside = middles.flatMap((m) => [m * (1 - 2 ** -23), m, m * (1 + 2 ** -23)]);
        const x = [...beside, ...beside.map((v) => -v), FP8_LARGEST[format]];
        const codes = x.map((v) => nearestFP8(format, Math.fround(v)));
        t.true(middles.every((m) => nearestFP8(format, m) % 2 === 0));
        t.deepEqual(numbers(quantizeFP8(tensor(x, { device }), format).codes), codes);
      }
    }));

  test(`zeros, tiny numbers, NaN and infinities${onDevice(device)}`, (t) =>
    scope(() => {
      for (const format of FORMATS) {
        const none = quantizeFP8(zeros([3, 7], { device }), format);
        t.deepEqual([numbers(none.scale), new Set(numbers(none.codes))], [[1], new Set([0])]);
        const tiny = quantizeFP8(tensor([1e-44, -1e-44], { device }), format);
        t.deepEqual(numbers(dequantizeFP8(tiny)).map(Math.abs), [0, 0]);
        const values = (x: number[]): number[] => numbers(dequantizeFP8(quantizeFP8(tensor(x, { device }), format)));
        t.deepEqual(values([1, Number.NaN, -2]), [1, Number.NaN, -2], 'NaN stays alone');
        t.true(values([1, Number.POSITIVE_INFINITY, 2]).every(Number.isNaN), 'an infinity is not hidden');
      }
    }));

  test(`products of codes are the CPU's, bias, activation and residual with them${onDevice(device)}`, (t) => {
    for (const sizes of [
      [5, 24, 48],
      [200, 328, 144],
      [70, 50, 272],
      [130, 136, 40], // rows of codes that do not begin at multiples of 16 bytes
      [33, 17, 7],
      [1, 8, 512],
    ] as const)
      for (const [i, ofX] of FORMATS.entries())
        for (const ofW of sizes[0] > 100 ? FORMATS : FORMATS.slice(i, i + 1))
          for (const dtype of ['f32', 'bf16', 'f16'] as const)
            if (dtype === 'f32' || computesIn(device, dtype)) productIsRight(t, device, dtype, sizes, [ofX, ofW]);
  });

  // More tiles than blocks run at once, more of k than there are stages for, an odd number of tiles below each other.
  if (computesIn(device, 'bf16'))
    test(`products of codes in many tiles${onDevice(device)}`, (t) => {
      for (const sizes of [
        [2200, 120, 1200],
        [56, 2200, 1216],
        [300, 584, 912],
      ] as const)
        productIsRight(t, device, 'bf16', sizes, ['e4m3', 'e4m3']);
    });

  test(`linear in fp8: forward of the codes, gradients of the numbers${onDevice(device)}`, (t) => {
    const dtype = computesIn(device, 'bf16') ? 'bf16' : 'f32';
    const of = (precision: 'bf16' | 'fp8', conv1d: boolean): number[][] =>
      scope(() => {
        const m = new Maker(device, dtype);
        const [x, w, bias, residual] = [m.draw(2, 20, 64), m.draw(...(conv1d ? [64, 96] : [96, 64])), m.draw(96), m.draw(2, 20, 96)];
        const y = linear(x, w, { bias, residual, conv1d, precision });
        backward(y, { gradient: cast(randn([2, 20, 96], { seed: 9, device: 'cpu' }).to(device), y.dtype) });
        return [y, ...[x, w, bias, residual].map((leaf) => leaf.grad as Tensor)].map(numbers);
      });
    for (const conv1d of [false, true]) {
      const [[plain, ...want], [rounded, ...got]] = [of('bf16', conv1d), of('fp8', conv1d)] as [number[][], number[][]];
      t.deepEqual(got, want, 'straight through');
      t.notDeepEqual(rounded, plain);
      const codes = scope(() => {
        const m = new Maker(device, dtype);
        const [x, w, bias, residual] = [m.draw(2, 20, 64), m.draw(...(conv1d ? [64, 96] : [96, 64])), m.draw(96), m.draw(2, 20, 96)];
        const rows = conv1d ? permute(w, [1, 0]) : w;
        return numbers(linearFP8(quantizeFP8(x), quantizeFP8(rows), { bias, residual, dtype }));
      });
      t.deepEqual(rounded, codes);
    }
  });

  test(`mlp in fp8 is two linears${onDevice(device)}`, (t) =>
    scope(() => {
      const m = new Maker(device, computesIn(device, 'bf16') ? 'bf16' : 'f32');
      const [x, up, down] = [m.draw(9, 32), m.draw(48, 32), m.draw(32, 48)];
      const options = { activation: 'geluTanh', precision: 'fp8' } as const;
      const [names, y] = launches(device, () => mlp(x, up, down, options));
      if (gpuInfo(device)?.capability === 90) t.is(names.filter((name) => /^matmul e4m3 .* wgmma$/.test(name)).length, 2, names.join());
      t.deepEqual(numbers(y), numbers(linear(linear(x, up, options), down, { precision: 'fp8' })));
      backward(sum(mul(y, y)));
      for (const leaf of [x, up, down]) t.true(numbers(leaf.grad as Tensor).every(Number.isFinite));
    }));
}

test('the same codes and scales on every device', (t) =>
  scope(() => {
    const drawn = randn([70, 301], { seed: 9, device: 'cpu' }).dataSync<'f32'>();
    drawn[2400] = -9; // the largest is negative, and in the last of three parts
    const x = tensor(drawn, { shape: [70, 301], device: 'cpu' });
    for (const format of FORMATS) {
      const host = hostFP8(Float64Array.from(x.dataSync()), format);
      for (const device of EVERY_DEVICE) {
        const q = quantizeFP8(x.to(device), format);
        t.deepEqual([numbers(q.codes), numbers(q.scale)], [host.codes, [host.scale]], device);
      }
    }
  }));

test('what is wrong is named', (t) =>
  scope(() => {
    const [x, w] = [quantizeFP8(zeros([3, 8])), quantizeFP8(zeros([5, 9]))];
    t.throws(() => linearFP8(x, w), { message: /fp8Linear: x must be \(\.\.\., 9\) for w \(5, 9\), got \(3, 8\)/ });
    t.throws(() => linearFP8(x, { ...w, codes: w.scale }), { message: /w must be u8, got f32/ });
    t.throws(() => linearFP8(x, { ...w, scale: zeros([2]) }), { message: /wScale must be \(1\), got \(2\)/ });
    t.throws(() => linearFP8(x, quantizeFP8(zeros([5, 8])), { bias: zeros([4]) }), { message: /bias must be \(5\), got \(4\)/ });
    t.throws(() => linearFP8(x, x, { dtype: 'i32' }), { message: /dtype must be f32, bf16 or f16, got i32/ });
    t.throws(() => quantizeFP8(zeros([0, 3])), { message: /x must be of at least one element, got \(0, 3\)/ });
    t.throws(() => quantizeFP8(zeros([2]), 'e3m4' as never), { message: /format must be 'e4m3' \| 'e5m2', got 'e3m4'/ });
  }));
