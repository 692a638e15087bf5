import type { PieceCounter } from './count.ts';
import type { MergeList } from './merge.ts';
import { PairHeap, PairTable } from './pairs.ts';
import { grown } from './pieces.ts';

/** What training finds: the merges by rank, and the bytes of every token. Ids 0–255 are the bytes themselves. */
export interface TrainedMerges {
  readonly merges: MergeList;
  readonly tokens: Uint8Array[];
}

export interface MergeTrainerOptions {
  /** Tokens to end with, the 256 bytes counted. Training ends earlier where no pair is left that is frequent enough. */
  readonly tokenCount: number;
  /** A pair that comes less often is not merged. */
  readonly minFrequency: number;
  /** Called every 256 tokens and at the end. */
  readonly onProgress: ((tokens: number, of: number) => void) | undefined;
}

// In the list of symbols: between two pieces, and in the place of a token that became the right part of another one.
const SEPARATOR = 0x7fffffff;
const DEAD = -0x80000000;

/**
 * Finds the merges of byte-level BPE. Each step joins the most frequent pair of neighbouring tokens in all pieces, ties going
 * to the lowest left id, then the lowest right id; so the result depends on nothing but the counts of the pieces. (A pair
 * counts at every place, overlapping ones too: three in "aaaa".)
 *
 * The pieces stand in one list with a place for every byte. A token's first place holds its id and its last one ~id (one place
 * holds the id alone), so that both neighbours of a pair are found at once: the next one begins where the token's length
 * ends, and the place before tells what ends there. Each pair knows its places and each step visits only those of its own
 * pair; places that have changed since are recognised and skipped.
 */
export class MergeTrainer {
  readonly #pairs = new PairTable();
  readonly #heap = new PairHeap(this.#pairs);
  readonly #tokens: Uint8Array[] = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
  /** Length of each token in bytes. */
  #lengths = new Uint32Array(256).fill(1);
  readonly #symbols: Int32Array;
  // Pieces are sorted by count, so a place's weight is that of the last group that starts at or before it.
  readonly #groupStarts: number[] = [];
  readonly #groupWeights: number[] = [];
  #places: Uint32Array<ArrayBuffer>;
  #placesUsed = 0;
  // The pairs that one step makes, and where.
  #madePairs = new Uint32Array(1 << 10);
  #madePlaces = new Uint32Array(1 << 10);
  #madeCount = 0;
  #cursors = new Uint32Array(1 << 12);
  readonly #live = new Uint32Array(256);

  constructor(counter: PieceCounter) {
    this.#symbols = this.#layOut(counter);
    this.#places = new Uint32Array(0);
    this.#countPairs();
  }

