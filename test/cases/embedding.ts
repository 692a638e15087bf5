import fc from 'fast-check';
import * as ops from '../../lib/ops/index.ts';
import { at, type Case, count, draws, instance, shape, size } from './case.ts';

export const embedding: Case = {
  instances: (max) =>
    fc
      .record({
        lead: shape(4, 0, 2),
        T: size(max),
        V: size(max),
        C: size(max),
        placed: fc.boolean(),
        first: fc.nat({ max: 5 }),
        draw: draws,
      })
      .map(({ lead, T, V, C, placed, first, draw }) => {
        const n = count(lead) * T;
        return instance({
          label: `embedding (${[...lead, T]}) of (${V}, ${C})${placed ? `, positions from ${first}` : ''}`,
          inputs: {
            table: draw.floats([V, C]),
            ids: draw.ints([...lead, T], V),
            positions: placed ? draw.floats([first + T + draw.integer(3), C]) : null,
          },
          run: ({ table, ids, positions }) => ops.embedding(table, ids, { positions: positions ?? null, first: placed ? first : 0 }),
          reference: ({ table, ids, positions }) =>
            Float64Array.from({ length: n * C }, (_, i) => {
              const [row, c] = [Math.floor(i / C), i % C];
              return at(table, at(ids, row) * C + c) + (placed ? at(positions, (first + (row % T)) * C + c) : 0);
            }),
          differentiable: ['table', 'positions'],
          flops: placed ? n * C : 0,
        });
      }),
  tolerance: 2e-6,
  layouts: true,
  half: true,
};
