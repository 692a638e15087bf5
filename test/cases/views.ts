import fc from 'fast-check';
import * as ops from '../../lib/ops/index.ts';
import { at, type Case, count, draws, eachIndex, instance, narrowed, positionIn, shape } from './case.ts';

/** Views move no data: the result is exact, and its gradient a rearrangement. */
const exact = { tolerance: 0, layouts: true, half: true } as const;

export const alias: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws }).map(({ dims, draw }) =>
      instance({
        label: `detach (${dims})`,
        inputs: { x: draw.floats(dims) },
        run: ({ x }) => x.detach(),
        reference: ({ x }) => x,
        differentiable: [],
        flops: 0,
      }),
    ),
  ...exact,
};

export const reshape: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws, kind: fc.constantFrom('flat', 'split', 'merge', 'ones') }).map(({ dims, draw, kind }) => {
      const n = count(dims);
      const half = dims.at(-1) !== undefined && (dims.at(-1) as number) % 2 === 0;
      const wanted = {
        flat: [-1],
        split: half ? [...dims.slice(0, -1), 2, (dims.at(-1) as number) / 2] : [...dims, 1],
        merge: dims.length < 2 ? [n] : [(dims[0] as number) * (dims[1] as number), ...dims.slice(2)],
        ones: dims.flatMap((d) => [1, d]),
      }[kind];
      return instance({
        label: `reshape (${dims}) to (${wanted})`,
        inputs: { x: draw.floats(dims) },
        run: ({ x }) => ops.reshape(x, wanted),
        reference: ({ x }) => x,
        differentiable: ['x'],
        flops: 0,
      });
    }),
  ...exact,
};

export const permute: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max, 1), draw: draws }).map(({ dims, draw }) => {
      const order = dims.map((_, i) => i);
      for (let i = order.length - 1; i > 0; i--) {
        const j = draw.integer(i + 1);
        [order[i], order[j]] = [order[j] as number, order[i] as number];
      }
      const wanted = order.map((d) => dims[d] as number);
      return instance({
        label: `permute (${dims}) by ${order}`,
        inputs: { x: draw.floats(dims) },
        run: ({ x }) => ops.permute(x, order),
        reference: ({ x }) => {
          const y = new Float64Array(x.length);
          eachIndex(wanted, (index, i) => {
            y[i] = at(
              x,
              positionIn(
                dims,
                dims.map((_, d) => index[order.indexOf(d)] as number),
              ),
            );
          });
          return y;
        },
        differentiable: ['x'],
        flops: 0,
      });
    }),
  ...exact,
};

export const slice: Case = {
  instances: (max) =>
    fc
      .record({ dims: shape(max, 1), draw: draws, step: fc.integer({ min: 1, max: 3 }), negative: fc.boolean() })
      .map(({ dims, draw, step, negative }) => {
        const dim = draw.integer(dims.length);
        const n = dims[dim] as number;
        const start = draw.integer(n);
        const stop = start + 1 + draw.integer(n - start);
        const wanted = dims.map((d, i) => (i === dim ? Math.ceil((stop - start) / step) : d));
        return instance({
          label: `slice ${start}:${stop}:${step} of dimension ${dim} of (${dims})`,
          inputs: { x: draw.floats(dims) },
          run: ({ x }) => ops.slice(x, negative ? dim - dims.length : dim, negative ? start - n : start, stop, step),
          reference: ({ x }) => {
            const y = new Float64Array(count(wanted));
            eachIndex(wanted, (index, i) => {
              y[i] = at(
                x,
                positionIn(
                  dims,
                  index.map((p, d) => (d === dim ? start + p * step : p)),
                ),
              );
            });
            return y;
          },
          differentiable: ['x'],
          flops: 0,
        });
      }),
  ...exact,
};

export const expand: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws }).map(({ dims, draw }) => {
      const from = narrowed(dims, draw);
      return instance({
        label: `expand (${from}) to (${dims})`,
        inputs: { x: draw.floats(from) },
        run: ({ x }) => ops.expand(x, dims),
        reference: ({ x }) => {
          const y = new Float64Array(count(dims));
          eachIndex(dims, (index, i) => {
            y[i] = at(x, positionIn(from, index));
          });
          return y;
        },
        differentiable: ['x'],
        flops: 0,
      });
    }),
  ...exact,
};