  run(options: MergeTrainerOptions): TrainedMerges {
    const left: number[] = [];
    const right: number[] = [];
    const merged: number[] = [];
    while (this.#tokens.length < options.tokenCount) {
      const pair = this.#heap.pop();
      if (pair === undefined || (this.#pairs.counts[pair] as number) < options.minFrequency) break;
      const a = this.#pairs.left[pair] as number;
      const b = this.#pairs.right[pair] as number;
      const id = this.#join(a, b);
      left.push(a);
      right.push(b);
      merged.push(id);
      this.#merge(pair, a, b, id);
      if (this.#tokens.length % 256 === 0) options.onProgress?.(this.#tokens.length, options.tokenCount);
    }
    options.onProgress?.(this.#tokens.length, options.tokenCount);
    return {
      merges: { left: Uint32Array.from(left), right: Uint32Array.from(right), merged: Uint32Array.from(merged) },
      tokens: this.#tokens,
    };
  }

  #layOut(counter: PieceCounter): Int32Array {
    const { table, counts } = counter;
    const pieces = table.size;
    const symbols = new Int32Array((pieces === 0 ? 0 : (table.offsets[pieces] as number)) + pieces + 1);
    let at = 0;
    symbols[at++] = SEPARATOR;
    for (const piece of counter.byCount()) {
      const weight = counts[piece] as number;
      if (weight !== this.#groupWeights.at(-1)) {
        this.#groupStarts.push(at);
        this.#groupWeights.push(weight);
      }
      const end = table.offsets[piece + 1] as number;
      for (let i = table.offsets[piece] as number; i < end; i++) symbols[at++] = table.bytes[i] as number;
      symbols[at++] = SEPARATOR;
    }
    return symbols;
  }

  /** How often the piece that holds this place comes. */
  #weight(place: number): number {
    const starts = this.#groupStarts;
    let low = 0;
    let high = starts.length - 1;
    // Most places of a large text lie in the last group: pieces that come once.
    if (place >= (starts[high] as number)) return this.#groupWeights[high] as number;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] as number) <= place) low = middle;
      else high = middle - 1;
    }
    return this.#groupWeights[low] as number;
  }

  /** Counts the pairs of bytes and lists their places, by a counting sort. */
  #countPairs(): void {
    const symbols = this.#symbols;
    const pairs = this.#pairs;
    let total = 0;
    let group = 0;
    for (let at = 1; at + 1 < symbols.length; at++) {
      if (symbols[at] === SEPARATOR || symbols[at + 1] === SEPARATOR) continue;
      while (group + 1 < this.#groupStarts.length && (this.#groupStarts[group + 1] as number) <= at) group++;
      const pair = pairs.index(symbols[at] as number, symbols[at + 1] as number);
      pairs.counts[pair] = (pairs.counts[pair] as number) + (this.#groupWeights[group] as number);
      pairs.placeCount[pair] = (pairs.placeCount[pair] as number) + 1;
      total++;
    }
    this.#places = new Uint32Array(total);
    this.#placesUsed = total;
    this.#cursors = grown(this.#cursors, pairs.size);
    let start = 0;
    for (let pair = 0; pair < pairs.size; pair++) {
      pairs.placeStart[pair] = start;
      this.#cursors[pair] = start;
      start += pairs.placeCount[pair] as number;
    }
    for (let at = 1; at + 1 < symbols.length; at++) {
      if (symbols[at] === SEPARATOR || symbols[at + 1] === SEPARATOR) continue;
      const pair = pairs.index(symbols[at] as number, symbols[at + 1] as number);
      this.#places[this.#cursors[pair] as number] = at;
      this.#cursors[pair] = (this.#cursors[pair] as number) + 1;
    }
    for (let pair = 0; pair < pairs.size; pair++) this.#heap.push(pair);
  }

  /**
   * A new token of the two. No token has these bytes yet: as no merge ever reached over its ends, a stretch that is joined
   * into one token was joined in one and the same order everywhere. For the same reason all places of a pair come to exist in
   * one step, that of the younger of its tokens.
   */
  #join(left: number, right: number): number {
    const a = this.#tokens[left] as Uint8Array;
    const b = this.#tokens[right] as Uint8Array;
    const bytes = new Uint8Array(a.length + b.length);
    bytes.set(a);
    bytes.set(b, a.length);
    const id = this.#tokens.length;
    this.#tokens.push(bytes);
    this.#lengths = grown(this.#lengths, id + 1);
    this.#lengths[id] = bytes.length;
    return id;
  }

  #merge(pair: number, left: number, right: number, merged: number): void {
    const symbols = this.#symbols;
    this.#madeCount = 0;
    const places = this.#placesOf(pair);
    const live = this.#live;
    for (let first = 0; first < places.length; first += live.length) {
      // The places lie far apart in memory. A first pass without branches, which keeps those that still begin with the left
      // token, lets the processor wait for many of them at once; the second pass then finds them in its cache.
      const last = Math.min(first + live.length, places.length);
      let count = 0;
      for (let k = first; k < last; k++) {
        const at = places[k] as number;
        const difference = (symbols[at] as number) ^ left;
        live[count] = at;
        count += 1 + ((difference | -difference) >> 31);
      }
      for (let k = 0; k < count; k++) this.#mergeAt(live[k] as number, left, right, merged);
    }
    // Overlapping places ("aaa") were lost one by one; the pair itself is gone.
    this.#pairs.counts[pair] = 0;
    this.#listMade();
  }

