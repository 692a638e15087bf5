// What the loaders read: a long row of tokens with documents in it, wherever it lies.
import { ArgumentError } from '../util/errors.ts';

/**
 * A row of tokens, read by position. What is behind it is the implementation's affair: typed arrays or positional file reads.
 *
 * Documents follow each other without gaps. A text document begins with the end-of-text token where the tokenizer has one (so
 * that its first word is predicted from "a document begins", and its end is the token that begins the next); an example is
 * its prompt, its completion and the end-of-text token.
 */
export interface TokenData {
  /** Number of tokens. */
  readonly length: number;
  /** Number of documents. */
  readonly documents: number;
  readonly vocabSize: number;
  readonly endOfText: number | undefined;
  /** True if some tokens carry no loss. */
  readonly masked: boolean;
  /** Copies tokens start .. start+count-1 to `out` from `at` on. */
  read(start: number, count: number, out: Int32Array, at: number): void;
  /** The same for the mask: 1 where the token is to be predicted, 0 where it is not (prompts). All ones if not `masked`. */
  readMask(start: number, count: number, out: Uint8Array, at: number): void;
  /** Position at which document `index` begins; `documentStart(documents)` is `length`. */
  documentStart(index: number): number;
}

/** The document that holds `position`: the last one that begins at or before it. */
export function documentAt(data: TokenData, position: number): number {
  let low = 0;
  let high = data.documents - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (data.documentStart(middle) <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Checks a range of a read. */
export function checkRange(what: string, length: number, start: number, count: number): void {
  if (!(Number.isInteger(start) && Number.isInteger(count) && start >= 0 && count >= 0 && start + count <= length)) {
    throw new ArgumentError(`${what}: start and count must stay within ${length} tokens, got start ${start}, count ${count}`);
  }
}

/** Tokens in memory. */
export class MemoryTokens implements TokenData {
  readonly length: number;
  readonly documents: number;
  readonly vocabSize: number;
  readonly endOfText: number | undefined;
  readonly masked: boolean;
  readonly #tokens: ArrayLike<number>;
  readonly #mask: Uint8Array | undefined;
  readonly #starts: ArrayLike<number>;

  /** `starts` are the positions at which documents begin, ascending from 0; without it all tokens are one document. */
  constructor(options: {
    tokens: ArrayLike<number>;
    vocabSize: number;
    endOfText?: number | undefined;
    mask?: Uint8Array;
    starts?: ArrayLike<number>;
  }) {
    const { tokens, mask, starts = [0] } = options;
    if (mask !== undefined && mask.length !== tokens.length) {
      throw new ArgumentError(`MemoryTokens: mask must have ${tokens.length} elements as tokens has, got ${mask.length}`);
    }
    for (let i = 0; i < starts.length; i++) {
      if (
        !((starts[i] as number) >= (i === 0 ? 0 : (starts[i - 1] as number) + 1) && (starts[i] as number) < tokens.length) ||
        (i === 0 && starts[0] !== 0)
      ) {
        throw new ArgumentError(`MemoryTokens: starts must ascend from 0 and stay below ${tokens.length}, got starts[${i}] = ${starts[i]}`);
      }
    }
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i] as number;
      if (!(Number.isInteger(token) && token >= 0 && token < options.vocabSize)) {
        throw new ArgumentError(`MemoryTokens: tokens[${i}] must be an id below ${options.vocabSize}, got ${token}`);
      }
    }
    this.length = tokens.length;
    this.documents = starts.length;
    this.vocabSize = options.vocabSize;
    this.endOfText = options.endOfText;
    this.masked = mask !== undefined;
    this.#tokens = tokens;
    this.#mask = mask;
    this.#starts = starts;
  }

  read(start: number, count: number, out: Int32Array, at: number): void {
    checkRange('MemoryTokens', this.length, start, count);
    for (let i = 0; i < count; i++) out[at + i] = this.#tokens[start + i] as number;
  }

  readMask(start: number, count: number, out: Uint8Array, at: number): void {
    checkRange('MemoryTokens', this.length, start, count);
    if (this.#mask === undefined) out.fill(1, at, at + count);
    else out.set(this.#mask.subarray(start, start + count), at);
  }

  documentStart(index: number): number {
    return index >= this.documents ? this.length : (this.#starts[index] as number);
  }
}
