import fc from 'fast-check';
import type { FP8Format } from '../../lib/ops/index.ts';
import { cast, concat, dequantizeFP8, linearFP8, quantizeFP8, reshape } from '../../lib/ops/index.ts';
import { at, awayFromZero, type Case, count, draws, instance, shape, size } from './case.ts';
import { ACTIVATIONS } from './math.ts';

const f = Math.fround;
export const FORMATS = ['e4m3', 'e5m2'] as const;

/** What the 256 codes stand for, by the definition of the formats (Micikevicius et al. 2022, table 1). */
export const FP8_VALUES: Readonly<Record<FP8Format, readonly number[]>> = (() => {
  const values = (mantissaBits: number, bias: number, special: (magnitude: number) => number | undefined): number[] =>
    Array.from({ length: 256 }, (_, code) => {
      const magnitude = code % 128;
      const [exponent, mantissa] = [Math.floor(magnitude / 2 ** mantissaBits), magnitude % 2 ** mantissaBits];
      const fraction = mantissa / 2 ** mantissaBits;
      const plain = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias);
      return (code < 128 ? 1 : -1) * (special(magnitude) ?? plain);
    });
  return {
    e4m3: values(3, 7, (magnitude) => (magnitude === 127 ? Number.NaN : undefined)),
    e5m2: values(2, 15, (magnitude) => (magnitude < 124 ? undefined : magnitude === 124 ? Number.POSITIVE_INFINITY : Number.NaN)),
  };
})();
export const FP8_LARGEST: Readonly<Record<FP8Format, number>> = { e4m3: 448, e5m2: 57344 };

/** The code of the nearest number, of two the even one. */
export function nearestFP8(format: FP8Format, x: number): number {
  const values = FP8_VALUES[format];
  const size = Math.min(Math.abs(x), FP8_LARGEST[format]);
  let code = 0;
  while (at(values, code + 1) <= size) code++;
  const [below, above] = [size - at(values, code), at(values, code + 1) - size];
  if (above < below || (above === below && code % 2 === 1)) code++;
  return x < 0 || Object.is(x, -0) ? code + 128 : code;
}

/** What fp8 makes of numbers, in the float32 arithmetic of the kernels. */
export function hostFP8(x: Float64Array, format: FP8Format): { codes: number[]; scale: number; values: number[] } {
  const scale = f(x.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / FP8_LARGEST[format]) || 1;
  const codes = Array.from(x, (v) => nearestFP8(format, f(v / scale)));
  return { codes, scale, values: codes.map((code) => at(FP8_VALUES[format], code)) };
}

export const fp8: Case = {
  instances: (max) =>
    fc
      .record({ dims: shape(max, 1), zeros: fc.nat({ max: 3 }), format: fc.constantFrom(...FORMATS), draw: draws })
      .map(({ dims, zeros, format, draw }) => {
        const n = count(dims);
        const x = draw.floats(dims, (v) => (draw.integer(8) < zeros ? 0 : v * 0.02));
        return instance({
          label: `${format} (${dims})`,
          inputs: { x },
          run: (t) => {
            const q = quantizeFP8(t.x, format);
            return concat([reshape(cast(q.codes, 'f32'), n), q.scale, reshape(dequantizeFP8(q), n)], 0);
          },
          reference: (v) => {
            const { codes, scale, values } = hostFP8(v.x, format);
            return [...codes, scale, ...values.map((value) => f(value * scale))];
          },
          differentiable: [],
          flops: 0,
        });
      }),
  tolerance: 0,
  layouts: true,
  half: false,
};

export const fp8Linear: Case = {
  instances: (max) =>
    fc
      .record({
        lead: shape(4, 0, 3),
        cin: size(2 * max),
        cout: size(max),
        formats: fc.tuple(fc.constantFrom(...FORMATS), fc.constantFrom(...FORMATS)),
        biased: fc.boolean(),
        residual: fc.boolean(),
        activation: fc.constantFrom(...(Object.keys(ACTIVATIONS) as (keyof typeof ACTIVATIONS)[])),
        draw: draws,
      })
      .map(({ lead, cin, cout, formats: [ofX, ofW], biased, residual, activation, draw }) => {
        const rows = count(lead);
        return instance({
          label: `${ofX} (${[...lead, cin]}) to ${cout} by ${ofW}, ${activation}${biased ? ', bias' : ''}${residual ? ', residual' : ''}`,
          inputs: {
            x: draw.floats([...lead, cin]),
            w: draw.floats([cout, cin], (v) => v / Math.sqrt(cin)),
            bias: biased ? draw.floats([cout], awayFromZero) : null,
            residual: residual ? draw.floats([...lead, cout]) : null,
          },
          run: (t) => {
            const added = { bias: t.bias ?? null, residual: t.residual ?? null };
            return linearFP8(quantizeFP8(t.x, ofX), quantizeFP8(t.w, ofW), { ...added, activation, dtype: t.x.dtype });
          },
          reference: (v) => {
            const [x, w] = [hostFP8(v.x, ofX), hostFP8(v.w, ofW)];
            const y = new Float64Array(rows * cout);
            for (let r = 0; r < rows; r++)
              for (let n = 0; n < cout; n++) {
                let sum = 0;
                for (let k = 0; k < cin; k++) sum += at(x.values, r * cin + k) * at(w.values, n * cin + k);
                const before = sum * x.scale * w.scale + (biased ? at(v.bias, n) : 0);
                y[r * cout + n] = ACTIVATIONS[activation](before) + (residual ? at(v.residual, r * cout + n) : 0);
              }
            return y;
          },
          differentiable: [],
          flops: 2 * rows * cin * cout,
        });
      }),
  tolerance: 4e-6,
  floor: 1,
  layouts: true,
  half: true,
};
