// Random numbers that belong to a place, not to a moment: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy
// as 1, 2, 3", SC 2011), the same function and argument order as native/core/random.h. A number is a pure function of
// (seed, stream, step, block), so a loader needs no generator state: it needs to know which step it is at.
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';

/** Which part of the data code draws: different streams never share numbers, whatever the seed. */
export const STREAM = { windows: 0x64617461, epochs: 0x65706f63, examples: 0x6578616d, task: 0x7461736b, rows: 0x726f7773 } as const;

/** High 32 bits of the 64-bit product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const cross = aHigh * bLow + ((aLow * bLow) >>> 16);
  const middle = aLow * bHigh + (cross % 0x10000);
  return (aHigh * bHigh + Math.floor(cross / 0x10000) + Math.floor(middle / 0x10000)) >>> 0;
}

/**
 * Philox4x32-10 on raw words: writes four unsigned 32-bit numbers to `out`.
 * `c0..c3` is the counter, `k0, k1` the key; all are read as unsigned 32-bit words.
 */
export function philox4x32(out: Uint32Array, c0: number, c1: number, c2: number, c3: number, k0: number, k1: number): void {
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0 >>> 0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2 >>> 0);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** Checks a seed (a safe integer of at least 0) and splits it into its low and high 32 bits. */
export function seedWords(what: string, seed: number): [low: number, high: number] {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ArgumentError(`${what}: seed must be an integer from 0 to 2^53-1, got ${show(seed)}`);
  return [(seed % 0x100000000) >>> 0, Math.floor(seed / 0x100000000)];
}

/** Counter-based random numbers of one (seed, stream). Holds no position: equal arguments give equal numbers, in any order. */
export class Random {
  readonly #low: number;
  readonly #high: number;
  readonly #stream: number;
  readonly #words = new Uint32Array(4);

  constructor(seed: number, stream: number) {
    [this.#low, this.#high] = seedWords('Random', seed);
    this.#stream = stream;
  }

  /** [0, 1) with 53 bits, for the place (step, index); `step` and `index` are integers of at least 0, below 2^32 and 2^53. */
  uniform(step: number, index: number): number {
    philox4x32(this.#words, index, Math.floor(index / 0x100000000), this.#stream, step, this.#low, this.#high);
    const [a, b] = this.#words as unknown as [number, number];
    return ((a >>> 5) * 0x4000000 + (b >>> 6)) / 0x20000000000000;
  }

  /** An integer from 0 to bound-1 for the place (step, index). The bias is below bound / 2^53. */
  below(bound: number, step: number, index: number): number {
    return Math.floor(this.uniform(step, index) * bound);
  }
}

/** murmur3's finaliser: every input bit reaches every output bit. */
function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const ROUNDS = 8;

/**
 * A pseudo-random order of 0..size-1 that needs no array: a Feistel network over the next even power of two, walked until it
 * lands inside (under four rounds of walking on average). Keyed by (seed, stream, epoch).
 */
export class Permutation {
  readonly size: number;
  readonly #half: number;
  readonly #keys = new Uint32Array(ROUNDS);

  /** @throws ArgumentError when size is not an integer from 1 to 2^52. */
  constructor(size: number, seed: number, stream: number, epoch: number) {
    if (!Number.isInteger(size) || size < 1 || size > 2 ** 52) {
      throw new ArgumentError(`Permutation: size must be an integer from 1 to 2^52, got ${size}`);
    }
    const [low, high] = seedWords('Permutation', seed);
    this.size = size;
    let bits = 1;
    while (4 ** bits < size) bits++;
    this.#half = 2 ** bits;
    const words = new Uint32Array(4);
    for (let block = 0; block < ROUNDS / 4; block++) {
      philox4x32(words, block, 0, stream, epoch, low, high);
      this.#keys.set(words, block * 4);
    }
  }

  /** What stands at `position` (0..size-1) of the order. Each number comes exactly once. */
  at(position: number): number {
    if (!(position >= 0 && position < this.size)) {
      throw new ArgumentError(`Permutation: position must be from 0 to ${this.size - 1}, got ${position}`);
    }
    let value = position;
    do value = this.#encrypt(value);
    while (value >= this.size);
    return value;
  }

  #encrypt(value: number): number {
    const half = this.#half;
    let left = Math.floor(value / half);
    let right = value % half;
    for (let round = 0; round < ROUNDS; round++) {
      const next = (left ^ mix(right ^ (this.#keys[round] as number))) & (half - 1);
      left = right;
      right = next;
    }
    return left * half + right;
  }
}
