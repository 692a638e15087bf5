import fc from 'fast-check';
import { native } from '../../lib/native/addon.ts';
import * as ops from '../../lib/ops/index.ts';
import { empty, full } from '../../lib/tensor/create.ts';
import type { Tensor } from '../../lib/tensor/tensor.ts';
import { at, type Case, draws, type Instance, instance, size } from './case.ts';
import { philoxWords } from './philox.ts';

/** Optimizers work on flat buffers, in place: a run works on copies. */
const flat = { layouts: false, half: false } as const;

/** The type of the rounded copy of the parameters, if there is one. */
const halves = fc.constantFrom(null, 'bf16' as const, 'f16' as const);

/** How far the copy is from the parameters rounded: 0 everywhere. */
const roundingError = (copy: Tensor | null, values: Tensor): Tensor[] =>
  copy ? [ops.sub(ops.cast(copy, 'f32'), ops.cast(ops.cast(values, copy.dtype), 'f32'))] : [];

const SEED = 2 ** 40 + 77;
/** Streams of what is rounded at random (native/core/random.h). */
const [MOMENTS, WEIGHTS] = [2 ** 32 - 1, 2 ** 32 - 2];

/** An f32 rounded to bf16 with the bits of element i at step t. */
function rounded(x: number, i: number, stream: number, t: number, shift: 0 | 16): number {
  const word = (philoxWords(SEED, Math.floor(i / 4), stream, t)[i % 4] as number) >>> shift;
  const bits = new Uint32Array(Float32Array.of(x).buffer);
  bits[0] = ((bits[0] as number) + (word & 0xffff)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0] as number;
}

/**
 * Moments or parameters of so many elements in bf16. What comes before the rounding is exact in f32, so that nobody's last bit decides which way an element
 * goes: powers of two for factors, few bits in the gradient, no division by a root where the parameters are rounded.
 */
export const optimizerInBf16 = (elements: fc.Arbitrary<number>): fc.Arbitrary<Instance> =>
  fc
    .record({ n: elements, draw: draws, steps: fc.integer({ min: 1, max: 3 }), weights: fc.boolean(), moments: fc.boolean() })
    .chain((o) =>
      fc.record({
        o: fc.constant(o),
        kind: fc.constantFrom(...(o.weights ? (['sgd', 'lion'] as const) : (['adamw', 'adam', 'sgd', 'lion'] as const))),
      }),
    )
    .map(({ o: { n, draw, steps, weights, moments }, kind }) => {
      const [lr, beta1, beta2, eps] = [2 ** -9, 0.5, 0.75, 1e-6];
      const keptIn = (half: boolean) => (half ? 'bf16' : 'f32');
      return instance({
        label: `${kind} of ${n}, ${steps} steps, moments in ${keptIn(moments)}, parameters in ${keptIn(weights)}`,
        inputs: {
          p: draw.floats([n], (v) => Math.round(v * 32) / 32),
          g: draw.floats([n], (v) => (Math.round(v * 32) || 1) / 32),
        },
        run: ({ p, g }) => {
          const [values, state] = [ops.cast(p, keptIn(weights)), ops.stepState(p.device)];
          const [m, v] = [full([n], 0, { dtype: keptIn(moments) }), full([n], 0, { dtype: keptIn(moments) })];
          for (let step = 0; step < steps; step++) {
            ops.stepBegin(state, lr, false);
            ops.optimizerStep({
              ...{ kind, values, gradient: g, m, v, state, decayCount: 0, betas: [beta1, beta2], eps },
              ...{ weightDecay: 0, dampening: 0, nesterov: false, seed: SEED },
            });
          }
          return ops.concat([values, m, v].map((x) => ops.cast(x, 'f32')));
        },
        reference: ({ p: p0, g }) => {
          const [p, m, v] = [Float64Array.from(p0), new Float64Array(n), new Float64Array(n)];
          for (let t = 1; t <= steps; t++)
            for (let i = 0; i < n; i++) {
              let [x, first, second] = [at(p, i), at(m, i), at(v, i)];
              if (kind === 'lion') {
                x -= lr * Math.sign(beta1 * first + (1 - beta1) * at(g, i));
                first = beta2 * first + (1 - beta2) * at(g, i);
              } else if (kind === 'sgd') {
                first = t === 1 ? at(g, i) : beta1 * first + at(g, i);
                x -= lr * first;
              } else {
                first = beta1 * first + (1 - beta1) * at(g, i);
                second = beta2 * second + (1 - beta2) * at(g, i) ** 2;
                x -= (lr * (first / (1 - beta1 ** t))) / (Math.sqrt(second / (1 - beta2 ** t)) + eps);
              }
              p[i] = weights ? rounded(x, i, WEIGHTS, t, 0) : x;
              m[i] = moments ? rounded(first, i, MOMENTS, t, 0) : first;
              v[i] = moments ? rounded(second, i, MOMENTS, t, 16) : second;
            }
          return [...p, ...m, ...v];
        },
        differentiable: [],
        flops: 12 * n * steps,
      });
    });

