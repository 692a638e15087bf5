// Rows of tokens that a program has in hand, as batches: what `model.fit` takes (lib/train/compile.ts).
import { ArgumentError } from '../util/errors.ts';
import { type Batch, checkPositive, IGNORE } from './loader.ts';
import { Permutation, STREAM, seedWords } from './rng.ts';

/** One row of token ids or several; rows may differ in length. */
export type TokenRows = ArrayLike<number> | readonly ArrayLike<number>[];

export interface RowsOptions {
  /** B. */
  batch: number;
  /** Most tokens of a row, T. A longer row is cut into windows, each of which begins with the last target of the one before. */
  length: number;
  vocabSize: number;
  /** Of the shape of the rows: the token that is to stand in each place, -100 where none is learned. Default: the rows themselves. */
  labels?: TokenRows;
  /** The order is drawn anew for every epoch. Default false. */
  shuffle?: boolean;
  seed?: number;
}

interface Window {
  inputs: Int32Array;
  targets: Int32Array;
}

/** One row; an empty array is no row. */
const isNumbers = (rows: TokenRows): rows is ArrayLike<number> => (rows.length > 0 ? typeof rows[0] === 'number' : !Array.isArray(rows));

function checkedRow(what: string, row: ArrayLike<number>, allowed: (id: number) => boolean, expected: string): Int32Array {
  for (let i = 0; i < row.length; i++) {
    const id = row[i] as number;
    if (!allowed(id)) throw new ArgumentError(`${what}: token ${i} must be ${expected}, got ${id}`);
  }
  return Int32Array.from(row);
}

/** Each row as windows in which a token is to be predicted from those before it: the labels are shifted by one. */
function windowsOf(what: string, rows: TokenRows, o: RowsOptions): Window[] {
  const list = isNumbers(rows) ? [rows] : rows;
  const labels = o.labels === undefined ? list : isNumbers(o.labels) ? [o.labels] : o.labels;
  if (list.length === 0) throw new ArgumentError(`${what}: there must be at least one row of tokens, got none`);
  if (labels.length !== list.length)
    throw new ArgumentError(`${what}: labels must be one row for each of the ${list.length} rows, got ${labels.length}`);
  const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < o.vocabSize;
  return list.flatMap((row, r) => {
    const label = labels[r] as ArrayLike<number>;
    if (row.length < 2)
      throw new ArgumentError(`${what}: row ${r} must be of at least 2 tokens, one to predict the other, got ${row.length}`);
    if (label.length !== row.length)
      throw new ArgumentError(`${what}: labels of row ${r} must be ${row.length} as its tokens are, got ${label.length}`);
    const ids = checkedRow(`${what}: row ${r}`, row, isId, `an id from 0 to ${o.vocabSize - 1}`);
    const wanted = checkedRow(
      `${what}: labels of row ${r}`,
      label,
      (id) => isId(id) || id === IGNORE,
      `an id from 0 to ${o.vocabSize - 1}, or ${IGNORE}`,
    );
    return Array.from({ length: Math.ceil((ids.length - 1) / o.length) }, (_, w) => {
      const [from, to] = [w * o.length, Math.min(ids.length - 1, (w + 1) * o.length)];
      return { inputs: ids.subarray(from, to), targets: wanted.subarray(from + 1, to + 1) };
    });
  });
}

/** Batches of rows, epoch after epoch. A batch is as long as its longest row; what is behind a shorter one carries no loss. */
export class RowsLoader {
  readonly #windows: readonly Window[];
  readonly #batch: number;
  readonly #seed: number;
  readonly #shuffle: boolean;
  #step = 0;

  /** `what`: who asks, for errors. */
  constructor(what: string, rows: TokenRows, options: RowsOptions) {
    checkPositive(what, 'batch', options.batch);
    checkPositive(what, 'length', options.length);
    this.#seed = options.seed ?? 0;
    seedWords(what, this.#seed);
    this.#windows = windowsOf(what, rows, options);
    if (!this.#windows.some(({ targets }) => targets.some((id) => id !== IGNORE)))
      throw new ArgumentError(`${what}: labels must leave something to learn, got ${IGNORE} in every place`);
    this.#batch = options.batch;
    this.#shuffle = options.shuffle ?? false;
  }

  /** Batches of an epoch; the last may have fewer rows. */
  get batches(): number {
    return Math.ceil(this.#windows.length / this.#batch);
  }

  get epoch(): number {
    return Math.floor(this.#step / this.batches);
  }

  state(): { step: number } {
    return { step: this.#step };
  }

  restore({ step }: { step: number }): void {
    this.#step = step;
  }

  /** The batch that `next` will give. */
  peek(): Batch {
    const first = (this.#step % this.batches) * this.#batch;
    const order = this.#shuffle ? new Permutation(this.#windows.length, this.#seed, STREAM.rows, this.epoch) : null;
    const windows = Array.from(
      { length: Math.min(this.#batch, this.#windows.length - first) },
      (_, i) => this.#windows[order ? order.at(first + i) : first + i] as Window,
    );
    const length = Math.max(...windows.map(({ inputs }) => inputs.length));
    const size = windows.length * length;
    const batch = {
      rows: windows.length,
      length,
      inputs: new Int32Array(size),
      targets: new Int32Array(size).fill(IGNORE),
      targetCount: 0,
    };
    for (const [r, { inputs, targets }] of windows.entries()) {
      batch.inputs.set(inputs, r * length);
      batch.targets.set(targets, r * length);
      batch.targetCount += targets.reduce((n, id) => n + (id === IGNORE ? 0 : 1), 0);
    }
    return batch;
  }

  next(): Batch {
    const batch = this.peek();
    this.#step++;
    return batch;
  }
}
