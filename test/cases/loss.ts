import fc from 'fast-check';
import * as ops from '../../lib/ops/index.ts';
import { at, type Case, count, draws, instance, shape, size } from './case.ts';

export const crossEntropy: Case = {
  instances: (max) =>
    fc
      .record({
        ...{
          lead: shape(6, 0, 3),
          V: size(3 * max),
          draw: draws,
          reduction: fc.constantFrom('mean', 'sum', 'none'),
          ignored: fc.boolean(),
        },
        ...{ smoothing: fc.constantFrom(0, 0.1), zLoss: fc.constantFrom(0, 1e-2), padding: fc.nat({ max: 5 }) },
      })
      .map(({ lead, V: valid, draw, reduction, ignored, smoothing, zLoss, padding }) => {
        const [n, V] = [count(lead), valid + padding];
        const targets = draw.ints(lead, valid);
        if (ignored) for (let i = 1; i < n; i += 3) targets.data[i] = -100;
        return instance({
          label: `crossEntropy (${[...lead, V]}), ${reduction}, smoothing ${smoothing}, z ${zLoss}, padding ${padding}${ignored ? ', some ignored' : ''}`,
          inputs: { logits: draw.floats([...lead, V]), targets },
          run: (t) => ops.crossEntropy(t.logits, t.targets, { reduction, labelSmoothing: smoothing, zLoss, validColumns: valid }),
          reference: (v) => {
            const losses = Array.from({ length: n }, (_, r) => {
              const target = at(v.targets, r);
              if (target === -100) return 0;
              const row = v.logits.subarray(r * V, r * V + valid);
              const top = Math.max(...row);
              const lse = top + Math.log(row.reduce((a, x) => a + Math.exp(x - top), 0));
              const mean = row.reduce((a, x) => a + x, 0) / valid;
              return lse - (1 - smoothing) * at(row, target) - smoothing * mean + zLoss * lse ** 2;
            });
            if (reduction === 'none') return losses;
            const sum = losses.reduce((a, b) => a + b, 0);
            return [reduction === 'sum' ? sum : sum / v.targets.filter((t) => t !== -100).length];
          },
          differentiable: ['logits'],
          flops: 6 * n * V,
        });
      }),
  tolerance: 4e-6,
  layouts: true,
  half: false, // losses are f32 whatever the logits are
};