/** A few updates with the same gradient; the result is the parameters and both moments. */
const inF32 = (max: number): fc.Arbitrary<Instance> =>
  fc
    .record({
      ...{ n: size(20 * max), draw: draws, kind: fc.constantFrom('adamw', 'adam', 'sgd', 'lion'), steps: fc.integer({ min: 1, max: 3 }) },
      copy: halves,
      ...{ decay: fc.constantFrom(0, 0.1), nesterov: fc.boolean(), dampening: fc.constantFrom(0, 0.2), maxNorm: fc.constantFrom(0, 0.5) },
    })
    .map(({ n, draw, kind, steps, decay, nesterov, dampening, maxNorm, copy }) => {
      const [lr, beta1, beta2, eps] = [0.01, 0.9, 0.95, 1e-6];
      const decayN = draw.integer(n + 1);
      return instance({
        label: `${kind} of ${n}, ${steps} steps, decay ${decay} on ${decayN}, nesterov ${nesterov}, dampening ${dampening}, clip ${maxNorm}${copy ? `, copy in ${copy}` : ''}`,
        inputs: { p: draw.floats([n]), g: draw.floats([n], (v) => (v < 0 ? v - 0.1 : v + 0.1)) },
        run: ({ p, g }) => {
          const [values, m, v, state] = [ops.clone(p), full([n], 0), full([n], 0), ops.stepState(p.device)];
          const half = copy && empty([n], { dtype: copy });
          for (let step = 0; step < steps; step++) {
            ops.gradNorm(g, state, maxNorm);
            ops.stepBegin(state, lr, true);
            ops.optimizerStep({
              kind,
              values,
              gradient: g,
              m,
              v,
              copy: half,
              state,
              decayCount: decayN,
              betas: [beta1, beta2],
              eps,
              weightDecay: decay,
              dampening,
              nesterov,
            });
          }
          return ops.concat([values, m, v, ...roundingError(half, values)]);
        },
        reference: ({ p: p0, g: g0 }) => {
          const [p, m, v] = [Float64Array.from(p0), new Float64Array(n), new Float64Array(n)];
          const norm = Math.sqrt(g0.reduce((a, x) => a + x * x, 0));
          const clip = maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1;
          for (let t = 1; t <= steps; t++)
            for (let i = 0; i < n; i++) {
              const wd = i < decayN ? decay : 0;
              let [g, x] = [at(g0, i) * clip, at(p, i)];
              const before = at(m, i);
              if (kind === 'adam' || kind === 'sgd') g += wd * x;
              else x *= 1 - lr * wd;
              if (kind === 'lion') {
                p[i] = x - lr * Math.sign(beta1 * before + (1 - beta1) * g);
                m[i] = beta2 * before + (1 - beta2) * g;
              } else if (kind === 'sgd') {
                m[i] = t === 1 ? g : beta1 * before + (1 - dampening) * g;
                p[i] = x - lr * (nesterov ? g + beta1 * at(m, i) : at(m, i));
              } else {
                m[i] = beta1 * before + (1 - beta1) * g;
                v[i] = beta2 * at(v, i) + (1 - beta2) * g * g;
                p[i] = x - (lr * (at(m, i) / (1 - beta1 ** t))) / (Math.sqrt(at(v, i) / (1 - beta2 ** t)) + eps);
              }
            }
          return [...p, ...m, ...v, ...(copy ? new Float64Array(n) : [])];
        },
        differentiable: [],
        flops: 12 * n * steps,
      });
    });

