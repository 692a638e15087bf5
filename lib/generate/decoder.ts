import { noGrad } from '../autograd/index.ts';
import type { GPT } from '../models/index.ts';
import type { KVCache } from '../nn/index.ts';
import { tensor } from '../tensor/create.ts';
import { scope } from '../tensor/tensor.ts';

/**
 * Runs a model over rows of equal length that grow by one token at a time.
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
  readonly #cache: KVCache | null;
  /** The first token of the window. */
  #start: number;

  /** `length`: the most tokens that a row will have. */
  constructor(model: GPT, prompts: readonly (readonly number[])[], length: number, useCache: boolean) {
    const T = model.config.contextLength;
    this.#model = model;
    this.#rows = prompts.map((row) => [...row]);
    this.#start = Math.max(0, this.#length - T);
    this.#cache = useCache ? model.cache(this.#rows.length, Math.min(T, length)) : null;
  }

  get #length(): number {
    return (this.#rows[0] as number[]).length;
  }

  /** The tokens of a row, prompt and all. */
  row(index: number): readonly number[] {
    return this.#rows[index] as number[];
  }

  /** Logits (V) of the token after each row. The event loop goes on while the device computes. */
  async logits(): Promise<Float32Array[]> {
    const T = this.#model.config.contextLength;
    if (this.#length - this.#start > T) {
      this.#start = this.#length - Math.ceil(T / 2);
      this.#cache?.truncate(0);
    }
    const logits = this.#evaluate(this.#start + (this.#cache?.length ?? 0));
    try {
      const all = (await logits.data()) as Float32Array;
      const V = all.length / this.#rows.length;
      return this.#rows.map((_, i) => all.subarray(i * V, (i + 1) * V));
    } finally {
      logits.dispose();
    }
  }

  /** One forward pass over the tokens from `from` on, in evaluation mode; training goes on as it was between the passes. */
  #evaluate(from: number) {
    const model = this.#model;
    const training = model.training;
    if (training) model.eval();
    try {
      return noGrad(() =>
        scope(() => {
          const ids = Int32Array.from(this.#rows.flatMap((row) => row.slice(from)));
          const shape = [this.#rows.length, this.#length - from];
          return model.lastLogits(tensor(ids, { shape, device: model.device }), { cache: this.#cache });
        }),
      ).keep();
    } finally {
      if (training) model.train();
    }
  }

  /** Row i becomes what row `rows[i]` is now, prompt and all. */
  select(rows: readonly number[]): void {
    this.#cache?.select(rows);
    this.#rows = rows.map((from) => [...(this.#rows[from] as number[])]);
  }

  /** Appends a token to each row. */
  push(ids: readonly number[]): void {
    for (const [i, row] of this.#rows.entries()) row.push(ids[i] as number);
  }

  dispose(): void {
    this.#cache?.dispose();
  }
}