  #mergeAt(at: number, left: number, right: number, merged: number): void {
    const symbols = this.#symbols;
    const lengths = this.#lengths;
    const middle = at + (lengths[left] as number);
    if (symbols[at] !== left || symbols[middle] !== right) return;
    const weight = this.#weight(at);
    const end = middle + (lengths[right] as number);
    const next = symbols[end] as number;
    if (next !== SEPARATOR) {
      this.#lose(right, next, weight);
      this.#make(merged, next, at, weight);
    }
    const ending = symbols[at - 1] as number;
    if (ending !== SEPARATOR) {
      const previous = ending < 0 ? ~ending : ending;
      this.#lose(previous, left, weight);
      this.#make(previous, merged, at - (lengths[previous] as number), weight);
    }
    symbols[middle] = DEAD;
    symbols[at] = merged;
    symbols[end - 1] = ~merged;
  }

  /** Room for more places. What merged pairs have left behind is given up first: a large text leaves gigabytes of it. */
  #makeRoom(more: number): void {
    if (this.#placesUsed + more <= this.#places.length) return;
    const pairs = this.#pairs;
    let kept = 0;
    for (let pair = 0; pair < pairs.size; pair++) {
      if ((pairs.counts[pair] as number) > 0) kept += pairs.placeCount[pair] as number;
    }
    const places = new Uint32Array(Math.ceil((kept + more) * 1.5));
    let used = 0;
    for (let pair = 0; pair < pairs.size; pair++) {
      const list = this.#placesOf(pair);
      if ((pairs.counts[pair] as number) <= 0) continue;
      places.set(list, used);
      pairs.placeStart[pair] = used;
      pairs.placeCount[pair] = list.length;
      used += list.length;
    }
    this.#places = places;
    this.#placesUsed = used;
  }

  /** Places of a pair in ascending order, so that runs like "aaaa" are joined from the left. They are not needed again. */
  #placesOf(pair: number): Uint32Array {
    const start = this.#pairs.placeStart[pair] as number;
    const places = this.#places.subarray(start, start + (this.#pairs.placeCount[pair] as number));
    this.#pairs.placeCount[pair] = 0;
    return places;
  }

  #lose(left: number, right: number, weight: number): void {
    const pair = this.#pairs.index(left, right);
    this.#pairs.counts[pair] = (this.#pairs.counts[pair] as number) - weight;
  }

  #make(left: number, right: number, at: number, weight: number): void {
    const pair = this.#pairs.index(left, right);
    this.#pairs.counts[pair] = (this.#pairs.counts[pair] as number) + weight;
    const k = this.#madeCount++;
    this.#madePairs = grown(this.#madePairs, k + 1);
    this.#madePlaces = grown(this.#madePlaces, k + 1);
    this.#madePairs[k] = pair;
    this.#madePlaces[k] = at;
  }

  /** Appends the places that a step made to the list, grouped by pair, and offers the pairs to the heap. */
  #listMade(): void {
    const pairs = this.#pairs;
    const made = this.#madeCount;
    this.#cursors = grown(this.#cursors, pairs.size);
    const cursors = this.#cursors;
    const touched: number[] = [];
    // `cursors` first counts the places of each pair, then runs through them. It is 0 between steps' pairs by this reset.
    for (let k = 0; k < made; k++) cursors[this.#madePairs[k] as number] = 0;
    for (let k = 0; k < made; k++) {
      const pair = this.#madePairs[k] as number;
      if (cursors[pair] === 0) touched.push(pair);
      cursors[pair] = (cursors[pair] as number) + 1;
    }
    this.#makeRoom(made);
    let start = this.#placesUsed;
    for (const pair of touched) {
      const count = cursors[pair] as number;
      pairs.placeStart[pair] = start;
      pairs.placeCount[pair] = count;
      cursors[pair] = start;
      start += count;
    }
    this.#placesUsed = start;
    for (let k = 0; k < made; k++) {
      const pair = this.#madePairs[k] as number;
      this.#places[cursors[pair] as number] = this.#madePlaces[k] as number;
      cursors[pair] = (cursors[pair] as number) + 1;
    }
    for (const pair of touched) this.#heap.push(pair);
  }
}
