import fc from 'fast-check';
import * as ops from '../../lib/ops/index.ts';
import { tensor, zeros } from '../../lib/tensor/create.ts';
import { RandomSource } from '../../lib/tensor/random.ts';
import { at, type Case, type Draw, draws, type HostInput, instance, size } from './case.ts';
import { philoxWords } from './philox.ts';

/** Rising document ids (B, T). */
function documents(B: number, T: number, draw: Draw): HostInput {
  const ids = draw.ints([B, T], 1);
  for (let b = 0; b < B; b++)
    for (let t = 1; t < T; t++) ids.data[b * T + t] = (ids.data[b * T + t - 1] as number) + (draw.integer(4) === 0 ? 1 : 0);
  return ids;
}

/** Rows into pages that hold zeros. */
export const writePages: Case = {
  instances: (max) =>
    fc
      .record({ B: size(3), T: size(max), S: fc.constantFrom(1, 4, 16), H: size(3), D: size(Math.min(max, 40)), draw: draws })
      .map(({ B, T, S, H, D, draw }) => {
        const P = Math.ceil((B * T) / S) + 1;
        const order = Array.from({ length: P * S }, (_, i) => i).sort(() => draw.next() - 0.5);
        const places = Int32Array.from(order.slice(0, B * T)); // no input: no two are equal, as they would be where an input is expanded
        return instance({
          label: `pages of ${S} positions: write (${B}, ${T}, ${H}, ${D}) into ${P}`,
          inputs: { x: draw.floats([B, T, H, D]) },
          run: ({ x }) => {
            const pages = zeros([P, S, H, D], { device: x.device });
            ops.writePages(pages, x, tensor(places, { shape: [B, T], device: x.device }));
            return pages;
          },
          reference: ({ x }) => {
            const y = new Float64Array(P * S * H * D);
            for (let i = 0; i < B * T; i++) for (let j = 0; j < H * D; j++) y[(places[i] as number) * H * D + j] = at(x, i * H * D + j);
            return y;
          },
          differentiable: [],
          flops: 0,
        });
      }),
  tolerance: 0,
  layouts: true,
  half: false, // into f32
};

/** Any head size, and such as fused kernels take: rows of whole vectors of 16 bytes. */
const headSize = (max: number): fc.Arbitrary<number> =>
  max < 9
    ? size(max)
    : fc.oneof(
        size(Math.min(max, 256)),
        fc.integer({ min: 2, max: Math.max(4, Math.floor(Math.min(max, 256) / 8)) }).map((n) => 8 * n),
      );

export const attention: Case = {
  instances: (max) =>
    fc
      .record({
        ...{
          B: size(2),
          Tq: size(max),
          before: fc.nat({ max: Math.ceil(max / 2) }),
          Hkv: size(2),
          group: size(3),
          D: headSize(max),
          draw: draws,
        },
        ...{
          causal: fc.boolean(),
          window: fc.constantFrom(0, 0, 1, 3, 20),
          split: fc.boolean(),
          p: fc.constantFrom(0, 0, 0.3),
          seed: fc.nat(),
        },
      })
      .map(({ B, Tq, before, Hkv, group, D, draw, causal, window, split, p, seed }) => {
        const H = Hkv * group;
        const Tk = Tq + before;
        const scale = 1 / Math.sqrt(D);
        return instance({
          label: `attention B ${B}, Tq ${Tq}, Tk ${Tk}, H ${H}, Hkv ${Hkv}, D ${D}${causal ? ', causal' : ''}, window ${window}${split ? ', documents' : ''}, dropout ${p}`,
          inputs: {
            q: draw.floats([B, Tq, H, D]),
            k: draw.floats([B, Tk, Hkv, D]),
            v: draw.floats([B, Tk, Hkv, D]),
            docsQ: split ? documents(B, Tq, draw) : null,
            docsK: split ? documents(B, Tk, draw) : null,
          },
          run: ({ q, k, v, docsQ, docsK }) => {
            const random = new RandomSource(seed, q.device);
            try {
              return ops.attention(q, k, v, { causal, window, documents: split ? [docsQ, docsK] : null, dropout: p, random });
            } finally {
              random.dispose();
            }
          },
          reference: ({ q, k, v, docsQ, docsK }) => {
            const y = new Float64Array(B * Tq * H * D);
            const threshold = Math.floor(Math.fround(p) * 2 ** 32);
            for (let b = 0; b < B; b++)
              for (let h = 0; h < H; h++)
                for (let i = 0; i < Tq; i++) {
                  const place = i + Tk - Tq;
                  const [fromQ, head] = [((b * Tq + i) * H + h) * D, Math.floor(h / group)];
                  const fromK = (j: number): number => ((b * Tk + j) * Hkv + head) * D;
                  const seen = (j: number): boolean =>
                    (!causal || j <= place) &&
                    (window === 0 || (j > place - window && (causal || j < place + window))) &&
                    (!split || at(docsQ, b * Tq + i) === at(docsK, b * Tk + j));
                  const keys = Array.from({ length: Tk }, (_, j) => j).filter(seen);
                  const scores = keys.map((j) => {
                    let dot = 0;
                    for (let d = 0; d < D; d++) dot += at(q, fromQ + d) * at(k, fromK(j) + d);
                    return scale * dot;
                  });
                  const top = Math.max(...scores);
                  const weights = scores.map((s) => Math.exp(s - top));
                  const sum = weights.reduce((a, w) => a + w, 0);
                  keys.forEach((j, n) => {
                    const element = ((b * H + h) * Tq + i) * Tk + j;
                    if (p > 0 && at(philoxWords(seed, Math.floor(element / 4), 0, 0), element % 4) < threshold) return;
                    const weight = at(weights, n) / sum / (1 - p);
                    for (let d = 0; d < D; d++) y[fromQ + d] = at(y, fromQ + d) + weight * at(v, fromK(j) + d);
                  });
                }
            return y;
          },
          differentiable: ['q', 'k', 'v'],
          flops: 4 * B * H * Tq * Tk * D,
        });
      }),
  tolerance: 1e-5,
  layouts: true,
  half: true,
  halfway: 2, // scores and weights
};
