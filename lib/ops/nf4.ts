import { atomically, native } from '../native/addon.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/**
 * Numbers in NF4, 4-bit NormalFloat with quantised constants (Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", 2023), as
 * bitsandbytes defines it: about 4.13 bits each. Number i is level(code) · (mean + level(scale) · range).
 */
export interface NF4 {
  readonly shape: Shape;
  /** u8 (⌈n / 2⌉): two numbers' codes, the first in the high half: the nearest of 16 levels of x / the block's constant, of two the lower. */
  readonly codes: Tensor;
  /** u8 (⌈n / 64⌉): what is left of each block's constant, the largest absolute value in it, less the mean: a code of the dynamic 8 bits. */
  readonly scales: Tensor;
  /** f32 (⌈n / 16384⌉): what those codes are multiplied by. */
  readonly ranges: Tensor;
  /** f32 (1): of the constants. */
  readonly mean: Tensor;
}

/** x, of any shape but an empty one, in NF4. Outside the graph. */
export function quantizeNF4(x: Tensor): NF4 {
  return atomically(() => {
    const [codes, scales, ranges, mean] = native.nf4Quantize(x.handle);
    return { shape: x.shape, codes: new Tensor(codes), scales: new Tensor(scales), ranges: new Tensor(ranges), mean: new Tensor(mean) };
  });
}

/** The numbers that NF4 stands for, f32 unless said otherwise. Outside the graph. */
export function dequantizeNF4({ codes, scales, ranges, mean, shape }: NF4, dtype: DType = 'f32'): Tensor {
  return new Tensor(native.nf4Dequantize(codes.handle, scales.handle, ranges.handle, mean.handle, shape, dtype));
}
