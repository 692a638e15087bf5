import { dequantizeNF4, type NF4, quantizeNF4 } from '../ops/index.ts';
import type { DType } from '../tensor/dtype.ts';
import { elements, type Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Frozen, Module } from './module.ts';

/** A frozen matrix in NF4: products take it out for as long as they run. */
export class NF4Matrix extends Module implements NF4 {
  readonly shape: Shape;
  readonly codes: Frozen;
  readonly scales: Frozen;
  readonly ranges: Frozen;
  readonly mean: Frozen;

  /** Of the values of w, which stays as it is. */
  constructor(w: Tensor) {
    super();
    const { shape, codes, scales, ranges, mean } = quantizeNF4(w);
    this.shape = shape;
    this.codes = new Frozen(codes);
    this.scales = new Frozen(scales);
    this.ranges = new Frozen(ranges);
    this.mean = new Frozen(mean);
  }

  override frozenCount(): number {
    return elements(this.shape);
  }

  /** The matrix as products see it. Outside the graph. */
  values(dtype: DType = 'f32'): Tensor {
    return dequantizeNF4(this, dtype);
  }
}

/** Elements of the four tensors that n numbers in NF4 are stored in. */
export function nf4Elements(n: number): number {
  const blocks = Math.ceil(n / 64);
  return Math.ceil(n / 2) + blocks + Math.ceil(blocks / 256) + 1;
}
