import { noGrad } from '../autograd/index.ts';
import { type AttentionPages, clone, copyInto, permute, slice } from '../ops/index.ts';
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

/** Rows of a cache that hold equally many positions, with all their keys and values as `attention` takes them. */
export interface CacheRun {
  /** Among the rows that the cache was asked for: from `from` to before `to`. */
  readonly from: number;
  readonly to: number;
  /** (rows, positions, Hkv, D), or with pages those of all rows. */
  readonly k: Tensor;
  readonly v: Tensor;
  readonly pages?: AttentionPages;
}

/**
 * Keys and values of the positions so far, for each layer: decoding computes only the new position. Rows may hold different numbers of
 * positions, each from 0 on. In memory they have a place of their own (`KVCache`), or pages of a common pool (`PagedKVCache`).
 */
export interface AttentionCache extends Disposable {
  /** Positions held: the most of its rows. */
  readonly length: number;
  /** Positions that each row holds. */
  readonly lengths: readonly number[];
  /** Some of its rows, in this order, as a cache of the same memory; disposing of it frees nothing. */
  only(rows: readonly number[]): AttentionCache;
  /** Writes a layer's new keys and values (B, T, Hkv, D) behind the ones held; gives all of them, old and new, run by run. */
  append(layer: number, k: Tensor, v: Tensor): CacheRun[];
  /** Once every layer has appended T positions. */
  advance(T: number): void;
  /** Row b becomes what row `rows[b]` is now. */
  select(rows: readonly number[]): void;
  /** Forgets positions from `length` on. */
  truncate(length: number): void;
  dispose(): void;
}

/**
 * A cache of which every row has memory for `capacity` positions. They lie as (B, Hkv, capacity, D), so that a head reads its past in one
 * run; all methods speak of (B, T, Hkv, D), as attention does.
 */
export class KVCache implements AttentionCache {
  readonly capacity: number;
  /** Views (B, capacity, Hkv, D); they own the memory. */
  readonly #layers: { k: Tensor; v: Tensor }[];
  /** Positions that each row of the memory holds. */
  readonly #lengths: number[];
  /** The rows of the memory that this cache speaks of. */
  readonly #rows: readonly number[];
  readonly #owns: boolean;

  constructor(shape: KVCacheShape, view?: { of: KVCache; rows: readonly number[] }) {
    this.capacity = shape.capacity;
    this.#owns = view === undefined;
    if (view) {
      this.#layers = view.of.#layers;
      this.#lengths = view.of.#lengths;
      this.#rows = view.rows.map((row) => view.of.#rows[row] as number);
      return;
    }
    const sizes = [shape.batch, shape.kvHeads, shape.capacity, shape.headSize];
    const like = { dtype: shape.dtype ?? 'f32', ...(shape.device && { device: shape.device }) };
    const buffer = (): Tensor =>
      scope(() => permute(empty(sizes, like), 0, 2, 1, 3))
        .keep()
        .holdAs('key-value caches');
    this.#layers = allOrNone(() => noGrad(() => Array.from({ length: shape.layers }, () => ({ k: buffer(), v: buffer() }))));
    this.#lengths = new Array<number>(shape.batch).fill(0);
    this.#rows = this.#lengths.map((_, row) => row);
  }

  /** Positions held: the most of its rows. */
  get length(): number {
    return Math.max(...this.lengths);
  }

  /** Positions that each row holds. */
  get lengths(): readonly number[] {
    return this.#rows.map((row) => this.#lengths[row] as number);
  }

  /** Some of its rows, in this order, as a cache of the same memory; disposing of it frees nothing. */
  only(rows: readonly number[]): KVCache {
    const { capacity } = this;
    return new KVCache({ layers: this.#layers.length, batch: rows.length, capacity, kvHeads: 0, headSize: 0 }, { of: this, rows });
  }

  /** Writes a layer's new keys and values (B, T, Hkv, D) behind the ones held; gives views of all of them, old and new, run by run. */
  append(layer: number, k: Tensor, v: Tensor): CacheRun[] {
    const T = k.shape[1] as number;
    const most = this.length + T;
    if (most > this.capacity) throw new ArgumentError(`KVCache: at most ${this.capacity} positions fit, got ${most}`);
    const buffers = this.#layers[layer];
    if (!buffers) throw new ArgumentError(`KVCache: layer must be from 0 to ${this.#layers.length - 1}, got ${layer}`);
    return noGrad(() =>
      this.#runs().map(({ from, to, row, length }) => {
        const put = (buffer: Tensor, x: Tensor): Tensor => {
          const own = slice(buffer, 0, row, row + to - from);
          scope(() => copyInto(slice(own, 1, length, length + T), slice(x, 0, from, to)));
          return slice(own, 1, 0, length + T);
        };
        return { from, to, k: put(buffers.k, k), v: put(buffers.v, v) };
      }),
    );
  }

  /** Rows in a run: neighbours here and in memory, of equal length. `row` is the first one's in memory. */
  #runs(): { from: number; to: number; row: number; length: number }[] {
    const runs: { from: number; to: number; row: number; length: number }[] = [];
    for (const [i, row] of this.#rows.entries()) {
      const last = runs.at(-1);
      const length = this.#lengths[row] as number;
      if (last && last.row + last.to - last.from === row && last.length === length) last.to++;
      else runs.push({ from: i, to: i + 1, row, length });
    }
    return runs;
  }

  /** Once every layer has appended T positions. */
  advance(T: number): void {
    for (const row of this.#rows) this.#lengths[row] = (this.#lengths[row] as number) + T;
  }

  /** Row b becomes what row `rows[b]` is now: of (B, T, Hkv, D), the positions held. */
  select(rows: readonly number[]): void {
    const lengths = rows.map((row) => this.lengths[row] as number);
    const moved = [...rows.entries()].filter(([row, from]) => row !== from);
    const { length } = this;
    const memory = (row: number): number => this.#rows[row] as number;
    if (moved.length === 0 || length === 0) return;
    for (const { k, v } of this.#layers)
      for (const buffer of [k, v])
        noGrad(() =>
          scope(() => {
            const held = slice(buffer, 1, 0, length);
            const before = clone(held);
            for (const [row, from] of moved)
              copyInto(slice(held, 0, memory(row), memory(row) + 1), slice(before, 0, memory(from), memory(from) + 1));
          }),
        );
    for (const [row, length] of lengths.entries()) this.#lengths[memory(row)] = length;
  }

  /** Forgets positions from `length` on. */
  truncate(length: number): void {
    for (const row of this.#rows) this.#lengths[row] = Math.min(this.#lengths[row] as number, length);
  }

  dispose(): void {
    if (!this.#owns) return;
    for (const { k, v } of this.#layers.splice(0)) {
      k.dispose();
      v.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
