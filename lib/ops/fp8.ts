import { atomically, type Handle, native } from '../native/addon.ts';
import type { DType } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { Activation } from './matmul.ts';

/**
 * e4m3: 4 bits of exponent, 3 of mantissa, up to 448, one NaN of each sign and no infinities. e5m2: 5 and 2 bits, up to 57344, as IEEE has it
 * (Micikevicius et al., "FP8 Formats for Deep Learning", 2022).
 */
export type FP8Format = Parameters<typeof native.fp8Quantize>[1];

/** Numbers in fp8 with one scale: number i is value(code i) · scale. */
export interface FP8 {
  readonly format: FP8Format;
  /** u8, of the shape of the numbers. */
  readonly codes: Tensor;
  /** f32 (1). */
  readonly scale: Tensor;
}

/**
 * x, of any shape but an empty one, in fp8. The scale is the largest absolute value in it / the format's largest number (1 where that is 0);
 * the codes are those of x / scale, the nearest, of two the even one. NaN stays NaN, alone; an infinity makes all numbers NaN. Outside the graph.
 */
export function quantizeFP8(x: Tensor, format: FP8Format = 'e4m3'): FP8 {
  return atomically(() => {
    const [codes, scale] = native.fp8Quantize(x.handle, format);
    return { format, codes: new Tensor(codes), scale: new Tensor(scale) };
  });
}

/** The numbers that fp8 stands for, f32 unless said otherwise. Outside the graph. */
export function dequantizeFP8({ codes, scale, format }: FP8, dtype: DType = 'f32'): Tensor {
  return new Tensor(native.fp8Dequantize(codes.handle, scale.handle, format, dtype));
}

export interface FP8LinearOptions {
  /** (out). */
  bias?: Tensor | null;
  /** Added after the activation; of the result's shape. */
  residual?: Tensor | null;
  /** Applied to x wᵀ + bias. */
  activation?: Activation;
  /** Of the result. Default f32. */
  dtype?: DType;
}

/**
 * activation(x wᵀ + bias) + residual of numbers in fp8: x (..., in), w (out, in), result (..., out). Products of codes are added in f32, then
 * multiplied by both scales. Outside the graph: `linear` with `precision: 'fp8'` has gradients.
 * @throws when shapes or devices disagree, naming the argument
 */
export function linearFP8(x: FP8, w: FP8, options: FP8LinearOptions = {}): Tensor {
  const { bias = null, residual = null, activation = 'none', dtype = 'f32' } = options;
  const parts = ({ codes, scale, format }: FP8): [Handle, Handle, FP8Format] => [codes.handle, scale.handle, format];
  const added = [bias?.handle ?? null, residual?.handle ?? null] as const;
  return new Tensor(native.fp8Linear(...parts(x), ...parts(w), ...added, activation, false, dtype)[0]);
}
