// Rows of tokens for training and evaluation. What a step gets is a pure function of (data, seed, step): the loader's state is
// a few numbers, and a resumed run goes on with the batch that the stopped one would have had next.
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { Permutation, Random, STREAM, seedWords } from './rng.ts';
import { type SlidingWindow, slidingWindows } from './sliding.ts';
import { documentAt, type TokenData } from './tokens.ts';

/** The target that stands for "no loss here". */
export const IGNORE = -100;

/** B rows of T tokens, each row after the other. */
export interface Batch {
  /** B, including rows that are only padding. */
  rows: number;
  /** T. */
  length: number;
  /** (B, T) token ids. */
  inputs: Int32Array;
  /** (B, T) the token after each input; -100 where there is no loss. */
  targets: Int32Array;
  /** (B, T) number of the document within its row, from 0 and ascending: attention stays within equal numbers. */
  documents?: Int32Array;
  /** (B, T) position within the document, from 0; comes with packed examples. */
  positions?: Int32Array;
  /** Targets that are not -100. */
  targetCount: number;
}

/** Where a loader stands; JSON-safe. `tokens` and the shape are there to notice that something else was loaded. */
export interface LoaderState {
  seed: number;
  /** Batches given so far. */
  step: number;
  batch: number;
  length: number;
  tokens: number;
}

export interface LoaderOptions {
  /** B: rows of a batch. */
  batch: number;
  /** T: tokens of a row. */
  length: number;
  /**
   * 'random': every row begins at a random token (nanoGPT). 'epoch': the text is cut into windows of T tokens, and each comes
   * once per epoch, in an order shuffled by (seed, epoch); the last fewer than T tokens are left out.
   */
  sampling?: 'random' | 'epoch';
  seed?: number;
  /** Adds document numbers to the batches, and drops targets that lie in the next document (but for an end-of-text token). */
  documents?: boolean;
  /** Part `rank` of `count` equal parts of each batch, for data-parallel training: B is the rows of this part. */
  part?: { rank: number; count: number };
}

/** @throws ArgumentError unless `value` is a positive integer. */
export function checkPositive(what: string, name: string, value: number): void {
  if (!(Number.isSafeInteger(value) && value > 0)) throw new ArgumentError(`${what}: ${name} must be a positive integer, got ${value}`);
}

/** Fills rows of a batch from windows of the data. */
class RowReader {
  readonly #data: TokenData;
  readonly #length: number;
  readonly #withDocuments: boolean;
  readonly #tokens: Int32Array;
  readonly #mask: Uint8Array;

  constructor(data: TokenData, length: number, withDocuments: boolean) {
    this.#data = data;
    this.#length = length;
    this.#withDocuments = withDocuments;
    this.#tokens = new Int32Array(length + 1);
    this.#mask = new Uint8Array(length + 1);
  }

