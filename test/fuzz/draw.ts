/** Random choices from a seed: the same seed, the same choices (mulberry32). */
export class Draw {
  #state: number;

  constructor(...seeds: readonly number[]) {
    this.#state = 0x9e3779b9;
    for (const seed of seeds) {
      this.#state = (this.#state ^ seed) >>> 0;
      this.below(1); // stirs
      this.#state = Math.imul(this.#state ^ (this.#state >>> 13), 0x5bd1e995) >>> 0;
    }
  }

  /** An integer from 0 to `n - 1`. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * n);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** One of a list, each as often as its weight says. */
  weighted<T>(list: readonly T[], weights: readonly number[]): T {
    let left = this.below(weights.reduce((a, b) => a + b, 0));
    for (const [i, weight] of weights.entries()) {
      left -= weight;
      if (left < 0) return list[i] as T;
    }
    return list.at(-1) as T;
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** A length from 1 to `most`, short ones more often. */
  length(most: number): number {
    return 1 + this.below(1 + this.below(Math.max(1, most)));
  }

  /** A stretch of something `size` long. */
  range(size: number, most = size): [start: number, end: number] {
    const start = this.below(size + 1);
    return [start, Math.min(size, start + this.length(most))];
  }
}

/** A number for a name, to seed with. */
export function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}
