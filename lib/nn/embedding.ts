import { embedding } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type InitOptions, Module, normalParameter, type Parameter } from './module.ts';

/** A row of weight (V, C) for every id. */
export class Embedding extends Module {
  readonly weight: Parameter;

  constructor(count: number, width: number, options: InitOptions & { std?: number } = {}) {
    super();
    this.weight = normalParameter([count, width], options.std ?? 0.02, options);
  }

  /** ids (..., T) → (..., T, C), with rows of `positions` from `first` on added. */
  forward(ids: Tensor, options: { positions?: Tensor | null; first?: number } = {}): Tensor {
    return embedding(this.weight.compute, ids, options);
  }
}
