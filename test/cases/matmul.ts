import fc from 'fast-check';
import { native } from '../../lib/native/addon.ts';
import * as ops from '../../lib/ops/index.ts';
import { full } from '../../lib/tensor/create.ts';
import { at, awayFromZero, type Case, count, type Draw, draws, eachIndex, instance, narrowed, positionIn, shape, size } from './case.ts';
import { ACTIVATIONS } from './math.ts';

const MLP_ACTIVATIONS = ['geluTanh', 'geluErf', 'relu', 'relu2', 'silu'] as const;

interface Sizes {
  lead: number[];
  M: number;
  N: number;
  K: number;
  transA: boolean;
  transB: boolean;
}

const sizes = (max: number): fc.Arbitrary<Sizes> =>
  fc.record({ lead: shape(3, 0, 3), M: size(max), N: size(max), K: size(2 * max), transA: fc.boolean(), transB: fc.boolean() });

/** Operands whose leading dimensions broadcast to `lead`, and the product by plain loops. */
function product({ lead, M, N, K, transA, transB }: Sizes, draw: Draw) {
  const [leadA, leadB] = draw.integer(2) ? [lead, lead] : [lead, narrowed(lead, draw)];
  const a = draw.floats([...leadA, ...(transA ? [K, M] : [M, K])]);
  const b = draw.floats([...leadB, ...(transB ? [N, K] : [K, N])]);
  const multiply = (x: Float64Array, w: Float64Array): Float64Array => {
    const y = new Float64Array(count(lead) * M * N);
    eachIndex(lead, (index, matrix) => {
      const [fromA, fromB] = [positionIn(leadA, index) * M * K, positionIn(leadB, index) * K * N];
      for (let m = 0; m < M; m++)
        for (let n = 0; n < N; n++) {
          let sum = 0;
          for (let k = 0; k < K; k++)
            sum += at(x, fromA + (transA ? k * M + m : m * K + k)) * at(w, fromB + (transB ? n * K + k : k * N + n));
          y[(matrix * M + m) * N + n] = sum;
        }
    });
    return y;
  };
  const label = `(${a.shape})${transA ? 'ᵀ' : ''} (${b.shape})${transB ? 'ᵀ' : ''}`;
  return { a, b, multiply, label, flops: 2 * count(lead) * M * N * K };
}

export const matmul: Case = {
  instances: (max) =>
    fc.record({ sizes: sizes(max), draw: draws }).map(({ sizes: s, draw }) => {
      const { a, b, multiply, label, flops } = product(s, draw);
      return instance({
        label: `matmul ${label}`,
        inputs: { a, b },
        run: (t) => ops.matmul(t.a, t.b, { transA: s.transA, transB: s.transB }),
        reference: (v) => multiply(v.a, v.b),
        differentiable: ['a', 'b'],
        flops,
      });
    }),
  tolerance: 4e-6,
  floor: 1,
  layouts: true,
  half: true,
};

export const matmulInto: Case = {
  instances: (max) =>
    fc.record({ sizes: sizes(max), draw: draws, accumulate: fc.boolean() }).map(({ sizes: s, draw, accumulate }) => {
      const { a, b, multiply, label, flops } = product(s, draw);
      return instance({
        label: `matmul ${label} into${accumulate ? ', accumulating' : ''}`,
        inputs: { a, b },
        run: (t) => {
          const out = full([...s.lead, s.M, s.N], 2);
          native.matmulInto(t.a.handle, t.b.handle, s.transA, s.transB, out.handle, accumulate, 'full');
          return out;
        },
        reference: (v) => multiply(v.a, v.b).map((y) => y + (accumulate ? 2 : 0)),
        differentiable: [],
        flops,
      });
    }),
  tolerance: 4e-6,
  floor: 1,
  layouts: true,
  half: false,
};

