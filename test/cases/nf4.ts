import fc from 'fast-check';
import { cast, concat, dequantizeNF4, quantizeNF4, reshape } from '../../lib/ops/index.ts';
import { at, type Case, count, draws, instance, shape } from './case.ts';

const f = Math.fround;

/** The paper's appendix E. */
export const NF4_LEVELS = [
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334],
  ...[-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
  ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
].map(f);

/** The dynamic 8-bit numbers of "8-bit Optimizers via Block-wise Quantization", from the middles of 2^e equal parts of [0.1, 1]. */
export const SCALE_LEVELS = ((): number[] => {
  const positive = Array.from({ length: 7 }, (_, e) =>
    Array.from({ length: 2 ** e }, (_, k) => f((0.1 + (0.9 * (k + 0.5)) / 2 ** e) * 10 ** (e - 6))),
  ).flat();
  return [...positive.map((x) => -x), 0, ...positive, 1].sort((a, b) => a - b);
})();

/** The code of the nearest level; halfway between two it is the lower one's. */
function nearest(levels: readonly number[], x: number): number {
  let code = 0;
  while (code + 1 < levels.length && x > f(f(at(levels, code) + at(levels, code + 1)) / 2)) code++;
  return code;
}

const chunks = (n: number, size: number): number[] => Array.from({ length: Math.ceil(n / size) }, (_, i) => i * size);
const largest = (x: ArrayLike<number>): number => Array.from(x).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
const factor = (most: number): number => (f(1 / most) <= 3.402823466e38 ? f(1 / most) : 0);

/** What NF4 makes of numbers, in the float32 arithmetic of the kernels. */
export function hostNF4(w: Float64Array): { codes: number[]; scales: number[]; ranges: number[]; mean: number; values: number[] } {
  const constants = chunks(w.length, 64).map((i) => largest(w.subarray(i, i + 64)));
  const codes = Array.from(w, (x, i) => nearest(NF4_LEVELS, f(x * factor(at(constants, Math.floor(i / 64))))));
  const groups = chunks(constants.length, 256).map((i) => constants.slice(i, i + 256));
  const sums = groups.map((group) => {
    const sum = Array.from({ length: 256 }, (_, i) => group[i] ?? 0);
    for (let width = 128; width >= 1; width /= 2) for (let i = 0; i < width; i++) sum[i] = f(at(sum, i) + at(sum, i + width));
    return at(sum, 0);
  });
  const mean = f(sums.reduce((total, s) => total + s, 0) / constants.length);
  const ranges = groups.map((group) => largest(group.map((c) => f(c - mean))));
  const scales = constants.map((c, i) => nearest(SCALE_LEVELS, f(f(c - mean) * factor(at(ranges, Math.floor(i / 256))))));
  const rounded = scales.map((code, i) => f(mean + f(at(SCALE_LEVELS, code) * at(ranges, Math.floor(i / 256)))));
  return { codes, scales, ranges, mean, values: codes.map((code, i) => f(at(NF4_LEVELS, code) * at(rounded, Math.floor(i / 64)))) };
}

/** Two to a byte, the first in the high half; behind an odd number of them a 0. */
export const packed = (codes: readonly number[]): number[] => chunks(codes.length, 2).map((i) => at(codes, i) * 16 + (codes[i + 1] ?? 7));

export const nf4: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max, 1), zeros: fc.nat({ max: 3 }), draw: draws }).map(({ dims, zeros, draw }) => {
      const n = count(dims);
      const w = draw.floats(dims, (x) => (draw.integer(8) < zeros ? 0 : x * 0.02));
      return instance({
        label: `nf4 (${dims})`,
        inputs: { w },
        run: ({ w: x }) => {
          const q = quantizeNF4(x);
          const stored = [q.codes, q.scales, q.ranges, q.mean].map((part) => cast(part, 'f32'));
          return concat([...stored, reshape(dequantizeNF4(q), n)], 0);
        },
        reference: ({ w: x }) => {
          const { codes, scales, ranges, mean, values } = hostNF4(x);
          return [...packed(codes), ...scales, ...ranges, mean, ...values];
        },
        differentiable: [],
        flops: 0,
      });
    }),
  tolerance: 0,
  layouts: true,
  half: false,
};
