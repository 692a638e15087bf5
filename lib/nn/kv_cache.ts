import { noGrad } from '../autograd/index.ts';
import { clone, copyInto, permute, slice } from '../ops/index.ts';
import { empty } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import type { DType } from '../tensor/dtype.ts';
import { allOrNone, scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

export interface KVCacheShape {
  layers: number;
  batch: number;
  /** The most positions. */
  capacity: number;
  kvHeads: number;
  headSize: number;
  device?: Device;
  /** Default f32. */
  dtype?: DType;
}

/**
 * Keys and values of the positions so far, for each layer: decoding computes only the new position. In memory they lie as
 * (B, Hkv, capacity, D), so that a head reads its past in one run; all methods speak of (B, T, Hkv, D), as attention does.
 */
export class KVCache {
  readonly capacity: number;
  /** Views (B, capacity, Hkv, D); they own the memory. */
  readonly #layers: { k: Tensor; v: Tensor }[];
  #length = 0;

  constructor(shape: KVCacheShape) {
    this.capacity = shape.capacity;
    const sizes = [shape.batch, shape.kvHeads, shape.capacity, shape.headSize];
    const like = { dtype: shape.dtype ?? 'f32', ...(shape.device && { device: shape.device }) };
    const buffer = (): Tensor =>
      scope(() => permute(empty(sizes, like), 0, 2, 1, 3))
        .keep()
        .holdAs('key-value caches');
    this.#layers = allOrNone(() => noGrad(() => Array.from({ length: shape.layers }, () => ({ k: buffer(), v: buffer() }))));
  }

  /** Positions held. */
  get length(): number {
    return this.#length;
  }

  /** Writes a layer's new keys and values (B, T, Hkv, D) behind the ones held; gives views of all of them, old and new. */
  append(layer: number, k: Tensor, v: Tensor): { k: Tensor; v: Tensor } {
    const T = k.shape[1] as number;
    const end = this.#length + T;
    if (end > this.capacity) throw new ArgumentError(`KVCache: at most ${this.capacity} positions fit, got ${end}`);
    const buffers = this.#layers[layer];
    if (!buffers) throw new ArgumentError(`KVCache: layer must be from 0 to ${this.#layers.length - 1}, got ${layer}`);
    const put = (buffer: Tensor, x: Tensor): Tensor => {
      scope(() => copyInto(slice(buffer, 1, this.#length, end), x));
      return slice(buffer, 1, 0, end);
    };
    return noGrad(() => ({ k: put(buffers.k, k), v: put(buffers.v, v) }));
  }

  /** Once every layer has appended T positions. */
  advance(T: number): void {
    this.#length += T;
  }

  /** Row b becomes what row `rows[b]` is now: of (B, T, Hkv, D), the positions held. */
  select(rows: readonly number[]): void {
    const moved = [...rows.entries()].filter(([row, from]) => row !== from);
    if (moved.length === 0 || this.#length === 0) return;
    for (const { k, v } of this.#layers)
      for (const buffer of [k, v])
        noGrad(() =>
          scope(() => {
            const held = slice(buffer, 1, 0, this.#length);
            const before = clone(held);
            for (const [row, from] of moved) copyInto(slice(held, 0, row, row + 1), slice(before, 0, from, from + 1));
          }),
        );
  }

  /** Forgets positions from `length` on. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  dispose(): void {
    for (const { k, v } of this.#layers.splice(0)) {
      k.dispose();
      v.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
