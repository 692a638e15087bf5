import { type Activation, linear } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { constantParameter, type InitOptions, Module, normalParameter, type Parameter } from './module.ts';

export interface LinearModuleOptions extends InitOptions {
  /** Default true. */
  bias?: boolean;
  /** Standard deviation of the initial weights; default 0.02. */
  std?: number;
}

/** y = x wᵀ + b: weight (out, in), bias (out). */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: LinearModuleOptions = {}) {
    super();
    this.weight = normalParameter([outFeatures, inFeatures], options.std ?? 0.02, options);
    this.bias = (options.bias ?? true) ? constantParameter([outFeatures], 0, options) : null;
  }

  /** x (..., in) → activation(x wᵀ + b) + residual (..., out), in one kernel. */
  forward(x: Tensor, options: { activation?: Activation; residual?: Tensor | null } = {}): Tensor {
    return linear(x, this.weight.compute, { bias: this.bias?.compute ?? null, precision: this.precision, ...options });
  }
}
