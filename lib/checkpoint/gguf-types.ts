// How elements lie in a GGUF file (llama.cpp's gguf.md and ggml-common.h): plain, or in blocks of 32 with a scale in f16.
import { widen } from './weights-half.ts';

export const GGUF_TYPES = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0'] as const;
export type GGUFType = (typeof GGUF_TYPES)[number];

interface Layout {
  /** Of ggml_type, and of general.file_type where most tensors are such. */
  readonly id: number;
  readonly fileType: number;
  /** Elements and bytes of a block. */
  readonly block: number;
  readonly bytes: number;
}

export const LAYOUTS: Readonly<Record<GGUFType, Layout>> = {
  f32: { id: 0, fileType: 0, block: 1, bytes: 4 },
  f16: { id: 1, fileType: 1, block: 1, bytes: 2 },
  bf16: { id: 30, fileType: 32, block: 1, bytes: 2 },
  q8_0: { id: 8, fileType: 7, block: 32, bytes: 34 },
  q4_0: { id: 2, fileType: 2, block: 32, bytes: 18 },
};

export const typeOfId = (id: number): GGUFType | undefined => GGUF_TYPES.find((type) => LAYOUTS[type].id === id);

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The nearest half of a number, ties to even; what is too large is infinite. */
export function halfBits(x: number): number {
  float[0] = x;
  const word = bits[0] as number;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // from 65520 on
  if (magnitude < 0x38800000) {
    // Subnormal: units of 2^-24. The product is exact; `+ 0.5` would not round ties to even.
    const units = Math.abs(float[0] as number) * 2 ** 24;
    const whole = Math.floor(units);
    const rest = units - whole;
    return sign | (whole + (rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? 1 : 0));
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** The nearest bfloat16, ties to even. */
export function bfloatBits(x: number): number {
  float[0] = x;
  const word = bits[0] as number;
  if ((word & 0x7fffffff) > 0x7f800000) return (word >>> 16) | 0x40;
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** The largest of a block's values by magnitude, with its sign. */
function largest(values: Float32Array, start: number): number {
  let most = 0;
  for (let i = start; i < start + 32; i++) if (Math.abs(values[i] as number) > Math.abs(most)) most = values[i] as number;
  return most;
}

/** As quantize_row_q8_0_ref: a scale, then 32 signed bytes. */
function writeQ8(values: Float32Array, start: number, view: DataView, at: number): void {
  const scale = Math.fround(Math.abs(largest(values, start)) / 127);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  view.setUint16(at, halfBits(scale), true);
  for (let i = 0; i < 32; i++) {
    const x = Math.fround((values[start + i] as number) * inverse);
    view.setInt8(at + 2 + i, Math.sign(x) * Math.round(Math.abs(x))); // roundf: halves away from zero
  }
}

/** As quantize_row_q4_0_ref: a scale, then 16 bytes with elements i and i + 16 in their low and high halves. */
function writeQ4(values: Float32Array, start: number, view: DataView, at: number): void {
  const scale = Math.fround(largest(values, start) / -8);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  view.setUint16(at, halfBits(scale), true);
  const nibble = (i: number): number => Math.min(15, Math.trunc(Math.fround(Math.fround((values[start + i] as number) * inverse) + 8.5)));
  for (let i = 0; i < 16; i++) view.setUint8(at + 2 + i, nibble(i) | (nibble(i + 16) << 4));
}

/** f32 values, whole blocks of them, as bytes of a type. */
export function encodeElements(type: GGUFType, values: Float32Array): Uint8Array {
  if (type === 'f32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (type === 'f16' || type === 'bf16') return new Uint8Array(Uint16Array.from(values, type === 'f16' ? halfBits : bfloatBits).buffer);
  const { block, bytes } = LAYOUTS[type];
  const out = new Uint8Array((values.length / block) * bytes);
  const view = new DataView(out.buffer);
  const write = type === 'q8_0' ? writeQ8 : writeQ4;
  for (let b = 0; b < values.length / block; b++) write(values, b * block, view, b * bytes);
  return out;
}

/** The values that bytes of a type stand for. */
export function decodeElements(type: GGUFType, bytes: Uint8Array): Float32Array {
  if (type === 'f32') return widen('F32', bytes);
  if (type === 'f16' || type === 'bf16') return widen(type === 'f16' ? 'F16' : 'BF16', bytes);
  const { block, bytes: size } = LAYOUTS[type];
  const count = bytes.length / size;
  const values = new Float32Array(count * block);
  const scales = widen(
    'F16',
    new Uint8Array(
      Uint16Array.from({ length: count }, (_, b) => (bytes[b * size] as number) | ((bytes[b * size + 1] as number) << 8)).buffer,
    ),
  );
  for (let b = 0; b < count; b++) {
    const [scale, at] = [scales[b] as number, b * size + 2];
    for (let i = 0; i < block; i++) {
      const byte = bytes[at + (type === 'q8_0' ? i : i % 16)] as number;
      const quant = type === 'q8_0' ? (byte << 24) >> 24 : (i < 16 ? byte & 15 : byte >> 4) - 8;
      values[b * block + i] = scale * quant;
    }
  }
  return values;
}