export const linear: Case = {
  instances: (max) =>
    fc
      .record({
        lead: shape(4, 0, 3),
        cin: size(2 * max),
        cout: size(max),
        conv1d: fc.boolean(),
        biased: fc.boolean(),
        residual: fc.boolean(),
        activation: fc.constantFrom(...(Object.keys(ACTIVATIONS) as (keyof typeof ACTIVATIONS)[])),
        draw: draws,
      })
      .map(({ lead, cin, cout, conv1d, biased, residual, activation, draw }) => {
        const rows = count(lead);
        return instance({
          label: `linear (${[...lead, cin]}) to ${cout}, ${activation}${conv1d ? ', conv1d' : ''}${biased ? ', bias' : ''}${residual ? ', residual' : ''}`,
          inputs: {
            x: draw.floats([...lead, cin]),
            w: draw.floats(conv1d ? [cin, cout] : [cout, cin], (v) => v / Math.sqrt(cin)),
            bias: biased ? draw.floats([cout], awayFromZero) : null,
            residual: residual ? draw.floats([...lead, cout]) : null,
          },
          run: (t) => ops.linear(t.x, t.w, { bias: t.bias ?? null, residual: t.residual ?? null, activation, conv1d }),
          reference: (v) => {
            const y = new Float64Array(rows * cout);
            for (let r = 0; r < rows; r++)
              for (let n = 0; n < cout; n++) {
                let sum = biased ? at(v.bias, n) : 0;
                for (let k = 0; k < cin; k++) sum += at(v.x, r * cin + k) * at(v.w, conv1d ? k * cout + n : n * cin + k);
                y[r * cout + n] = ACTIVATIONS[activation](sum) + (residual ? at(v.residual, r * cout + n) : 0);
              }
            return y;
          },
          differentiable: ['x', 'w', 'bias', 'residual'],
          flops: 2 * rows * cin * cout,
        });
      }),
  tolerance: 4e-6,
  floor: 1,
  layouts: true,
  half: true,
};

export const mlp: Case = {
  instances: (max) =>
    fc
      .record({
        lead: shape(4, 0, 3),
        cin: size(max),
        hidden: size(2 * max),
        cout: size(max),
        biased: fc.boolean(),
        residual: fc.boolean(),
        recompute: fc.boolean(),
        activation: fc.constantFrom(...MLP_ACTIVATIONS),
        draw: draws,
      })
      .map(({ lead, cin, hidden, cout, biased, residual, recompute, activation, draw }) => {
        const rows = count(lead);
        const matrix = (out: number, width: number) => draw.floats([out, width], (v) => v / Math.sqrt(width));
        const layer = (x: Float64Array, w: Float64Array, bias: Float64Array | undefined, width: number, out: number): Float64Array =>
          Float64Array.from({ length: rows * out }, (_, i) => {
            const [r, n] = [Math.floor(i / out), i % out];
            let sum = bias ? at(bias, n) : 0;
            for (let k = 0; k < width; k++) sum += at(x, r * width + k) * at(w, n * width + k);
            return sum;
          });
        return instance({
          label: `mlp (${[...lead, cin]}) to ${hidden} to ${cout}, ${activation}${biased ? ', biases' : ''}${residual ? ', residual' : ''}${recompute ? ', recomputed' : ''}`,
          inputs: {
            x: draw.floats([...lead, cin]),
            up: matrix(hidden, cin),
            down: matrix(cout, hidden),
            upBias: biased ? draw.floats([hidden], awayFromZero) : null,
            downBias: biased ? draw.floats([cout]) : null,
            residual: residual ? draw.floats([...lead, cout]) : null,
          },
          run: ({ x, up, down, upBias = null, downBias = null, residual: r = null }) =>
            ops.mlp(x, up, down, { activation, upBias, downBias, residual: r, recompute }),
          reference: (v) => {
            const z = layer(v.x, v.up, biased ? v.upBias : undefined, cin, hidden).map(ACTIVATIONS[activation]);
            return layer(z, v.down, biased ? v.downBias : undefined, hidden, cout).map((y, i) => y + (residual ? at(v.residual, i) : 0));
          },
          differentiable: ['x', 'up', 'down', 'upBias', 'downBias', 'residual'],
          flops: 2 * rows * hidden * (cin + cout),
        });
      }),
  tolerance: 8e-6,
  floor: 1,
  layouts: true,
  half: false, // what lies between the layers is rounded, too
};
