import type { SafetensorsDType } from './safetensors.ts';

/** Elements that weights come in; all are read as f32. */
export const FLOAT_DTYPES = ['F32', 'F16', 'BF16'] as const;
export type FloatDType = (typeof FLOAT_DTYPES)[number];

export function isFloatDType(dtype: SafetensorsDType | undefined): dtype is FloatDType {
  return (FLOAT_DTYPES as readonly unknown[]).includes(dtype);
}

/** IEEE half precision (1 sign, 5 exponent, 10 mantissa bits) as the nearest number; every half is a float exactly. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** All 65,536 halves, made when the first F16 tensor is read. */
let halves: Float32Array | undefined;

/** Little-endian elements as f32, without loss. F32 bytes are not copied. */
export function widen(dtype: FloatDType, bytes: Uint8Array): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const floats = new Float32Array(words.length);
  if (dtype === 'BF16') {
    const bits = new Uint32Array(floats.buffer);
    for (let i = 0; i < words.length; i++) bits[i] = (words[i] as number) << 16;
    return floats;
  }
  halves ??= Float32Array.from({ length: 0x10000 }, (_, i) => halfToNumber(i));
  for (let i = 0; i < words.length; i++) floats[i] = halves[words[i] as number] as number;
  return floats;
}
