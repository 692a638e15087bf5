// What the benchmarks compute with.
import { type DType, type Tensor, tensor } from '../lib/tensor/index.ts';

/** A tensor of a shape, filled with numbers between -1 and 1 that are always the same. */
export type Make = (shape: readonly number[], dtype?: DType, requiresGrad?: boolean) => Tensor;

export function maker(device: string): Make {
  return (shape, dtype = 'f32', requiresGrad = false) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const values = new Float32Array(n);
    for (let i = 0; i < n; i++) values[i] = (Math.imul(i + 1, 0x9e3779b1) >>> 8) / 2 ** 23 - 1;
    return tensor(values, { shape, dtype, device, requiresGrad });
  };
}