export const optimizerStep: Case = {
  instances: (max) => fc.oneof({ arbitrary: inF32(max), weight: 3 }, { arbitrary: optimizerInBf16(size(20 * max)), weight: 2 }),
  tolerance: 4e-6,
  ...flat,
};

/** What the step state says after a norm and a begin: updates, skip, lr, clip and norm, as numbers. */
const stateNumbers = (state: Tensor): Tensor => {
  const floats = state.dataSync<'f32'>();
  const words = new Int32Array(floats.buffer, floats.byteOffset, floats.length);
  return ops.stack([at(words, 0), at(words, 1), ...floats.subarray(2, 5)].map((x) => full([], x)));
};

/** stepBegin and gradNorm: a gradient that is not finite skips the step, which then does not count. */
export const gradNorm: Case = {
  instances: (max) =>
    fc
      .record({
        n: size(100 * max),
        draw: draws,
        maxNorm: fc.constantFrom(0, 0.5, 1e6),
        broken: fc.boolean(),
        keep: fc.boolean(),
        lr: fc.constantFrom(0, 0.125),
      })
      .map(({ n, draw, maxNorm, broken, keep, lr }) => {
        const g = draw.floats([n]);
        const skips = broken && keep;
        if (broken) g.data[draw.integer(n)] = draw.integer(2) ? Number.NaN : Number.NEGATIVE_INFINITY;
        return instance({
          label: `gradNorm of ${n}, at most ${maxNorm}${broken ? ', not finite' : ''}${keep ? '' : ', then forgotten'}`,
          inputs: { g },
          run: (t) => {
            const state = ops.stepState(t.g.device);
            ops.gradNorm(t.g, state, maxNorm);
            ops.stepBegin(state, lr, keep);
            const numbers = stateNumbers(state);
            return broken ? ops.slice(numbers, 0, 0, 3) : numbers;
          },
          reference: (v) => {
            const norm = Math.sqrt(v.g.reduce((a, x) => a + x * x, 0));
            const clip = keep && maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1;
            return broken ? [skips ? 0 : 1, Number(skips), lr] : [1, 0, lr, clip, norm];
          },
          differentiable: [],
          flops: 2 * n,
        });
      }),
  tolerance: 2e-6,
  ...flat,
};

export const muon: Case = {
  instances: (max) =>
    fc
      .record({
        n: size(20 * max),
        draw: draws,
        nesterov: fc.boolean(),
        steps: fc.integer({ min: 1, max: 3 }),
        ratio: fc.constantFrom(1, 0.3),
        copy: halves,
      })
      .map(({ n, draw, nesterov, steps, ratio, copy }) => {
        const [lr, beta, decay] = [0.02, 0.95, 0.1];
        return instance({
          label: `muon's momentum and update of ${n}, ${steps} steps${nesterov ? ', nesterov' : ''}, ratio ${ratio}${copy ? `, copy in ${copy}` : ''}`,
          inputs: { p: draw.floats([n]), g: draw.floats([n]) },
          run: ({ p, g }) => {
            const [values, m, x, state] = [ops.clone(p), full([n], 0), full([n], 0), ops.stepState(p.device)];
            const half = copy && empty([n], { dtype: copy });
            for (let step = 0; step < steps; step++) {
              ops.stepBegin(state, lr, false);
              native.muonMomentum(g.handle, m.handle, x.handle, state.handle, beta, nesterov);
              native.muonApply(values.handle, x.handle, half?.handle ?? null, state.handle, decay, ratio);
            }
            return ops.concat([values, m, x, ...roundingError(half, values)]);
          },
          reference: (v) => {
            const [p, m, x] = [Float64Array.from(v.p), new Float64Array(n), new Float64Array(n)];
            for (let step = 0; step < steps; step++)
              for (let i = 0; i < n; i++) {
                const g = at(v.g, i);
                m[i] = beta * at(m, i) + (1 - beta) * g;
                x[i] = nesterov ? (1 - beta) * g + beta * at(m, i) : at(m, i);
                p[i] = at(p, i) * (1 - lr * decay) - lr * ratio * at(x, i);
              }
            return [...p, ...m, ...x, ...(copy ? new Float64Array(n) : [])];
          },
          differentiable: [],
          flops: 8 * n * steps,
        });
      }),
  tolerance: 2e-6,
  ...flat,
};
