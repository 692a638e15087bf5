// Documents that belong together, a row for each: a text to classify, the answers to choose from, a chosen and a rejected one.
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { type Batch, checkPositive, IGNORE } from './loader.ts';
import { Permutation, STREAM, seedWords } from './rng.ts';
import type { TokenData } from './tokens.ts';

/** Rows of whole groups, each row a document and padding behind it, which attention does not reach. */
export interface GroupsBatch extends Batch {
  /** The number of each group; its documents are consecutive rows. */
  groups: Int32Array;
  /** (B): the place of each row's last input among all B · T places. */
  ends: Int32Array;
}

export interface GroupsLoaderOptions {
  /** Documents of a group. */
  size: number;
  /** Groups of a batch. */
  batch: number;
  /** Most tokens of a row. A batch is as long as its longest document. */
  length: number;
  seed?: number;
  /** What happens to documents of more than length + 1 tokens: an error (default), or their beginning is cut off. */
  tooLong?: 'error' | 'truncate';
  /** Every group comes once, in order; the last batch may have fewer. */
  once?: boolean;
}

export interface GroupsState {
  seed: number;
  epoch: number;
  position: number;
  tokens: number;
}

/**
 * Batches of groups, without end; each comes once per epoch, shuffled by (seed, epoch). A document of n tokens has n - 1 inputs, 0..n-2, and
 * as targets the tokens 1..n-1 that are learned.
 */
export class GroupsLoader {
  readonly #data: TokenData;
  readonly #options: Required<Omit<GroupsLoaderOptions, 'seed' | 'tooLong'>>;
  readonly #count: number;
  #seed: number;
  #epoch = 0;
  #position = 0;
  #order: Permutation;

  constructor(data: TokenData, { size, batch, length, seed = 0, tooLong = 'error', once = false }: GroupsLoaderOptions) {
    for (const [name, value] of Object.entries({ size, batch, length })) checkPositive('GroupsLoader', name, value);
    seedWords('GroupsLoader', seed);
    if (data.documents === 0 || data.documents % size !== 0)
      throw new ArgumentError(`GroupsLoader: data must hold documents in groups of ${size}, got ${data.documents}`);
    const sizes = Array.from({ length: data.documents }, (_, i) => data.documentStart(i + 1) - data.documentStart(i));
    const over = sizes.filter((n) => n > length + 1).length;
    if (over > 0 && tooLong === 'error')
      throw new ArgumentError(
        `GroupsLoader: documents must have at most length + 1 = ${length + 1} tokens, got ${over} longer ones (up to ${Math.max(...sizes)})`,
        { hint: "Raise the length, or set tooLong to 'truncate'." },
      );
    const short = sizes.findIndex((n) => n < 2);
    if (short >= 0) throw new ArgumentError(`GroupsLoader: documents must have at least 2 tokens, got ${sizes[short]} in number ${short}`);
    this.#data = data;
    this.#options = { size, batch, length, once };
    this.#count = data.documents / size;
    this.#seed = seed;
    this.#order = new Permutation(this.#count, seed, STREAM.examples, 0);
  }

  /** Passes over the groups so far, as a fraction. */
  get epoch(): number {
    return this.#epoch + this.#position / this.#count;
  }

  next(): GroupsBatch {
    const { size, batch, once } = this.#options;
    const groups: number[] = [];
    while (groups.length < batch && !(once && this.#epoch > 0)) {
      groups.push(once ? this.#position : this.#order.at(this.#position));
      this.#advance();
    }
    return this.#fill(
      groups,
      groups.flatMap((group) => Array.from({ length: size }, (_, k) => group * size + k)),
    );
  }

  #fill(groups: readonly number[], documents: readonly number[]): GroupsBatch {
    const { length: most } = this.#options;
    const sizeOf = (d: number): number => this.#data.documentStart(d + 1) - this.#data.documentStart(d);
    const length = Math.min(most, Math.max(...documents.map(sizeOf)) - 1);
    const rows = documents.length;
    const batch: GroupsBatch = {
      ...{ rows, length, targetCount: 0, groups: Int32Array.from(groups), ends: new Int32Array(rows) },
      inputs: new Int32Array(rows * length),
      targets: new Int32Array(rows * length).fill(IGNORE),
    };
    const [tokens, mask] = [new Int32Array(length + 1), new Uint8Array(length + 1)];
    for (const [row, d] of documents.entries()) {
      const n = Math.min(sizeOf(d), length + 1);
      const from = this.#data.documentStart(d + 1) - n;
      this.#data.read(from, n, tokens, 0);
      this.#data.readMask(from, n, mask, 0);
      for (let i = 0; i < n - 1; i++) {
        batch.inputs[row * length + i] = tokens[i] as number;
        if (mask[i + 1] !== 1) continue;
        batch.targets[row * length + i] = tokens[i + 1] as number;
        batch.targetCount++;
      }
      batch.ends[row] = row * length + n - 2;
    }
    return batch;
  }

  #advance(): void {
    this.#position++;
    if (this.#position < this.#count) return;
    this.#position = 0;
    this.#epoch++;
    this.#order = new Permutation(this.#count, this.#seed, STREAM.examples, this.#epoch);
  }

  state(): GroupsState {
    return { seed: this.#seed, epoch: this.#epoch, position: this.#position, tokens: this.#data.length };
  }

  /** @throws ArgumentError when the state is of other data. */
  restore({ seed, epoch, position, tokens }: GroupsState): void {
    if (tokens !== this.#data.length)
      throw new ArgumentError(`GroupsLoader: restored state must have tokens ${this.#data.length}, got ${show(tokens)}`);
    for (const [field, value] of Object.entries({ epoch, position }))
      if (!(Number.isSafeInteger(value) && value >= 0 && (field !== 'position' || value < this.#count)))
        throw new ArgumentError(`GroupsLoader: restored state must have a ${field} within the data, got ${show(value)}`);
    seedWords('GroupsLoader', seed);
    this.#order = new Permutation(this.#count, seed, STREAM.examples, epoch);
    [this.#seed, this.#epoch, this.#position] = [seed, epoch, position];
  }
}

/** All groups once, in order. */
export function* groupsOnce(data: TokenData, options: Omit<GroupsLoaderOptions, 'once' | 'tooLong'>): Generator<GroupsBatch> {
  const loader = new GroupsLoader(data, { ...options, tooLong: 'truncate', once: true });
  while (loader.epoch < 1) yield loader.next();
}
