import type { DType } from '../native/addon.ts';
import { ArgumentError } from '../util/errors.ts';

export type { DType } from '../native/addon.ts';

/** What `data()` gives for each type; half precision is widened to f32, bool is 0 and 1. */
export interface DataTypes {
  f32: Float32Array;
  bf16: Float32Array;
  f16: Float32Array;
  i32: Int32Array;
  u8: Uint8Array;
  bool: Uint8Array;
}
export type TensorData = Float32Array | Int32Array | Uint8Array;

export const DTYPES: readonly DType[] = ['f32', 'bf16', 'f16', 'i32', 'u8', 'bool'];

export function isDType(name: unknown): name is DType {
  return typeof name === 'string' && (DTYPES as readonly string[]).includes(name);
}

export function isFloat(dtype: DType): boolean {
  return dtype === 'f32' || dtype === 'bf16' || dtype === 'f16';
}

/** Bytes of one element. */
export function bytesOf(dtype: DType): number {
  return dtype === 'f32' || dtype === 'i32' ? 4 : dtype === 'bf16' || dtype === 'f16' ? 2 : 1;
}

/** The type that travels between host and device for `dtype`. */
export function hostType(dtype: DType): 'f32' | 'i32' | 'u8' {
  return isFloat(dtype) ? 'f32' : dtype === 'i32' ? 'i32' : 'u8';
}

/** Values as they travel for `dtype`: bool as 0 and 1, a typed array that fits already as it is. */
export function hostArray(dtype: DType, values: ArrayLike<number>): TensorData {
  const host = hostType(dtype);
  if (dtype === 'bool') return Uint8Array.from(values, (v) => (v ? 1 : 0));
  if (host === 'f32') return values instanceof Float32Array ? values : Float32Array.from(values);
  if (host === 'i32') return values instanceof Int32Array ? values : Int32Array.from(values);
  return values instanceof Uint8Array ? values : Uint8Array.from(values);
}

export function typedArray(host: 'f32' | 'i32' | 'u8', buffer: ArrayBuffer): TensorData {
  return host === 'f32' ? new Float32Array(buffer) : host === 'i32' ? new Int32Array(buffer) : new Uint8Array(buffer);
}

export function checkDType(dtype: unknown, where: string): DType {
  if (isDType(dtype)) return dtype;
  throw new ArgumentError(`${where}: dtype must be one of ${DTYPES.join(', ')}, got ${String(dtype)}`);
}
