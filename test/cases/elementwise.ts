import fc from 'fast-check';
import { native } from '../../lib/native/addon.ts';
import * as ops from '../../lib/ops/index.ts';
import { full } from '../../lib/tensor/create.ts';
import { RandomSource } from '../../lib/tensor/random.ts';
import type { Tensor } from '../../lib/tensor/tensor.ts';
import { at, awayFromZero, type Case, count, draws, eachIndex, instance, narrowed, positionIn, positive, shape } from './case.ts';
import { BINARY, UNARY } from './math.ts';
import { philoxWords } from './philox.ts';

type UnaryKind = keyof typeof UNARY;
type BinaryKind = keyof typeof BINARY;

const keys = <K extends string>(table: Readonly<Record<K, unknown>>): K[] => Object.keys(table) as K[];

const UNARY_CALLS: Readonly<Record<UnaryKind, (x: Tensor) => Tensor>> = {
  ...ops,
  geluTanh: (x) => ops.gelu(x, 'tanh'),
  geluErf: (x) => ops.gelu(x, 'erf'),
};

export const unary: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws, kind: fc.constantFrom(...keys(UNARY)) }).map(({ dims, draw, kind }) => {
      const domain = ['sqrt', 'rsqrt', 'log'].includes(kind) ? positive : awayFromZero;
      return instance({
        label: `${kind} (${dims})`,
        inputs: { x: draw.floats(dims, domain) },
        run: ({ x }) => UNARY_CALLS[kind](x),
        reference: ({ x }) => x.map(UNARY[kind]),
        differentiable: ['x'],
        flops: count(dims),
      });
    }),
  tolerance: 2e-6,
  layouts: true,
  half: true,
};

/** Operands that broadcast to `dims`; those of comparisons are often equal, those of maximum and minimum never nearly. */
function operands(dims: number[], kind: BinaryKind, draw: typeof draws extends fc.Arbitrary<infer D> ? D : never) {
  const compares = ['eq', 'ne', 'lt', 'le', 'gt', 'ge'].includes(kind);
  const [shapeA, shapeB] = [narrowed(dims, draw), narrowed(dims, draw)];
  const whole = (x: number): number => Math.round(x);
  const a = draw.floats(shapeA, compares ? whole : kind === 'pow' ? positive : (x) => x);
  const b = draw.floats(shapeB, compares ? whole : kind === 'div' ? positive : (x) => x);
  return { a, b, compares };
}

function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, d) => Math.max(a[d - rank + a.length] ?? 1, b[d - rank + b.length] ?? 1));
}

const BINARY_CALLS: Readonly<Record<BinaryKind, (a: Tensor, b: Tensor) => Tensor>> = ops;

export const binary: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws, kind: fc.constantFrom(...keys(BINARY)) }).map(({ dims, draw, kind }) => {
      const { a, b, compares } = operands(dims, kind, draw);
      const wanted = broadcastShape(a.shape, b.shape);
      return instance({
        label: `${kind} (${a.shape}) (${b.shape})`,
        inputs: { a, b },
        run: (t) => BINARY_CALLS[kind](t.a, t.b),
        reference: (v) => {
          const y = new Float64Array(count(wanted));
          eachIndex(wanted, (index, i) => {
            y[i] = BINARY[kind](at(v.a, positionIn(a.shape, index)), at(v.b, positionIn(b.shape, index)));
          });
          return y;
        },
        differentiable: compares ? [] : ['a', 'b'],
        flops: count(wanted),
      });
    }),
  tolerance: 4e-6,
  layouts: true,
  half: true,
};

export const binaryInto: Case = {
  instances: (max) =>
    fc
      .record({
        dims: shape(max),
        draw: draws,
        kind: fc.constantFrom('add', 'sub', 'mul', 'div', 'maximum', 'minimum', 'pow'),
        accumulate: fc.boolean(),
      })
      .map(({ dims, draw, kind, accumulate }) => {
        const { a, b } = operands(dims, kind, draw);
        return instance({
          label: `${kind} (${a.shape}) (${b.shape}) into (${dims})${accumulate ? ', accumulating' : ''}`,
          inputs: { a, b },
          run: (t) => {
            const out = full(dims, 2);
            native.binaryInto(t.a.handle, t.b.handle, kind, out.handle, accumulate);
            return out;
          },
          reference: (v) => {
            const y = new Float64Array(count(dims));
            eachIndex(dims, (index, i) => {
              y[i] = (accumulate ? 2 : 0) + BINARY[kind](at(v.a, positionIn(a.shape, index)), at(v.b, positionIn(b.shape, index)));
            });
            return y;
          },
          differentiable: [],
          flops: count(dims),
        });
      }),
  tolerance: 4e-6,
  layouts: true,
  half: false,
};

export const where: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max), draw: draws }).map(({ dims, draw }) => {
      const shapes = { c: narrowed(dims, draw), a: narrowed(dims, draw), b: narrowed(dims, draw) };
      const wanted = broadcastShape(shapes.c, broadcastShape(shapes.a, shapes.b));
      return instance({
        label: `where (${shapes.c}) (${shapes.a}) (${shapes.b})`,
        inputs: { c: draw.bools(shapes.c), a: draw.floats(shapes.a), b: draw.floats(shapes.b) },
        run: ({ c, a, b }) => ops.where(c, a, b),
        reference: (v) => {
          const y = new Float64Array(count(wanted));
          eachIndex(wanted, (index, i) => {
            const from = at(v.c, positionIn(shapes.c, index)) ? 'a' : 'b';
            y[i] = at(v[from], positionIn(shapes[from], index));
          });
          return y;
        },
        differentiable: ['a', 'b'],
        flops: 0,
      });
    }),
  tolerance: 0,
  layouts: true,
  half: true,
};

export const swiglu: Case = {
  instances: (max) =>
    fc.record({ dims: shape(max, 1), draw: draws }).map(({ dims, draw }) =>
      instance({
        label: `swiglu (${dims})`,
        inputs: { gate: draw.floats(dims), up: draw.floats(dims) },
        run: ({ gate, up }) => ops.swiglu(gate, up),
        reference: ({ gate, up }) => gate.map((g, i) => UNARY.silu(g) * at(up, i)),
        differentiable: ['gate', 'up'],
        flops: 5 * count(dims),
      }),
    ),
  tolerance: 2e-6,
  layouts: true,
  half: true,
};

export const dropout: Case = {
  instances: (max) =>
    fc
      .record({
        dims: shape(max),
        draw: draws,
        p: fc.constantFrom(0.1, 0.5, 0.9),
        seed: fc.nat({ max: 2 ** 40 }),
        step: fc.nat({ max: 9 }),
      })
      .map(({ dims, draw, p, seed, step }) =>
        instance({
          label: `dropout ${p} (${dims}), seed ${seed}, step ${step}`,
          inputs: { x: draw.floats(dims) },
          run: ({ x }) => {
            const random = new RandomSource(seed, x.device);
            random.begin(step);
            try {
              return ops.dropout(x, p, random);
            } finally {
              random.dispose();
            }
          },
          reference: ({ x }) => {
            const threshold = Math.floor(Math.fround(p) * 2 ** 32);
            return x.map((value, i) => (at(philoxWords(seed, Math.floor(i / 4), 0, step), i % 4) >= threshold ? value / (1 - p) : 0));
          },
          differentiable: ['x'],
          flops: count(dims),
        }),
      ),
  tolerance: 2e-6,
  layouts: true,
  half: true,
};
