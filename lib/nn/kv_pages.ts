// Keys and values in pages of a common pool (Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention", 2023).
import { noGrad } from '../autograd/index.ts';
import { copyInto, permute, slice, writePages } from '../ops/index.ts';
import { empty, tensor } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import type { DType } from '../tensor/dtype.ts';
import { allOrNone, scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError, HeddleError } from '../util/errors.ts';
import type { AttentionCache, CacheRun } from './kv_cache.ts';

export interface KVPagesShape {
  layers: number;
  /** How many pages there are. */
  pages: number;
  /** Positions of a page: a power of two, at least 16. Default 16. */
  pageSize?: number;
  kvHeads: number;
  headSize: number;
  device?: Device;
  /** Default f32. */
  dtype?: DType;
}

/**
 * A pool of pages for the keys and values of sequences that decode. Sequences take pages as they grow and give them back when they end, so
 * memory goes by the positions that there are, not by the longest that might come; sequences with the same beginning share its pages. A
 * page has the same positions of every layer. Several caches may use one pool, also one after the other.
 */
export class KVPages {
  /** How many pages there are. */
  readonly count: number;
  /** Positions of a page. */
  readonly size: number;
  /** Views (pages, size, Hkv, D) of memory (pages, Hkv, size, D), in which a head's positions of a page lie in one run. */
  readonly #layers: readonly { readonly k: Tensor; readonly v: Tensor }[];
  /** How many rows have a page. */
  readonly #users: Int32Array;
  readonly #free: number[];

  constructor({ layers, pages, pageSize = 16, kvHeads, headSize, device, dtype = 'f32' }: KVPagesShape) {
    if (!(Number.isSafeInteger(pages) && pages >= 1)) throw new ArgumentError(`KVPages: pages must be a positive integer, got ${pages}`);
    if (!(Number.isSafeInteger(pageSize) && pageSize >= 16 && Number.isInteger(Math.log2(pageSize))))
      throw new ArgumentError(`KVPages: pageSize must be a power of two of at least 16, got ${pageSize}`);
    const buffer = (): Tensor =>
      scope(() => permute(empty([pages, kvHeads, pageSize, headSize], { dtype, ...(device && { device }) }), 0, 2, 1, 3))
        .keep()
        .holdAs('key-value caches');
    this.#layers = allOrNone(() => noGrad(() => Array.from({ length: layers }, () => ({ k: buffer(), v: buffer() }))));
    this.count = pages;
    this.size = pageSize;
    this.#users = new Int32Array(pages);
    this.#free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
  }

  /** Pages that nobody has. */
  get free(): number {
    return this.#free.length;
  }

  /** A cache of so many empty rows, whose pages come from here. */
  cache(rows: number): PagedKVCache {
    return new PagedKVCache(this, rows);
  }

  // What follows is for the caches.

  /** A page for one user. @throws HeddleError (ERR_HEDDLE_OUT_OF_PAGES) when all are taken */
  take(): number {
    const page = this.#free.pop();
    if (page === undefined)
      throw new HeddleError('ERR_HEDDLE_OUT_OF_PAGES', `KVPages: all ${this.count} pages of ${this.size} positions are taken`, {
        hint: 'Make more pages, or let fewer or shorter sequences run at a time.',
      });
    this.#users[page] = 1;
    return page;
  }

  /** One user more. */
  share(page: number): void {
    this.#users[page] = this.users(page) + 1;
  }

  /** One user less; a page without any is free. */
  give(page: number): void {
    const left = this.users(page) - 1;
    this.#users[page] = left;
    if (left === 0) this.#free.push(page);
  }

  users(page: number): number {
    return this.#users[page] as number;
  }

