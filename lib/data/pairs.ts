// Sources and targets for an encoder and a decoder.
import { ArgumentError } from '../util/errors.ts';
import { IGNORE } from './loader.ts';

/** Token ids of a text and of what it is to become. */
export interface TokenPair {
  readonly source: ArrayLike<number>;
  readonly target: ArrayLike<number>;
}

/** B pairs, padded to the longest source (Ts) and the longest target (Tt, one more for its end). */
export interface PairBatch {
  readonly rows: number;
  readonly sourceLength: number;
  readonly targetLength: number;
  /** (B, Ts). */
  readonly source: Int32Array;
  /** (B, Ts): 0 for tokens, 1 for padding. */
  readonly padding: Int32Array;
  /** (B, Tt): `begin` and the target. */
  readonly inputs: Int32Array;
  /** (B, Tt): the target and `end`; -100 behind it. */
  readonly targets: Int32Array;
  readonly targetCount: number;
}

/** @throws ArgumentError for no pairs, or an empty source */
export function pairBatch(pairs: readonly TokenPair[], { begin, end }: { begin: number; end: number }): PairBatch {
  if (pairs.length === 0) throw new ArgumentError('pairBatch: pairs must be at least one, got none');
  const empty = pairs.findIndex(({ source }) => source.length === 0);
  if (empty >= 0) throw new ArgumentError(`pairBatch: pairs[${empty}].source must not be empty`);
  const rows = pairs.length;
  const sourceLength = Math.max(...pairs.map(({ source }) => source.length));
  const targetLength = Math.max(...pairs.map(({ target }) => target.length)) + 1;
  const source = new Int32Array(rows * sourceLength);
  const padding = new Int32Array(rows * sourceLength).fill(1);
  const inputs = new Int32Array(rows * targetLength);
  const targets = new Int32Array(rows * targetLength).fill(IGNORE);
  for (const [i, pair] of pairs.entries()) {
    source.set(Array.from(pair.source), i * sourceLength);
    padding.fill(0, i * sourceLength, i * sourceLength + pair.source.length);
    inputs.set([begin, ...Array.from(pair.target)], i * targetLength);
    targets.set([...Array.from(pair.target), end], i * targetLength);
  }
  const targetCount = pairs.reduce((n, { target }) => n + target.length + 1, 0);
  return { rows, sourceLength, targetLength, source, padding, inputs, targets, targetCount };
}
