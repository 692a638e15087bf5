import fc from 'fast-check';
import * as ops from '../../lib/ops/index.ts';
import { at, type Case, count, draws, instance, shape, size } from './case.ts';

/** With a residual the result is h = x + residual joined with y, so that gradients flow through both. */
export const norm: Case = {
  instances: (max) =>
    fc
      .record({
        ...{ lead: shape(5, 0, 3), C: size(3 * max), draw: draws, rms: fc.boolean(), added: fc.boolean() },
        ...{ weighted: fc.boolean(), biased: fc.boolean(), shift: fc.constantFrom(0, 10), eps: fc.constantFrom(1e-5, 1e-3) },
      })
      .map(({ lead, C: width, draw, rms, added, weighted, biased, shift, eps }) => {
        const C = width + 1; // of one element the norm is a constant, whatever its gradient
        const rows = count(lead);
        const dims = [...lead, C];
        return instance({
          label: `${rms ? 'rmsNorm' : 'layerNorm'} (${dims})${added ? ', residual' : ''}${weighted ? ', weight' : ''}${biased && !rms ? ', bias' : ''}, eps ${eps}, shift ${shift}`,
          inputs: {
            x: draw.floats(dims, (v) => v + shift),
            residual: added ? draw.floats(dims) : null,
            weight: weighted ? draw.floats([C]) : null,
            bias: biased && !rms ? draw.floats([C]) : null,
          },
          run: ({ x, residual, weight, bias }) => {
            const options = { weight: weight ?? null, eps };
            if (!added) return rms ? ops.rmsNorm(x, options) : ops.layerNorm(x, { ...options, bias: bias ?? null });
            const { h, y } = rms ? ops.addRmsNorm(x, residual, options) : ops.addLayerNorm(x, residual, { ...options, bias: bias ?? null });
            return ops.stack([h, y]);
          },
          reference: (v) => {
            const h = v.x.map((x, i) => x + (added ? at(v.residual, i) : 0));
            const y = new Float64Array(h.length);
            for (let r = 0; r < rows; r++) {
              const row = h.subarray(r * C, (r + 1) * C);
              const mean = rms ? 0 : row.reduce((a, b) => a + b, 0) / C;
              const rstd = 1 / Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / C + eps);
              for (let c = 0; c < C; c++)
                y[r * C + c] = (at(row, c) - mean) * rstd * (weighted ? at(v.weight, c) : 1) + (biased && !rms ? at(v.bias, c) : 0);
            }
            return added ? [...h, ...y] : y;
          },
          differentiable: ['x', 'residual', 'weight', 'bias'],
          flops: 8 * rows * C,
        });
      }),
  tolerance: 2e-5, // values of 10 ± 1 lose three bits of their deviations
  layouts: true,
  half: true,
  halfway: 2, // the sum with the residual
};
