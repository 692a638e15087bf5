import fc from 'fast-check';
import * as ops from '../../lib/ops/index.ts';
import { full, normal, rand, zeros } from '../../lib/tensor/create.ts';
import { at, type Case, count, draws, eachIndex, instance, narrowed, positionIn, shape } from './case.ts';
import { philoxWords } from './philox.ts';

export const fill: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), value: fc.float({ noNaN: true }) }).map(({ dims, value }) =>
      instance<never>({
        label: `fill (${dims}) with ${value}`,
        inputs: {},
        run: () => full(dims, value),
        reference: () => new Float64Array(count(dims)).fill(value),
        differentiable: [],
        flops: 0,
      }),
    ),
  tolerance: 0,
  layouts: false,
  half: false,
};

/** Box and Muller on two words of a block: the cosine for an even element, the sine for an odd one. */
function gaussianOf(words: readonly number[], element: number): number {
  const pair = element < 2 ? 0 : 2;
  const radius = Math.sqrt(-2 * Math.log(((at(words, pair) >>> 1) + 0.5) / 2 ** 31));
  const angle = (2 * Math.PI * at(words, pair + 1)) / 2 ** 32;
  return radius * (element % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
}

export const random: Case = {
  instances: (max) =>
    fc
      .record({
        dims: shape(max, 1),
        seed: fc.nat({ max: 2 ** 48 }),
        gaussian: fc.boolean(),
        a: fc.integer({ min: -3, max: 3 }),
        b: fc.integer({ min: 1, max: 4 }),
      })
      .map(({ dims, seed, gaussian, a, b }) =>
        instance<never>({
          label: `random (${dims}), seed ${seed}, ${gaussian ? `normal ${a} ${b}` : 'uniform'}`,
          inputs: {},
          run: () => (gaussian ? normal(dims, a, b, { seed }) : rand(dims, { seed })),
          reference: () => {
            const n = count(dims);
            const uniform = (word: number): number => (word >>> 8) / 2 ** 24;
            if (!gaussian)
              return Float64Array.from({ length: n }, (_, i) => uniform(at(philoxWords(seed, Math.floor(i / 4), 0, 0), i % 4)));
            return Float64Array.from({ length: n }, (_, i) => a + b * gaussianOf(philoxWords(seed, Math.floor(i / 4), 0, 0), i % 4));
          },
          differentiable: [],
          flops: 0,
        }),
      ),
  tolerance: 1e-6,
  layouts: false,
  half: false,
};

/** Rounds to the nearest number of a float type, ties to even: `bits` of mantissa, smallest exponent. */
function rounded(x: number, bits: number, smallest: number): number {
  if (x === 0) return x;
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), smallest) - bits);
  const q = x / unit;
  const low = Math.floor(q);
  const up = q - low > 0.5 || (q - low === 0.5 && low % 2 !== 0);
  return (up ? low + 1 : low) * unit;
}

const CONVERSIONS = {
  f32: (x: number) => x,
  bf16: (x: number) => rounded(x, 7, -126),
  f16: (x: number) => rounded(x, 10, -14),
  i32: Math.trunc,
  u8: (x: number) => Math.trunc(Math.abs(x)),
  bool: (x: number) => Number(x !== 0),
} as const;

export const cast: Case = {
  instances: (max) =>
    fc
      .record({ dims: shape(max), draw: draws, to: fc.constantFrom(...(Object.keys(CONVERSIONS) as (keyof typeof CONVERSIONS)[])) })
      .map(({ dims, draw, to }) =>
        instance({
          label: `cast (${dims}) to ${to}`,
          inputs: { x: draw.floats(dims, (x) => (to === 'u8' ? Math.abs(x) * 40 : to === 'bool' && x < 0 ? 0 : x * 10)) },
          run: ({ x }) => ops.cast(x, to),
          reference: ({ x }) => x.map(CONVERSIONS[to]),
          differentiable: to === 'f32' ? ['x'] : [],
          flops: 0,
        }),
      ),
  tolerance: 0,
  layouts: true,
  half: false,
};

