import fc from 'fast-check';
import * as ops from '../../lib/ops/index.ts';
import { at, type Case, draws, instance, size } from './case.ts';

/** As transformers has it in _compute_llama3_parameters, by wavelengths. */
function scaledFrequency(frequency: number, scaling: ops.RopeScaling | null): number {
  if (scaling === null) return frequency;
  const { factor, context, low = 0, high = 0 } = scaling;
  if (context === undefined) return frequency / factor;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength > context / low) return frequency / factor;
  if (wavelength < context / high) return frequency;
  const smooth = (context / wavelength - low) / (high - low);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

export const rope: Case = {
  instances: (max) =>
    fc
      .record({
        ...{ B: size(3), T: size(max), H: size(4), pairs: size(Math.ceil(max / 4)), draw: draws, interleaved: fc.boolean() },
        ...{ whole: fc.boolean(), placed: fc.boolean(), first: fc.nat({ max: 50 }), theta: fc.constantFrom(10000, 500000, 100) },
        ...{ scaling: fc.constantFrom(null, null, { factor: 4 }, { factor: 8, context: 64, low: 1, high: 4 }) },
      })
      .map(({ B, T, H, pairs, draw, interleaved, whole, placed, first, theta, scaling }) => {
        const rotary = 2 * pairs;
        const D = whole ? rotary : rotary + 1 + draw.integer(5);
        return instance({
          label: `rope (${B}, ${T}, ${H}, ${D}), ${rotary} turn, theta ${theta}${scaling ? `, scaled by ${JSON.stringify(scaling)}` : ''}${interleaved ? ', interleaved' : ''}${placed ? ', positions' : `, from ${first}`}`,
          inputs: { x: draw.floats([B, T, H, D]), positions: placed ? draw.ints([B, T], 100) : null },
          run: ({ x, positions }) =>
            ops.rope(x, { theta, first, positions: positions ?? null, rotary: whole ? 0 : rotary, interleaved, scaling }),
          reference: ({ x, positions }) => {
            const y = Float64Array.from(x);
            for (let row = 0; row < B * T; row++)
              for (let h = 0; h < H; h++)
                for (let i = 0; i < pairs; i++) {
                  const angle = (placed ? at(positions, row) : first + (row % T)) * scaledFrequency(theta ** ((-2 * i) / rotary), scaling);
                  const start = (row * H + h) * D;
                  const [p, q] = interleaved ? [start + 2 * i, start + 2 * i + 1] : [start + i, start + i + pairs];
                  const [a, b] = [at(x, p), at(x, q)];
                  y[p] = a * Math.cos(angle) - b * Math.sin(angle);
                  y[q] = a * Math.sin(angle) + b * Math.cos(angle);
                }
            return y;
          },
          differentiable: ['x'],
          flops: 6 * B * T * H * pairs,
        });
      }),
  tolerance: 1e-5, // angles are computed in f32
  layouts: true,
  half: true,
};