  /** Every layer's page `to` becomes what `from` is. */
  copy(from: number, to: number): void {
    noGrad(() =>
      scope(() => {
        for (const { k, v } of this.#layers) for (const x of [k, v]) copyInto(slice(x, 0, to, to + 1), slice(x, 0, from, from + 1));
      }),
    );
  }

  /** A layer's keys and values (pages, size, Hkv, D). */
  layer(index: number): { readonly k: Tensor; readonly v: Tensor } {
    const found = this.#layers[index];
    if (!found) throw new ArgumentError(`KVPages: layer must be from 0 to ${this.#layers.length - 1}, got ${index}`);
    return found;
  }

  dispose(): void {
    for (const { k, v } of this.#layers) {
      k.dispose();
      v.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

interface Row {
  /** Its pages, in the order of the positions. */
  pages: number[];
  length: number;
}

/** Where the layers of a pass write and read, made by the first of them. */
interface Pass {
  rows: readonly Row[];
  T: number;
  /** i32 (B, n): the pages of each row, with T positions more. */
  table: Tensor;
  /** i32 (B, T): where the new positions are written. */
  places: Tensor;
}

/** Keys and values of the positions so far of some rows, in pages of a pool. */
export class PagedKVCache implements AttentionCache {
  readonly #pool: KVPages;
  readonly #rows: readonly Row[];
  /** Common to this cache and what `only` makes of it: the pass that is going on. */
  readonly #now: { pass: Pass | null };
  readonly #owns: boolean;

  constructor(pool: KVPages, rows: number, view?: { of: PagedKVCache; rows: readonly number[] }) {
    this.#pool = pool;
    this.#owns = view === undefined;
    this.#rows = view
      ? view.rows.map((row) => view.of.#rows[row] as Row)
      : Array.from({ length: rows }, (): Row => ({ pages: [], length: 0 }));
    this.#now = view ? view.of.#now : { pass: null };
  }

  get length(): number {
    return Math.max(...this.lengths);
  }

  get lengths(): readonly number[] {
    return this.#rows.map(({ length }) => length);
  }

  only(rows: readonly number[]): PagedKVCache {
    return new PagedKVCache(this.#pool, rows.length, { of: this, rows });
  }

  append(layer: number, k: Tensor, v: Tensor): CacheRun[] {
    const T = k.shape[1] as number;
    const pool = this.#pool.layer(layer);
    return noGrad(() => {
      const { table, places } = this.#passOf(T);
      writePages(pool.k, k, places);
      writePages(pool.v, v, places);
      return this.#runs().map(({ from, to, length }): CacheRun => {
        // What is new is all that there is, and lies side by side.
        if (length === 0 && k.dtype === pool.k.dtype) return { from, to, k: slice(k, 0, from, to), v: slice(v, 0, from, to) };
        return { from, to, ...pool, pages: { table: slice(table, 0, from, to), keys: length + T } };
      });
    });
  }

  /** For T positions more of each row: their pages are the row's alone to write to. */
  #passOf(T: number): Pass {
    const { pass } = this.#now;
    if (pass && pass.rows === this.#rows && pass.T === T) return pass;
    this.#endPass();
    const { size } = this.#pool;
    for (const row of this.#rows) {
      const needed = Math.ceil((row.length + T) / size);
      for (let i = Math.floor(row.length / size); i < row.pages.length; i++) this.#makeOwn(row, i);
      while (row.pages.length < needed) row.pages.push(this.#pool.take());
    }
    const columns = Math.max(...this.#rows.map(({ pages }) => pages.length));
    const table = this.#rows.flatMap(({ pages }) => [...pages, ...new Array<number>(columns - pages.length).fill(0)]);
    const placeOf = ({ pages, length }: Row, t: number): number =>
      (pages[Math.floor((length + t) / size)] as number) * size + ((length + t) % size);
    const places = this.#rows.flatMap((row) => Array.from({ length: T }, (_, t) => placeOf(row, t)));
    const { device } = this.#pool.layer(0).k;
    const i32 = (numbers: number[], width: number): Tensor =>
      tensor(Int32Array.from(numbers), { shape: [this.#rows.length, width], device }).keep();
    this.#now.pass = allOrNone(() => ({ rows: this.#rows, T, table: i32(table, columns), places: i32(places, T) }));
    return this.#now.pass;
  }

  /** A page that other rows have, too, is copied before it is written to. */
  #makeOwn(row: Row, index: number): void {
    const shared = row.pages[index] as number;
    if (this.#pool.users(shared) === 1) return;
    const own = this.#pool.take();
    this.#pool.copy(shared, own);
    this.#pool.give(shared);
    row.pages[index] = own;
  }

  /** Neighbours of equal length. */
  #runs(): { from: number; to: number; length: number }[] {
    const runs: { from: number; to: number; length: number }[] = [];
    for (const [i, { length }] of this.#rows.entries()) {
      const last = runs.at(-1);
      if (last?.length === length) last.to++;
      else runs.push({ from: i, to: i + 1, length });
    }
    return runs;
  }

  advance(T: number): void {
    this.#endPass();
    for (const row of this.#rows) row.length += T;
  }

  select(rows: readonly number[]): void {
    this.#endPass();
    const next = rows.map((from): Row => {
      const { pages, length } = this.#rows[from] as Row;
      return { pages: pages.slice(0, Math.ceil(length / this.#pool.size)), length };
    });
    for (const { pages } of next) for (const page of pages) this.#pool.share(page);
    for (const [i, row] of next.entries()) {
      const own = this.#rows[i] as Row;
      for (const page of own.pages) this.#pool.give(page);
      Object.assign(own, row);
    }
  }

  /** The pages behind `length` go back to the pool. */
  truncate(length: number): void {
    this.#endPass();
    for (const row of this.#rows) {
      row.length = Math.min(row.length, length);
      for (const page of row.pages.splice(Math.ceil(row.length / this.#pool.size))) this.#pool.give(page);
    }
  }

  #endPass(): void {
    const { pass } = this.#now;
    pass?.table.dispose();
    pass?.places.dispose();
    this.#now.pass = null;
  }

  /** Gives all pages back. */
  dispose(): void {
    if (this.#owns) this.truncate(0);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
