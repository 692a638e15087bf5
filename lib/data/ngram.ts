// The yardstick that a small model has to beat: an interpolated byte n-gram with Witten-Bell smoothing.
//
//   p(b | h) = (count(h b) + types(h) * p(b | h')) / (total(h) + types(h)),   p(b | nothing before the last level) = 1/256
//
// h is the context of up to order-1 bytes, h' the context without its first byte, total(h) how often h was followed by
// anything, types(h) by how many different bytes. A context that was never seen passes the question on to h'. The result is
// the mean of -log2 p over all bytes of the validation text; the context starts empty there and grows to order-1 bytes.
import { ArgumentError } from '../util/errors.ts';

/** Nodes of the counting tree at most: an n-gram beyond it is not counted, which leaves every distribution summing to one. */
const MAX_NODES = 2 ** 23;

/** All n-grams up to one order as a tree: a node is a byte string, its children are the bytes seen after it. */
class CountTree {
  size = 1; // node 0 is the empty string
  count = new Uint32Array(1024); // how often the string occurred after its own prefix
  total = new Uint32Array(1024); // sum of the children's counts
  types = new Uint16Array(1024); // number of children, at most 256
  #keys = new Int32Array(1024); // parent * 256 + byte of each node; 2^24 parents fit into 32 bits
  #slots = new Int32Array(4096); // open addressing: node + 1, or 0 when free
  readonly #maxNodes: number;

  constructor(maxNodes: number) {
    this.#maxNodes = maxNodes;
  }

  /** The child of `parent` for `byte`, or -1. */
  find(parent: number, byte: number): number {
    const key = (parent << 8) | byte;
    const mask = this.#slots.length - 1;
    for (let slot = Math.imul(key, 0x9e3779b1) >>> 7; ; slot++) {
      const node = (this.#slots[slot & mask] as number) - 1;
      if (node < 0 || this.#keys[node] === key) return node;
    }
  }

  /** Counts `byte` after `parent`; gives the child, or -1 when the tree is full and the child is new. */
  add(parent: number, byte: number): number {
    let node = this.find(parent, byte);
    if (node < 0) {
      if (this.size >= this.#maxNodes) return -1;
      node = this.size++;
      if (node >= this.#keys.length) this.#grow();
      this.#keys[node] = (parent << 8) | byte;
      this.#insert(node);
      this.types[parent] = (this.types[parent] as number) + 1;
    }
    this.count[node] = (this.count[node] as number) + 1;
    this.total[parent] = (this.total[parent] as number) + 1;
    return node;
  }

  #insert(node: number): void {
    const mask = this.#slots.length - 1;
    let slot = Math.imul(this.#keys[node] as number, 0x9e3779b1) >>> 7;
    while (this.#slots[slot & mask] !== 0) slot++;
    this.#slots[slot & mask] = node + 1;
  }

  #grow(): void {
    const capacity = this.#keys.length * 2;
    const copyU32 = (old: Uint32Array): Uint32Array<ArrayBuffer> => {
      const grown = new Uint32Array(capacity);
      grown.set(old);
      return grown;
    };
    this.count = copyU32(this.count);
    this.total = copyU32(this.total);
    const types = new Uint16Array(capacity);
    types.set(this.types);
    this.types = types;
    const keys = new Int32Array(capacity);
    keys.set(this.#keys);
    this.#keys = keys;
    this.#slots = new Int32Array(capacity * 2);
    for (let node = 1; node < this.size - 1; node++) this.#insert(node);
  }
}

/** Walks `bytes`, giving for each byte the nodes of its contexts of 0, 1, ... bytes (-1: never seen) before moving on. */
function walk(
  bytes: Uint8Array,
  order: number,
  visit: (byte: number, contexts: Int32Array) => void,
  next: (context: number, byte: number) => number,
): void {
  const contexts = new Int32Array(order).fill(-1);
  contexts[0] = 0;
  for (const byte of bytes) {
    visit(byte, contexts);
    for (let length = order - 1; length > 0; length--) {
      const shorter = contexts[length - 1] as number;
      contexts[length] = shorter < 0 ? -1 : next(shorter, byte);
    }
  }
}

/**
 * Bits per byte of `validation` under an interpolated byte n-gram counted on `train` (Witten-Bell; the formula is at the top
 * of lib/data/ngram.ts). `order` is n: 4 means contexts of three bytes. One tree of at most 2^23 n-grams (some 200 MB)
 * whatever the size of the text. Moby-Dick with its last tenth as validation gives 2.33 at order 4.
 * @throws ArgumentError when either text is empty or the order is not from 1 to 8.
 */
export function ngramBitsPerByte(train: Uint8Array, validation: Uint8Array, order = 4, options: { maxNodes?: number } = {}): number {
  if (!Number.isInteger(order) || order < 1 || order > 8)
    throw new ArgumentError(`ngramBitsPerByte: order must be an integer from 1 to 8, got ${order}`);
  if (train.length === 0) throw new ArgumentError('ngramBitsPerByte: train must hold at least one byte, got none');
  if (validation.length === 0) throw new ArgumentError('ngramBitsPerByte: validation must hold at least one byte, got none');
  const tree = new CountTree(Math.min(options.maxNodes ?? MAX_NODES, 2 ** 24 - 1));

  walk(
    train,
    order,
    (byte, contexts) => {
      // The longest context is the only one that `next` below does not count.
      const longest = contexts[order - 1] as number;
      if (longest >= 0) tree.add(longest, byte);
    },
    (context, byte) => tree.add(context, byte),
  );

  let bits = 0;
  walk(
    validation,
    order,
    (byte, contexts) => {
      let p = 1 / 256;
      for (let length = 0; length < order; length++) {
        const context = contexts[length] as number;
        if (context < 0) break; // a longer context cannot have been seen either
        const total = tree.total[context] as number;
        if (total === 0) break;
        const types = tree.types[context] as number;
        const child = tree.find(context, byte);
        p = ((child < 0 ? 0 : (tree.count[child] as number)) + types * p) / (total + types);
      }
      bits -= Math.log2(p);
    },
    (context, byte) => tree.find(context, byte),
  );
  return bits / validation.length;
}
