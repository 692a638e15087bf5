import fc from 'fast-check';
import { native } from '../../lib/native/addon.ts';
import * as ops from '../../lib/ops/index.ts';
import { full } from '../../lib/tensor/create.ts';
import { at, type Case, count, draws, eachIndex, instance, narrowed, positionIn, shape } from './case.ts';

const KINDS = ['sum', 'mean', 'max', 'min', 'argmax', 'argmin'] as const;

/** The values that fall on each element of the result, in order. */
function groups(values: Float64Array, dims: readonly number[], kept: readonly number[]): number[][] {
  const found: number[][] = Array.from({ length: count(kept) }, () => []);
  eachIndex(dims, (index, i) => found[positionIn(kept, index)]?.push(at(values, i)));
  return found;
}

const REDUCE: Readonly<Record<(typeof KINDS)[number], (list: readonly number[]) => number>> = {
  sum: (list) => list.reduce((a, b) => a + b, 0),
  mean: (list) => list.reduce((a, b) => a + b, 0) / list.length,
  max: (list) => Math.max(...list),
  min: (list) => Math.min(...list),
  argmax: (list) => list.indexOf(Math.max(...list)),
  argmin: (list) => list.indexOf(Math.min(...list)),
};

const VALUE_CALLS: Readonly<Record<'sum' | 'mean' | 'max' | 'min', typeof ops.sum>> = ops;
const POSITION_CALLS: Readonly<Record<'argmax' | 'argmin', typeof ops.argmax>> = ops;

export const reduce: Case = {
  instances: (max) =>
    fc
      .record({ dims: shape(max, 1), draw: draws, kind: fc.constantFrom(...KINDS), keepDims: fc.boolean() })
      .map(({ dims, draw, kind, keepDims }) => {
        const position = kind === 'argmax' || kind === 'argmin';
        const all = !position && draw.integer(4) === 0;
        const one = draw.integer(dims.length);
        const gone = dims.map((_, d) => all || d === one || (!position && draw.integer(3) === 0));
        const chosen = gone.flatMap((yes, d) => (yes ? [draw.integer(2) ? d : d - dims.length] : []));
        return instance({
          label: `${kind} (${dims}) over ${all ? 'all' : chosen}${keepDims ? ', kept' : ''}`,
          inputs: { x: draw.floats(dims, position ? Math.round : (v) => v) }, // of equal ones the first
          run: ({ x }) => {
            if (kind === 'argmax' || kind === 'argmin') return POSITION_CALLS[kind](x, one, keepDims);
            return VALUE_CALLS[kind](x, all ? { keepDims } : { dim: chosen, keepDims });
          },
          reference: ({ x }) =>
            groups(
              x,
              dims,
              dims.map((n, d) => (gone[d] ? 1 : n)),
            ).map(REDUCE[kind]),
          differentiable: position ? [] : ['x'],
          flops: count(dims),
        });
      }),
  tolerance: 2e-6,
  floor: 1,
  layouts: true,
  half: true,
};

export const sumInto: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws, accumulate: fc.boolean() }).map(({ dims, draw, accumulate }) => {
      const to = narrowed(dims, draw);
      return instance({
        label: `sum (${dims}) into (${to})${accumulate ? ', accumulating' : ''}`,
        inputs: { x: draw.floats(dims) },
        run: ({ x }) => {
          const out = full(to, 3);
          native.sumInto(x.handle, out.handle, accumulate);
          return out;
        },
        reference: ({ x }) => groups(x, dims, to).map((list) => REDUCE.sum(list) + (accumulate ? 3 : 0)),
        differentiable: [],
        flops: count(dims),
      });
    }),
  tolerance: 2e-6,
  floor: 1,
  layouts: true,
  half: false,
};

/** x - log Σ e^x of rows of `n`. */
export function logSoftmaxRows(x: Float64Array, n: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += n) {
    const values = x.subarray(row, row + n);
    const top = Math.max(...values);
    const logSum = top + Math.log(values.reduce((sum, v) => sum + Math.exp(v - top), 0));
    for (let i = 0; i < n; i++) y[row + i] = at(values, i) - logSum;
  }
  return y;
}

export const softmax: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max, 1), draw: draws, log: fc.boolean(), scale: fc.constantFrom(1, 30) }).map(({ dims, draw, log, scale }) =>
      instance({
        label: `${log ? 'logSoftmax' : 'softmax'} (${dims}), values times ${scale}`,
        inputs: { x: draw.floats(dims, (v) => v * scale) },
        run: ({ x }) => (log ? ops.logSoftmax(x) : ops.softmax(x)),
        reference: ({ x }) => {
          const y = logSoftmaxRows(x, dims.at(-1) as number);
          return log ? y : y.map(Math.exp);
        },
        differentiable: ['x'],
        flops: 5 * count(dims),
      }),
    ),
  tolerance: 4e-6,
  layouts: true,
  half: true,
};
