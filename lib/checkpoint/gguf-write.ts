// A GGUF file, version 3: header, metadata, where the tensors lie, then the tensors, each aligned to 32 bytes. Little-endian.
import { type GGUFType, LAYOUTS } from './gguf-types.ts';

export const MAGIC = 0x46554747; // "GGUF"
export const VERSION = 3;
export const ALIGNMENT = 32;

/** Numbers of the types of metadata. */
export const VALUE_TYPES = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

/** Metadata that is written here. */
export type GGUFValue =
  | { readonly type: 'u32' | 'i32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s'; readonly value: readonly number[] };

export interface GGUFTensor {
  readonly name: string;
  readonly type: GGUFType;
  /** Row-major as everywhere here; the file holds it the other way round. */
  readonly shape: readonly number[];
  /** Called when its turn comes. */
  readonly bytes: () => Promise<Uint8Array>;
}

/** Bytes that grow as they are written. */
class Bytes {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  #reserve(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.#bytes.length) {
      const grown = new Uint8Array(2 * Math.max(this.length, this.#bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }

  u32(x: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, x, true);
  }

  i32(x: number): void {
    this.u32(x >>> 0);
  }

  f32(x: number): void {
    const at = this.#reserve(4);
    this.#view.setFloat32(at, x, true);
  }

  u64(x: number): void {
    const at = this.#reserve(8);
    this.#view.setBigUint64(at, BigInt(x), true);
  }

  flag(x: boolean): void {
    const at = this.#reserve(1);
    this.#bytes[at] = x ? 1 : 0;
  }

  text(x: string): void {
    const encoded = new TextEncoder().encode(x);
    this.u64(encoded.length);
    const at = this.#reserve(encoded.length);
    this.#bytes.set(encoded, at);
  }

  align(): void {
    this.#reserve((ALIGNMENT - (this.length % ALIGNMENT)) % ALIGNMENT);
  }

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

function writeValue(out: Bytes, entry: GGUFValue): void {
  if (entry.type === 'strings' || entry.type === 'i32s') {
    out.u32(VALUE_TYPES.array);
    out.u32(entry.type === 'strings' ? VALUE_TYPES.string : VALUE_TYPES.i32);
    out.u64(entry.value.length);
    for (const item of entry.value) {
      if (typeof item === 'string') out.text(item);
      else out.i32(item);
    }
    return;
  }
  out.u32(VALUE_TYPES[entry.type]);
  if (entry.type === 'string') out.text(entry.value);
  else if (entry.type === 'bool') out.flag(entry.value);
  else if (entry.type === 'f32') out.f32(entry.value);
  else out.i32(entry.value);
}

/** Bytes of a tensor; its rows are whole blocks. */
export function tensorBytes(type: GGUFType, shape: readonly number[]): number {
  const { block, bytes } = LAYOUTS[type];
  return (shape.reduce((a, b) => a * b, 1) / block) * bytes;
}

const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** The chunks of a GGUF file. */
export async function* encodeGGUF(metadata: ReadonlyMap<string, GGUFValue>, tensors: readonly GGUFTensor[]): AsyncGenerator<Uint8Array> {
  const out = new Bytes();
  out.u32(MAGIC);
  out.u32(VERSION);
  out.u64(tensors.length);
  out.u64(metadata.size);
  for (const [key, value] of metadata) {
    out.text(key);
    writeValue(out, value);
  }
  let offset = 0;
  for (const { name, type, shape } of tensors) {
    out.text(name);
    out.u32(shape.length);
    for (const size of shape.toReversed()) out.u64(size);
    out.u32(LAYOUTS[type].id);
    out.u64(offset);
    offset += aligned(tensorBytes(type, shape));
  }
  out.align();
  yield out.done();
  for (const { bytes } of tensors) {
    const chunk = await bytes();
    yield chunk;
    yield new Uint8Array(aligned(chunk.length) - chunk.length);
  }
}