export const copyInto: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws }).map(({ dims, draw }) => {
      const from = narrowed(dims, draw);
      return instance({
        label: `copy (${from}) into (${dims})`,
        inputs: { x: draw.floats(from) },
        run: ({ x }) => {
          const out = zeros(dims);
          ops.copyInto(out, x);
          return out;
        },
        reference: ({ x }) => {
          const y = new Float64Array(count(dims));
          eachIndex(dims, (index, i) => {
            y[i] = at(x, positionIn(from, index));
          });
          return y;
        },
        differentiable: [],
        flops: 0,
      });
    }),
  tolerance: 0,
  layouts: true,
  half: false, // into f32
};

/** To the CPU and back to where the tensor was: on the CPU both are views. */
export const toDevice: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws }).map(({ dims, draw }) =>
      instance({
        label: `(${dims}) to the CPU and back`,
        inputs: { x: draw.floats(dims) },
        run: ({ x }) => ops.toDevice(ops.toDevice(x, 'cpu'), x.device),
        reference: ({ x }) => x,
        differentiable: ['x'],
        flops: 0,
      }),
    ),
  tolerance: 0,
  layouts: true,
  half: true,
};

export const concat: Case = {
  instances: (max) =>
    fc
      .record({ dims: shape(max, 1, 3), draw: draws, parts: fc.array(fc.integer({ min: 0, max }), { minLength: 1, maxLength: 3 }) })
      .map(({ dims, draw, parts }) => {
        const dim = draw.integer(dims.length);
        const shapes = parts.map((n) => dims.map((d, i) => (i === dim ? n : d)));
        const names = parts.map((_, i) => `x${i}`);
        const joined = dims.map((d, i) => (i === dim ? parts.reduce((a, b) => a + b, 0) : d));
        return instance({
          label: `concat ${shapes.map((s) => `(${s})`)} along ${dim}`,
          inputs: Object.fromEntries(names.map((name, i) => [name, draw.floats(shapes[i] as number[])])),
          run: (t) => ops.concat(Object.values(t), dim),
          reference: (v) => {
            const y = new Float64Array(count(joined));
            eachIndex(joined, (index, i) => {
              let [part, offset] = [0, index[dim] as number];
              while (offset >= (parts[part] as number)) offset -= parts[part++] as number;
              const inside = index.map((n, d) => (d === dim ? offset : n));
              y[i] = at(
                v[`x${part}`] as Float64Array,
                inside.reduce((p, n, d) => p * ((shapes[part] as number[])[d] as number) + n, 0),
              );
            });
            return y;
          },
          differentiable: names,
          flops: 0,
        });
      }),
  tolerance: 0,
  layouts: true,
  half: true,
};

export const gather: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max, 1, 3), draw: draws, picks: fc.integer({ min: 1, max }) }).map(({ dims, draw, picks }) => {
      const dim = draw.integer(dims.length);
      const wanted = dims.map((d, i) => (i === dim ? picks : d));
      return instance({
        label: `gather ${picks} along ${dim} of (${dims})`,
        inputs: { x: draw.floats(dims), index: draw.ints(wanted, dims[dim] as number) },
        run: ({ x, index }) => ops.gather(x, dim, index),
        reference: ({ x, index }) => {
          const y = new Float64Array(count(wanted));
          eachIndex(wanted, (place, i) => {
            y[i] = at(
              x,
              positionAt(
                dims,
                place.map((n, d) => (d === dim ? at(index, i) : n)),
              ),
            );
          });
          return y;
        },
        differentiable: ['x'],
        flops: 0,
      });
    }),
  tolerance: 2e-6,
  layouts: true,
  half: true,
};

const positionAt = (dims: readonly number[], index: readonly number[]): number => index.reduce((p, n, d) => p * (dims[d] as number) + n, 0);
