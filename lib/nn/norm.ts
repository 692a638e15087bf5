import { layerNorm, rmsNorm } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { constantParameter, type InitOptions, Module, type Parameter } from './module.ts';

/** LayerNorm over the last dimension with weight (C) and, unless turned off, bias (C). */
export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly eps: number;

  constructor(width: number, options: InitOptions & { eps?: number; bias?: boolean } = {}) {
    super();
    this.weight = constantParameter([width], 1, options);
    this.bias = (options.bias ?? true) ? constantParameter([width], 0, options) : null;
    this.eps = options.eps ?? 1e-5;
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, { weight: this.weight.compute, bias: this.bias?.compute ?? null, eps: this.eps });
  }
}

/** RMSNorm over the last dimension with weight (C). */
export class RMSNorm extends Module {
  readonly weight: Parameter;
  readonly eps: number;

  constructor(width: number, options: InitOptions & { eps?: number } = {}) {
    super();
    this.weight = constantParameter([width], 1, options);
    this.eps = options.eps ?? 1e-5;
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, { weight: this.weight.compute, eps: this.eps });
  }
}
