import { type Activation, add, cast, gelu, linear, mul, relu, relu2, silu } from '../ops/index.ts';
import type { RandomSource } from '../tensor/random.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import type { LoRA } from './lora.ts';
import { constantParameter, type InitOptions, Module, normalParameter, Parameter } from './module.ts';
import type { NF4Matrix } from './nf4.ts';

export interface LinearModuleOptions extends InitOptions {
  /** Default true. */
  bias?: boolean;
  /** Standard deviation of the initial weights; default 0.02. */
  std?: number;
  /** It is no head, for which fp8 would be too coarse. Default true. */
  layer?: boolean;
}

const ACTIVATIONS: Readonly<Record<Activation, (x: Tensor) => Tensor>> = {
  none: (x) => x,
  geluTanh: (x) => gelu(x, 'tanh'),
  geluErf: (x) => gelu(x, 'erf'),
  relu,
  relu2,
  silu,
};

/** y = x wᵀ + b: weight (out, in), bias (out). `W`: what the weight may be; in NF4 it is frozen, beside a change that is learned. */
export class Linear<W extends Parameter | NF4Matrix = Parameter> extends Module {
  weight: W;
  readonly bias: Parameter | null;
  /** A change of the weight that is learned in its place: see `addLoRA`. */
  lora: LoRA | null = null;
  readonly #layer: boolean;

  constructor(inFeatures: number, outFeatures: number, options: LinearModuleOptions = {}) {
    super();
    this.weight = normalParameter([outFeatures, inFeatures], options.std ?? 0.02, options) as W;
    this.bias = (options.bias ?? true) ? constantParameter([outFeatures], 0, options) : null;
    this.#layer = options.layer ?? true;
  }

  /**
   * x (..., in) → activation(x wᵀ + b) + residual (..., out), in one kernel unless there is a change of the weight. `random` is for the
   * dropout of that change.
   */
  forward(x: Tensor, options: { activation?: Activation; residual?: Tensor | null; random?: RandomSource | null } = {}): Tensor {
    const { lora, weight } = this;
    const precision = this.#layer ? this.layerPrecision : this.precision;
    const w: Tensor | NF4Matrix = weight instanceof Parameter ? weight.compute : weight;
    const own = { bias: this.bias?.compute ?? null, precision };
    const { activation = 'none', residual = null, random = null } = options;
    if (!lora) return linear(x, w, { ...own, activation, residual });
    return scope(() => {
      if (lora.magnitude) {
        const plain = lora.addTo(linear(x, w, { precision }), x, random);
        const lengths = lora.lengthen(weight);
        const whole = mul(plain, lengths.dtype === plain.dtype ? lengths : cast(lengths, plain.dtype));
        const y = ACTIVATIONS[activation](own.bias ? add(whole, own.bias) : whole);
        return residual ? add(y, residual) : y;
      }
      if (activation === 'none') return lora.addTo(linear(x, w, { ...own, residual }), x, random);
      const y = ACTIVATIONS[activation](lora.addTo(linear(x, w, own), x, random));
      return residual ? add(y, residual) : y;
    });
  }
}
