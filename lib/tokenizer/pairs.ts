import { hashPair } from './merge.ts';
import { grown } from './pieces.ts';

/** Numbers pairs of token ids 0, 1, 2, … as they come, and keeps a count and the places of each. */
export class PairTable {
  size = 0;
  left = new Uint32Array(1 << 12);
  right = new Uint32Array(1 << 12);
  counts = new Float64Array(1 << 12);
  /** The places of pair k are `placeCount[k]` entries of the trainer's list from `placeStart[k]` on. */
  placeStart = new Uint32Array(1 << 12);
  placeCount = new Uint32Array(1 << 12);
  // Slots of left, right, number plus one (0: free) and an unused place: a look-up touches one line of the cache.
  #slots = new Uint32Array(4 << 13);
  #mask = (1 << 13) - 1;

  /** Number of a pair; it gets one if it has none. */
  index(left: number, right: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    let slot = hashPair(left, right) & mask;
    for (;;) {
      const entry = slots[4 * slot + 2] as number;
      if (entry === 0) return this.#add(left, right, slot);
      if (slots[4 * slot] === left && slots[4 * slot + 1] === right) return entry - 1;
      slot = (slot + 1) & mask;
    }
  }

  #add(left: number, right: number, slot: number): number {
    const pair = this.size++;
    if (pair >= this.left.length) this.#grow(pair + 1);
    this.left[pair] = left;
    this.right[pair] = right;
    this.#fill(slot, pair);
    if (this.size * 2 > this.#mask) this.#rehash();
    return pair;
  }

  #fill(slot: number, pair: number): void {
    this.#slots[4 * slot] = this.left[pair] as number;
    this.#slots[4 * slot + 1] = this.right[pair] as number;
    this.#slots[4 * slot + 2] = pair + 1;
  }

  #grow(length: number): void {
    this.left = grown(this.left, length);
    this.right = grown(this.right, length);
    this.counts = grown(this.counts, length);
    this.placeStart = grown(this.placeStart, length);
    this.placeCount = grown(this.placeCount, length);
  }

  #rehash(): void {
    this.#mask = this.#mask * 2 + 1;
    this.#slots = new Uint32Array(4 * (this.#mask + 1));
    for (let pair = 0; pair < this.size; pair++) {
      let slot = hashPair(this.left[pair] as number, this.right[pair] as number) & this.#mask;
      while (this.#slots[4 * slot + 2] !== 0) slot = (slot + 1) & this.#mask;
      this.#fill(slot, pair);
    }
  }
}

/**
 * The most frequent pair; of equals the one with the lowest left id, then the lowest right id. Counts may fall after a pair
 * was pushed: `pop` notices and puts the pair back with the count it has now.
 */
export class PairHeap {
  readonly #pairs: PairTable;
  #counts = new Float64Array(1 << 12);
  #indices = new Uint32Array(1 << 12);
  #size = 0;

  constructor(pairs: PairTable) {
    this.#pairs = pairs;
  }

  push(pair: number): void {
    const count = this.#pairs.counts[pair] as number;
    if (count <= 0) return;
    this.#counts = grown(this.#counts, this.#size + 1);
    this.#indices = grown(this.#indices, this.#size + 1);
    let i = this.#size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.#before(count, pair, parent)) break;
      this.#move(parent, i);
      i = parent;
    }
    this.#counts[i] = count;
    this.#indices[i] = pair;
  }

  pop(): number | undefined {
    for (;;) {
      if (this.#size === 0) return undefined;
      const pair = this.#indices[0] as number;
      const count = this.#counts[0] as number;
      this.#removeTop();
      if (count === this.#pairs.counts[pair]) return pair;
      this.push(pair);
    }
  }

  #removeTop(): void {
    const size = --this.#size;
    const count = this.#counts[size] as number;
    const pair = this.#indices[size] as number;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#before(this.#counts[child + 1] as number, this.#indices[child + 1] as number, child)) child++;
      if (this.#before(count, pair, child)) break;
      this.#move(child, i);
      i = child;
    }
    this.#counts[i] = count;
    this.#indices[i] = pair;
  }

  #move(from: number, to: number): void {
    this.#counts[to] = this.#counts[from] as number;
    this.#indices[to] = this.#indices[from] as number;
  }

  /** Whether a pair with this count goes before the entry at `other`. */
  #before(count: number, pair: number, other: number): boolean {
    const otherCount = this.#counts[other] as number;
    if (count !== otherCount) return count > otherCount;
    const { left, right } = this.#pairs;
    const otherPair = this.#indices[other] as number;
    if (left[pair] !== left[otherPair]) return (left[pair] as number) < (left[otherPair] as number);
    return (right[pair] as number) < (right[otherPair] as number);
  }
}
