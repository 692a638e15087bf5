import { noGrad } from '../autograd/index.ts';
import type { GPT } from '../models/index.ts';
import { type AttentionCache, KVPages } from '../nn/index.ts';
import { tensor } from '../tensor/create.ts';
import { scope } from '../tensor/tensor.ts';

/** Pages of a pool that is made for one call. */
export interface PagesOption {
  /** How many. */
  pages: number;
  /** Positions of a page: a power of two of at least 16. Default 16. */
  pageSize?: number;
}

/**
 * Where keys and values of earlier positions are kept: memory for the longest text that each row may become (`true`), pages that rows take as
 * they grow and give back when they end (`{ pages }`, or a pool that several calls use: `model.pages(...)`), or nowhere (`false`: every step
 * computes the whole window again). Texts and logits are the same with rows of their own and with pages, to the bit.
 */
export type CacheOption = boolean | PagesOption | KVPages;

/**
 * Runs a model over rows that grow by one token at a time. Rows of different lengths run together: each begins at position 0, in the cache
 * as in the model, so nothing is padded and a row has the bits that it would have alone.
 *
 * The window: a model sees at most T = contextLength tokens. Of a longer prompt it sees the last T. When a row has outgrown the
 * window, the window starts anew with the last ⌈T/2⌉ tokens, which are computed again as positions 0, 1, ... (keys that were
 * computed at other positions, or that saw tokens that are gone, would not be those of the shorter text). So in a long text the
 * model always sees at least half a context, and each token costs about one more on average. The rule is the same with and
 * without a cache.
 */
export class Decoder {
  readonly #model: GPT;
  #rows: number[][];
  readonly #cache: AttentionCache | null;
  /** The pool that was made for this decoder. */
  readonly #pool: KVPages | null;
  /** The first token of each row's window. */
  #starts: number[];

  /** `more`: the most tokens that a row will be given. */
  constructor(model: GPT, prompts: readonly (readonly number[])[], more: number, cache: CacheOption) {
    const T = model.config.contextLength;
    this.#model = model;
    this.#rows = prompts.map((row) => [...row]);
    this.#starts = this.#rows.map((row) => Math.max(0, row.length - T));
    const longest = Math.max(...prompts.map((row) => row.length));
    this.#pool = typeof cache === 'object' && !(cache instanceof KVPages) ? model.pages(cache.pages, cache.pageSize) : null;
    const pages = cache instanceof KVPages ? cache : this.#pool;
    if (pages) this.#cache = pages.cache(this.#rows.length);
    else this.#cache = cache ? model.cache(this.#rows.length, Math.min(T, longest + more)) : null;
  }

  /** The tokens of a row, prompt and all. */
  row(index: number): readonly number[] {
    return this.#rows[index] as number[];
  }

  /**
   * Logits (V) of the token after each row; null for rows that are `finished`, which are no longer computed. The event loop goes on while
   * the device computes.
   */
  async logits(finished: readonly boolean[] = []): Promise<(Float32Array | null)[]> {
    const T = this.#model.config.contextLength;
    // Rows with equally many tokens that were not computed yet go through the model together.
    const groups = new Map<number, number[]>();
    for (const [i, row] of this.#rows.entries()) {
      if (finished[i]) {
        if (this.#cache?.lengths[i]) this.#cache.only([i]).truncate(0); // its pages are for others
        continue;
      }
      if (row.length - (this.#starts[i] as number) > T) {
        this.#starts[i] = row.length - Math.ceil(T / 2);
        this.#cache?.only([i]).truncate(0);
      }
      const fresh = row.length - this.#computed(i);
      groups.set(fresh, [...(groups.get(fresh) ?? []), i]);
    }
    const all: (Float32Array | null)[] = this.#rows.map(() => null);
    for (const rows of groups.values()) {
      const logits = this.#evaluate(rows);
      try {
        const flat = (await logits.data()) as Float32Array;
        const V = flat.length / rows.length;
        for (const [i, row] of rows.entries()) all[row] = flat.subarray(i * V, (i + 1) * V);
      } finally {
        logits.dispose();
      }
    }
    return all;
  }

  /** The first token of a row that is not in the cache. */
  #computed(row: number): number {
    return (this.#starts[row] as number) + (this.#cache?.lengths[row] ?? 0);
  }

  /** One forward pass over the new tokens of some rows, in evaluation mode; training goes on as it was between the passes. */
  #evaluate(rows: readonly number[]) {
    const model = this.#model;
    const training = model.training;
    if (training) model.eval();
    try {
      return noGrad(() =>
        scope(() => {
          const fresh = rows.map((row) => (this.#rows[row] as number[]).slice(this.#computed(row)));
          const shape = [rows.length, (fresh[0] as number[]).length];
          const ids = tensor(Int32Array.from(fresh.flat()), { shape, device: model.device });
          return model.lastLogits(ids, { cache: this.#cache?.only(rows) ?? null });
        }),
      ).keep();
    } finally {
      if (training) model.train();
    }
  }

  /** Row i becomes what row `rows[i]` is now, prompt and all. */
  select(rows: readonly number[]): void {
    this.#cache?.select(rows);
    this.#starts = rows.map((from) => this.#starts[from] as number);
    this.#rows = rows.map((from) => [...(this.#rows[from] as number[])]);
  }

  /** Row i becomes another text, which begins anew. */
  restart(i: number, prompt: readonly number[]): void {
    this.#rows[i] = [...prompt];
    this.#starts[i] = Math.max(0, prompt.length - this.#model.config.contextLength);
    if (this.#cache?.lengths[i]) this.#cache.only([i]).truncate(0);
  }

  /** Appends a token to each row; null: none. */
  push(ids: readonly (number | null)[]): void {
    for (const [i, row] of this.#rows.entries()) {
      const id = ids[i] as number | null;
      if (id !== null) row.push(id);
    }
  }

  dispose(): void {
    this.#cache?.dispose();
    this.#pool?.dispose();
  }
}
