/** A merge list by columns: rank k joins `left[k]` and `right[k]` to `merged[k]`; the lowest rank goes first. */
export interface MergeList {
  readonly left: Uint32Array;
  readonly right: Uint32Array;
  readonly merged: Uint32Array;
}

const NO_RANK = 0x7fffffff;
// Up to this many symbols, scanning for the lowest rank beats keeping a heap.
const SCAN_LIMIT = 100;

/** Applies a merge list to one piece of text: always the lowest rank next, the leftmost of equals. */
export class Merger {
  readonly #merged: Uint32Array;
  /** Rank of the pair (left, right) by its hash: slots of left, right, rank. */
  readonly #slots: Int32Array;
  readonly #mask: number;
  // Scratch for one piece: ids and the rank of the pair that starts at each.
  readonly #ids = new Int32Array(SCAN_LIMIT + 1);
  readonly #ranks = new Int32Array(SCAN_LIMIT + 1);

  constructor(merges: MergeList) {
    const count = merges.left.length;
    let size = 16;
    while (size < 3 * count) size *= 2;
    this.#merged = merges.merged;
    this.#mask = size - 1;
    this.#slots = new Int32Array(size * 3).fill(-1);
    for (let rank = 0; rank < count; rank++) {
      const left = merges.left[rank] as number;
      const right = merges.right[rank] as number;
      let slot = hashPair(left, right) & this.#mask;
      while (this.#slots[3 * slot] !== -1) slot = (slot + 1) & this.#mask;
      this.#slots[3 * slot] = left;
      this.#slots[3 * slot + 1] = right;
      this.#slots[3 * slot + 2] = rank;
    }
  }

  /** Writes the ids of `symbols[0, count)` after merging to `out` from `at` on and returns how many there are. */
  apply(symbols: Uint32Array, count: number, out: Uint32Array, at: number): number {
    return count <= SCAN_LIMIT ? this.#scan(symbols, count, out, at) : this.#queue(symbols, count, out, at);
  }

  #rank(left: number, right: number): number {
    const slots = this.#slots;
    let slot = hashPair(left, right) & this.#mask;
    for (;;) {
      const key = slots[3 * slot] as number;
      if (key === left && slots[3 * slot + 1] === right) return slots[3 * slot + 2] as number;
      if (key === -1) return NO_RANK;
      slot = (slot + 1) & this.#mask;
    }
  }

  #scan(symbols: Uint32Array, count: number, out: Uint32Array, at: number): number {
    const ids = this.#ids;
    const ranks = this.#ranks;
    let n = count;
    for (let i = 0; i < n; i++) ids[i] = symbols[i] as number;
    for (let i = 0; i + 1 < n; i++) ranks[i] = this.#rank(ids[i] as number, ids[i + 1] as number);
    while (n > 1) {
      let lowest = NO_RANK;
      let where = -1;
      for (let i = 0; i < n - 1; i++) {
        const rank = ranks[i] as number;
        if (rank < lowest) {
          lowest = rank;
          where = i;
        }
      }
      if (where < 0) break;
      ids[where] = this.#merged[lowest] as number;
      n--;
      for (let i = where + 1; i < n; i++) {
        ids[i] = ids[i + 1] as number;
        ranks[i] = ranks[i + 1] as number;
      }
      if (where + 1 < n) ranks[where] = this.#rank(ids[where] as number, ids[where + 1] as number);
      if (where > 0) ranks[where - 1] = this.#rank(ids[where - 1] as number, ids[where] as number);
    }
    for (let i = 0; i < n; i++) out[at + i] = ids[i] as number;
    return n;
  }

  /** The same in n·log n steps: a linked list of symbols and a heap of rank and position. */
  #queue(symbols: Uint32Array, count: number, out: Uint32Array, at: number): number {
    const ids = Int32Array.from(symbols.subarray(0, count));
    const ranks = new Int32Array(count).fill(NO_RANK);
    const previous = new Int32Array(count);
    const next = new Int32Array(count);
    const heap = new NumberHeap(count);
    const offer = (i: number): void => {
      const j = next[i] as number;
      const rank = j < count ? this.#rank(ids[i] as number, ids[j] as number) : NO_RANK;
      ranks[i] = rank;
      // Rank first, then position, in one exact number: ranks are below 2^21, positions below 2^32.
      if (rank !== NO_RANK) heap.push(rank * 2 ** 32 + i);
    };
    for (let i = 0; i < count; i++) {
      previous[i] = i - 1;
      next[i] = i + 1;
    }
    for (let i = 0; i < count; i++) offer(i);
    for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
      const rank = Math.floor(key / 2 ** 32);
      const i = key - rank * 2 ** 32;
      // The pair has changed since it was offered.
      if (ranks[i] !== rank) continue;
      const j = next[i] as number;
      const after = next[j] as number;
      ids[i] = this.#merged[rank] as number;
      ranks[j] = NO_RANK;
      next[i] = after;
      if (after < count) previous[after] = i;
      offer(i);
      const before = previous[i] as number;
      if (before >= 0) offer(before);
    }
    let n = 0;
    for (let i = 0; i < count; i = next[i] as number) out[at + n++] = ids[i] as number;
    return n;
  }
}

/** Hash of a pair of ids: odd multipliers spread both over all bits, the shift brings the high ones down. */
export function hashPair(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77);
  return mixed ^ (mixed >>> 15);
}

/** A binary heap of numbers, lowest first. */
class NumberHeap {
  #keys: Float64Array<ArrayBuffer>;
  #size = 0;

  constructor(capacity: number) {
    this.#keys = new Float64Array(capacity);
  }

  push(key: number): void {
    if (this.#size === this.#keys.length) {
      const bigger = new Float64Array(this.#size * 2);
      bigger.set(this.#keys);
      this.#keys = bigger;
    }
    const keys = this.#keys;
    let i = this.#size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if ((keys[parent] as number) <= key) break;
      keys[i] = keys[parent] as number;
      i = parent;
    }
    keys[i] = key;
  }

  pop(): number | undefined {
    if (this.#size === 0) return undefined;
    const keys = this.#keys;
    const top = keys[0] as number;
    const size = --this.#size;
    const key = keys[size] as number;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && (keys[child + 1] as number) < (keys[child] as number)) child++;
      if ((keys[child] as number) >= key) break;
      keys[i] = keys[child] as number;
      i = child;
    }
    keys[i] = key;
    return top;
  }
}
