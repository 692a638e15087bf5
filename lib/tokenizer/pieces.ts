/** A copy of `array` with room for at least `length` elements; the array itself if it has it. */
export function grown<A extends Uint8Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>(
  array: A,
  length: number,
): A {
  if (length <= array.length) return array;
  const bigger = new (array.constructor as new (n: number) => A)(Math.max(length, array.length * 2));
  bigger.set(array);
  return bigger;
}

/**
 * Numbers byte strings 0, 1, 2, … in the order in which they first come: a hash table over typed arrays, because a `Map`
 * would need a JavaScript string for every look-up.
 */
export class PieceTable {
  size = 0;
  /** The strings, one after the other; string k lies between offsets k and k + 1. */
  bytes = new Uint8Array(1 << 14);
  offsets = new Uint32Array(1 << 11);
  // Two numbers for each slot: the hash, and the string's number plus one (0: free).
  #slots = new Int32Array(1 << 12);
  #mask = (1 << 11) - 1;

  /** Number of the string `source[start, end)`; it is new if that equals the `size` from before the call. */
  intern(source: Uint8Array, start: number, end: number): number {
    const length = end - start;
    let hash = length;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ (source[i] as number), 0x01000193);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    hash ^= hash >>> 13;

    const slots = this.#slots;
    const mask = this.#mask;
    let slot = hash & mask;
    for (;;) {
      const entry = slots[2 * slot + 1] as number;
      if (entry === 0) break;
      if (slots[2 * slot] === hash && this.#equals(entry - 1, source, start, length)) return entry - 1;
      slot = (slot + 1) & mask;
    }
    slots[2 * slot] = hash;
    slots[2 * slot + 1] = this.size + 1;
    return this.#append(source, start, length);
  }

  clear(): void {
    this.size = 0;
    this.#slots.fill(0);
  }

  #equals(piece: number, source: Uint8Array, start: number, length: number): boolean {
    const offset = this.offsets[piece] as number;
    if ((this.offsets[piece + 1] as number) - offset !== length) return false;
    const bytes = this.bytes;
    for (let i = 0; i < length; i++) if (bytes[offset + i] !== source[start + i]) return false;
    return true;
  }

  #append(source: Uint8Array, start: number, length: number): number {
    const piece = this.size++;
    this.offsets = grown(this.offsets, piece + 2);
    const offset = this.offsets[piece] as number;
    this.bytes = grown(this.bytes, offset + length);
    for (let i = 0; i < length; i++) this.bytes[offset + i] = source[start + i] as number;
    this.offsets[piece + 1] = offset + length;
    if (this.size * 2 > this.#mask) this.#rehash();
    return piece;
  }

  #rehash(): void {
    const old = this.#slots;
    const mask = this.#mask * 2 + 1;
    const slots = new Int32Array(2 * (mask + 1));
    for (let k = 0; k < old.length; k += 2) {
      if (old[k + 1] === 0) continue;
      let slot = (old[k] as number) & mask;
      while (slots[2 * slot + 1] !== 0) slot = (slot + 1) & mask;
      slots[2 * slot] = old[k] as number;
      slots[2 * slot + 1] = old[k + 1] as number;
    }
    this.#slots = slots;
    this.#mask = mask;
  }
}
