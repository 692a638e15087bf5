import { noGrad } from '../autograd/index.ts';
import { add, clone, concat, div, dropout, linear, matmul, mul, reshape, sqrt, square, sum } from '../ops/index.ts';
import { rand } from '../tensor/create.ts';
import { nextSeed, type RandomSource } from '../tensor/random.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import { constantParameter, type InitOptions, Module, Parameter } from './module.ts';
import { NF4Matrix } from './nf4.ts';

export interface LoRAOptions extends InitOptions {
  /** r: what a change of a matrix may consist of, a sum of so many outer products. */
  rank: number;
  /** The change is multiplied by alpha / rank. Default: the rank. */
  alpha?: number;
  /** Share of the inputs of A that is dropped while training. Default 0. */
  dropout?: number;
  /**
   * DoRA (Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024): the length of each row of the changed matrix is learned apart from its
   * direction, and begins as that of this matrix, (out, in).
   */
  dora?: Tensor | NF4Matrix;
}

/** A matrix as it is, or taken out of NF4. */
const valuesOf = (w: Tensor | NF4Matrix): Tensor => (w instanceof NF4Matrix ? w.values() : w);

/** ‖row‖ of a matrix (out, in): (out). */
const rowNorms = (w: Tensor | NF4Matrix): Tensor => sqrt(sum(square(valuesOf(w)), { dim: 1 }));

/** A (r, in), uniform within ±1/√in as PEFT begins. */
function downParameter(rank: number, inFeatures: number, options: InitOptions): Parameter {
  const at = { seed: (options.seeds ?? nextSeed)(), ...(options.device && { device: options.device }) };
  const bound = 1 / Math.sqrt(inFeatures);
  return new Parameter(scope(() => add(mul(rand([rank, inFeatures], at), 2 * bound), -bound)));
}

/**
 * A learned change of a frozen matrix, W + (alpha / r) B A (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021). A matrix
 * that holds several, one below the other (queries, keys and values), has an A and a B for each. B begins at 0: nothing is changed.
 */
export class LoRA extends Module {
  /** (r, in) each. */
  readonly a: readonly Parameter[];
  /** (rows of the part, r) each. */
  readonly b: readonly Parameter[];
  readonly scale: number;
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  /** (out): the lengths of the rows, of DoRA. */
  readonly magnitude: Parameter | null;

  /** `parts`: the rows of each of the matrix's parts. */
  constructor(inFeatures: number, parts: readonly number[], options: LoRAOptions) {
    super();
    const { rank, alpha = rank, dropout: p = 0, dora, ...init } = options;
    if (!(Number.isSafeInteger(rank) && rank >= 1)) throw new ArgumentError(`LoRA: rank must be a positive integer, got ${rank}`);
    if (!(Number.isFinite(alpha) && alpha > 0)) throw new ArgumentError(`LoRA: alpha must be a positive number, got ${alpha}`);
    if (!(p >= 0 && p < 1)) throw new ArgumentError(`LoRA: dropout must be at least 0 and below 1, got ${p}`);
    this.rank = rank;
    this.alpha = alpha;
    this.dropout = p;
    this.scale = alpha / rank;
    this.a = parts.map(() => downParameter(rank, inFeatures, init));
    this.b = parts.map((rows) => constantParameter([rows, rank], 0, init));
    this.magnitude = dora ? new Parameter(noGrad(() => scope(() => clone(rowNorms(dora))))) : null;
  }

  /** w (out, in) with the change added, without DoRA's lengths; outside the graph. */
  changed(w: Tensor | NF4Matrix): Tensor {
    return noGrad(() =>
      scope(() =>
        add(
          valuesOf(w),
          mul(
            concat(
              this.b.map((b, i) => matmul(b, this.a[i] as Parameter)),
              0,
            ),
            this.scale,
          ),
        ),
      ),
    );
  }

  /**
   * The factor (out) that gives each row of the changed matrix its learned length. The lengths that it has are taken for constants, as in the
   * paper (4.3): no gradient goes through them.
   */
  lengthen(w: Tensor | NF4Matrix): Tensor {
    const norms = noGrad(() => scope(() => rowNorms(this.changed(w))));
    return div(this.magnitude as Parameter, norms);
  }

  /** w (out, in) as it computes with the change; outside the graph. */
  merged(w: Tensor | NF4Matrix): Tensor {
    return noGrad(() =>
      scope(() => {
        const changed = this.changed(w);
        return this.magnitude ? mul(changed, reshape(this.lengthen(w), w.shape[0] as number, 1)) : changed;
      }),
    );
  }

  /** x (..., in) → base (..., out) + x times the change. `random` draws dropout's masks; without it, or in eval mode, nothing is dropped. */
  addTo(base: Tensor, x: Tensor, random: RandomSource | null = null): Tensor {
    const { precision } = this;
    const kept = random && this.training ? dropout(x, this.dropout, random) : x;
    const down = (a: Parameter): Tensor => mul(linear(kept, a.compute, { precision }), this.scale);
    const [a, b] = [this.a[0] as Parameter, this.b[0] as Parameter];
    if (this.b.length === 1) return linear(down(a), b.compute, { residual: base, precision });
    const changes = this.b.map((up, i) => linear(down(this.a[i] as Parameter), up.compute, { precision }));
    return add(base, concat(changes, -1));
  }
}
