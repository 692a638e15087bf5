import type { Parameter, Placement } from '../nn/index.ts';
import { add, clone, div, matmul, maximum, mul, muonApply, muonMomentum, optimizerStep, permute, sqrt, square, sum } from '../ops/index.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import type { AdamOptions } from './fused.ts';
import { type Optimized, Optimizer } from './optimizer.ts';

export interface MuonOptions {
  /** Learning rate of the matrices under Muon while AdamW's is `adamw.lr`; both follow one schedule. Default 0.02. */
  lr?: number;
  /** Default 0.95. */
  momentum?: number;
  /** Default true. */
  nesterov?: boolean;
  /** Newton–Schulz iterations. Default 5. */
  iterations?: number;
  /** Default 0.1. */
  weightDecay?: number;
  /** `original`: √max(1, rows/cols); `matchAdamW`: 0.2·√max(rows, cols), so that AdamW's learning rate fits. */
  adjust?: 'original' | 'matchAdamW';
  /** Which parameters are under Muon; default: matrices of blocks (names that contain `blocks.`). The rest is AdamW. */
  isMuon?: (name: string, p: Parameter) => boolean;
  /** AdamW for the rest. Its `lr` (default 1e-3) is the learning rate that `step` takes. */
  adamw?: Pick<AdamOptions, 'lr' | 'betas' | 'eps' | 'weightDecay'>;
}

/** Coefficients of the quintic iteration (Jordan et al. 2024). */
const [A, B, C] = [3.4445, -4.775, 2.0315];

/** The nearest orthogonal matrix, roughly: singular values are driven towards 1 by x ← a x + (b xxᵀ + c (xxᵀ)²) x. */
export function newtonSchulz(x0: Tensor, iterations = 5): Tensor {
  return scope(() => {
    const tall = (x0.shape[0] as number) > (x0.shape[1] as number);
    const wide = tall ? permute(x0, 1, 0) : x0;
    let x = div(wide, maximum(sqrt(sum(square(wide))), 1e-7));
    for (let i = 0; i < iterations; i++) {
      const before = x;
      x = scope(() => {
        const gram = matmul(before, before, { transB: true });
        const poly = add(mul(gram, B), mul(matmul(gram, gram), C));
        return add(mul(before, A), matmul(poly, before));
      });
      before.dispose();
    }
    return tall ? permute(x, 1, 0) : x;
  });
}

/** Momentum orthogonalised by Newton–Schulz on the matrices of the blocks (Jordan et al. 2024), AdamW on the rest. */
export class Muon extends Optimizer {
  readonly #options: Required<Omit<MuonOptions, 'isMuon'>>;

  constructor(optimized: Optimized, options: MuonOptions = {}) {
    const { isMuon = (name, p) => p.rank === 2 && name.includes('blocks.'), ...rest } = options;
    super(optimized, rest.adamw?.lr ?? 1e-3, ['m', 'v'], {
      groups: ['muon', 'decay', 'plain'],
      groupOf: (name, p) => (isMuon(name, p) ? 'muon' : p.rank >= 2 ? 'decay' : 'plain'),
    });
    this.#options = { lr: 0.02, momentum: 0.95, nesterov: true, iterations: 5, weightDecay: 0.1, adjust: 'original', adamw: {}, ...rest };
  }

  get #matrices(): Placement[] {
    return this.parameters.placements.filter((place) => place.group === 'muon');
  }

  /** The directions of all matrices. The momentum itself moves with the update: here a copy of it does. */
  protected override prepare(begun: () => Tensor): Tensor[] {
    const { momentum, nesterov, iterations } = this.#options;
    const m = this.buffers.get('m') as Tensor;
    const set = this.parameters;
    const state = begun();
    return this.#matrices.map((place) =>
      scope(() => {
        const direction = muonMomentum(set.partOf(set.gradients, place), clone(set.partOf(m, place)), state, momentum, nesterov);
        return clone(newtonSchulz(direction, iterations));
      }),
    );
  }

  protected update(directions: readonly Tensor[]): void {
    const o = this.#options;
    const { lr = 1e-3, betas = [0.9, 0.95], eps = 1e-8, weightDecay = 0.1 } = o.adamw;
    const m = this.buffers.get('m') as Tensor;
    const v = this.buffers.get('v') as Tensor;
    const set = this.parameters;
    // The state on the device holds AdamW's learning rate; Muon's is this many times as large.
    const factor = o.lr / lr;
    for (const [i, place] of this.#matrices.entries()) {
      const [rows, cols] = place.parameter.shape as [number, number];
      const x = directions[i] as Tensor;
      const ratio = o.adjust === 'matchAdamW' ? 0.2 * Math.sqrt(Math.max(rows, cols)) : Math.sqrt(Math.max(1, rows / cols));
      const copy = set.compute && set.partOf(set.compute, place);
      muonApply(set.partOf(set.values, place), x, this.state, factor * o.weightDecay, factor * ratio, copy);
      // The momentum's own step; the direction, which it writes too, has served.
      muonMomentum(set.partOf(set.gradients, place), set.partOf(m, place), this.state, o.momentum, o.nesterov, x);
    }
    const { start, end } = set.range('decay');
    if (start === set.values.size) return;
    const rest = (t: Tensor): Tensor => set.tail(t, start);
    optimizerStep({
      ...{ copy: set.compute && rest(set.compute) },
      ...{ kind: 'adamw', values: rest(set.values), gradient: rest(set.gradients), m: rest(m), v: rest(v), state: this.state },
      ...{ decayCount: end - start, betas, eps, weightDecay, dampening: 0, nesterov: false },
    });
  }
}