  emptyBatch(rows: number): Batch {
    const size = rows * this.#length;
    const batch: Batch = {
      rows,
      length: this.#length,
      inputs: new Int32Array(size),
      targets: new Int32Array(size).fill(IGNORE),
      targetCount: 0,
    };
    if (this.#withDocuments) batch.documents = new Int32Array(size);
    return batch;
  }

  /** Row `row` from token `start` on: `count` inputs (T but at the end of the data), the rest padding. */
  fill(batch: Batch, row: number, start: number, count: number): void {
    const at = row * this.#length;
    const tokens = this.#tokens;
    this.#data.read(start, count + 1, tokens, 0);
    batch.inputs.set(tokens.subarray(0, count), at);
    batch.targets.set(tokens.subarray(1, count + 1), at);
    let targets = count;
    if (this.#data.masked) {
      this.#data.readMask(start, count + 1, this.#mask, 0);
      for (let i = 0; i < count; i++) {
        if (this.#mask[i + 1] === 1) continue;
        batch.targets[at + i] = IGNORE;
        targets--;
      }
    }
    batch.targetCount += targets;
    if (batch.documents !== undefined) this.#fillDocuments(batch, batch.documents, at, start, count);
  }

  #fillDocuments(batch: Batch, documents: Int32Array, at: number, start: number, count: number): void {
    const data = this.#data;
    let document = documentAt(data, start);
    const first = document;
    let next = data.documentStart(document + 1);
    for (let i = 0; i < count; i++) {
      documents[at + i] = document - first;
      if (start + i + 1 !== next) continue;
      // The token that begins the next document says that this one ended; any other one is none of its business.
      const target = batch.targets[at + i] as number;
      if (target !== IGNORE && target !== data.endOfText) {
        batch.targets[at + i] = IGNORE;
        batch.targetCount--;
      }
      document++;
      next = data.documentStart(document + 1);
    }
    // Padding is a document of its own: nothing attends to it, and it attends to itself.
    documents.fill(document - first + 1, at + count, at + this.#length);
  }
}

/** Batches for training, without end. */
export class Loader {
  readonly #data: TokenData;
  readonly #options: { batch: number; length: number; sampling: 'random' | 'epoch'; rank: number; parts: number };
  readonly #rows: RowReader;
  #seed: number;
  #step = 0;
  #random: Random;
  #order: { epoch: number; windows: Permutation } | undefined;

  /** @throws ArgumentError for a bad option, or when the data hold fewer than T + 1 tokens. */
  constructor(data: TokenData, options: LoaderOptions) {
    const { batch, length, sampling = 'random', seed = 0, documents = false, part = { rank: 0, count: 1 } } = options;
    checkPositive('Loader', 'batch', batch);
    checkPositive('Loader', 'length', length);
    checkPositive('Loader', 'part.count', part.count);
    if (!(Number.isInteger(part.rank) && part.rank >= 0 && part.rank < part.count)) {
      throw new ArgumentError(`Loader: part.rank must be from 0 to ${part.count - 1}, got ${part.rank}`);
    }
    if (sampling !== 'random' && sampling !== 'epoch')
      throw new ArgumentError(`Loader: sampling must be 'random' or 'epoch', got ${JSON.stringify(sampling)}`);
    if (data.length < length + 1) {
      throw new ArgumentError(`Loader: length must be below the number of tokens, got length ${length} with ${data.length} tokens`, {
        hint: 'Give more text, or a shorter context.',
      });
    }
    seedWords('Loader', seed);
    this.#data = data;
    this.#options = { batch, length, sampling, rank: part.rank, parts: part.count };
    this.#rows = new RowReader(data, length, documents);
    this.#seed = seed;
    this.#random = new Random(seed, STREAM.windows);
  }

  /** Windows of T tokens in the data: the rows of one epoch. */
  get windowsPerEpoch(): number {
    return Math.floor((this.#data.length - 1) / this.#options.length);
  }

  /** Passes over the data so far, as a fraction: rows given (by all parts) over rows of an epoch. */
  get epoch(): number {
    return (this.#step * this.#options.batch * this.#options.parts) / this.windowsPerEpoch;
  }

  /** The next batch, in arrays of its own. */
  next(): Batch {
    const { batch: rows, length, rank } = this.#options;
    const batch = this.#rows.emptyBatch(rows);
    for (let row = 0; row < rows; row++) this.#rows.fill(batch, row, this.#start(rank * rows + row), length);
    this.#step++;
    return batch;
  }

  /** First token of a row of the whole batch. */
  #start(row: number): number {
    const { batch, length, sampling, parts } = this.#options;
    if (sampling === 'random') return this.#random.below(this.#data.length - length, this.#step, row);
    const windows = this.windowsPerEpoch;
    const position = this.#step * batch * parts + row;
    const epoch = Math.floor(position / windows);
    if (this.#order?.epoch !== epoch) this.#order = { epoch, windows: new Permutation(windows, this.#seed, STREAM.epochs, epoch) };
    return this.#order.windows.at(position % windows) * length;
  }

  /** Where the loader stands: all that a checkpoint needs. */
  state(): LoaderState {
    return { seed: this.#seed, step: this.#step, batch: this.#options.batch, length: this.#options.length, tokens: this.#data.length };
  }

  /**
   * Goes on from a state: the next batch is the one that the loader of that state would have given.
   * @throws ArgumentError when the state is another shape's or other data's.
   */
  restore(state: LoaderState): void {
    const own = this.state();
    for (const field of ['batch', 'length', 'tokens'] as const) {
      if (state[field] !== own[field])
        throw new ArgumentError(`Loader: restored state must have ${field} ${own[field]}, got ${show(state[field])}`);
    }
    if (!(Number.isSafeInteger(state.step) && state.step >= 0))
      throw new ArgumentError(`Loader: restored state must have a step of at least 0, got ${show(state.step)}`);
    this.#random = new Random(state.seed, STREAM.windows);
    this.#seed = state.seed;
    this.#step = state.step;
    this.#order = undefined;
  }
}

/**
 * The whole of the data for evaluation, in order: every token but the first comes exactly once as a target (if it carries loss).
 * With a `stride` below T windows overlap, and only targets that no window before had count: see `slidingWindows`.
 * The last window is padded, and so is the last batch, to full shape: inputs 0, targets -100.
 */
export function* windows(
  data: TokenData,
  options: { batch: number; length: number; stride?: number | undefined; documents?: boolean },
): Generator<Batch> {
  const { batch: rows, length, stride = length, documents = false } = options;
  checkPositive('windows', 'batch', rows);
  checkPositive('windows', 'length', length);
  checkStride('windows', stride, length);
  if (data.length < 2) throw new ArgumentError(`windows: data must hold at least 2 tokens, got ${data.length}`);
  const reader = new RowReader(data, length, documents);
  let batch: Batch | undefined;
  let row = 0;
  for (const { start, from, end } of windowsOf(data, length, stride)) {
    batch ??= reader.emptyBatch(rows);
    reader.fill(batch, row, start, end - 1 - start);
    ignore(batch, row, from - 1 - start);
    if (++row < rows) continue;
    yield batch;
    [batch, row] = [undefined, 0];
  }
  if (batch) yield batch;
}

/** Without overlap the last window is a short one, as it always was; with it, the last one reaches back. */
function* windowsOf(data: TokenData, length: number, stride: number): Generator<SlidingWindow> {
  if (stride < length) return yield* slidingWindows(data.length, 1, length, stride);
  for (let start = 0; start < data.length - 1; start += length)
    yield { start, from: start + 1, end: Math.min(data.length, start + length + 1) };
}

/** The first `count` targets of a row were those of windows before. */
function ignore(batch: Batch, row: number, count: number): void {
  for (let at = row * batch.length; at < row * batch.length + count; at++) {
    if (batch.targets[at] === IGNORE) continue;
    batch.targets[at] = IGNORE;
    batch.targetCount--;
  }
}

function checkStride(what: string, stride: number, length: number): void {
  if (!(Number.isInteger(stride) && stride >= 1 && stride <= length))
    throw new ArgumentError(`${what}: stride must be an integer from 1 to the length of ${length} tokens, got ${stride}`);
}

/** Batches that `windows` gives. */
export function windowBatches(data: TokenData, batch: number, length: number, stride = length): number {
  return Math.ceil((1 + Math.max(0, Math.ceil((data.length - 1 - length) / stride))) / batch);
}
