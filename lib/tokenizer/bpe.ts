import { ArgumentError } from '../util/errors.ts';
import { toAlphabet } from './alphabet.ts';
import { checkSpecialTokens, type IdList, ListTokenizer, numberSpecialTokens } from './base.ts';
import { PieceCounter } from './count.ts';
import { byteLevelJSON } from './json.ts';
import { type MergeList, Merger } from './merge.ts';
import { grown, PieceTable } from './pieces.ts';
import { pieceEnd } from './split.ts';
import { END_OF_TEXT } from './tokenizer.ts';
import { MergeTrainer } from './train.ts';

/** What a byte-level BPE is made of. `BPETokenizer`'s constructor takes it as it is: files are checked where they are read. */
export interface BPEParts {
  /** Bytes of each token; of special tokens, the content in UTF-8. */
  readonly tokens: readonly Uint8Array[];
  /** Id of each byte. */
  readonly byteIds: Uint32Array;
  readonly merges: MergeList;
  readonly specialTokens: ReadonlyMap<string, number>;
}

export interface BPETrainOptions {
  /** Number of ids: 256 bytes, the learnt tokens, the special tokens. Fewer come out where the text has no more pairs to merge. */
  vocabSize: number;
  /** Contents of the special tokens, which get the last ids; `['<|endoftext|>']` by default. */
  specialTokens?: readonly string[] | undefined;
  /** How text is cut into pieces that no token crosses. 'gpt2' is the only pattern. */
  pattern?: 'gpt2' | undefined;
  /** A pair that comes less often is not merged; 2 by default. */
  minFrequency?: number | undefined;
  /** Called now and then while merging, with the tokens found so far (bytes included) and the number wanted. */
  onProgress?: ((tokens: number, of: number) => void) | undefined;
}

/** Most tokens of a vocabulary: the merger packs ranks into 21 bits. */
export const MAX_VOCABULARY = 2 ** 21;

// Pieces that were encoded are remembered, unless they are long, until so many or so many bytes have come; then anew.
const CACHED_PIECE = 128;
const CACHED_PIECES = 1 << 17;
const CACHED_BYTES = 1 << 22;

/** Byte-level BPE as in GPT-2: every text, and every other sequence of bytes, has an encoding that decodes to just that. */
export class BPETokenizer extends ListTokenizer {
  readonly kind = 'bpe';
  readonly #parts: BPEParts;
  readonly #merger: Merger;
  #symbols = new Uint32Array(CACHED_PIECE);
  readonly #cache = new PieceTable();
  /** Ids of cached piece k: from `#cacheStarts[k]` to `#cacheStarts[k + 1]`. */
  #cacheStarts = new Uint32Array(1 << 10);
  #cacheIds = new Uint32Array(1 << 10);

  constructor(parts: BPEParts) {
    super(parts.tokens, parts.specialTokens);
    this.#parts = parts;
    this.#merger = new Merger(parts.merges);
  }

  /**
   * Learns a vocabulary from documents, each a text or UTF-8 bytes. The result depends on the documents and the options
   * only: each step merges the most frequent pair, ties going to the lowest left id, then to the lowest right id.
   */
  static train(source: Iterable<string | Uint8Array>, options: BPETrainOptions): BPETokenizer {
    const special = options.specialTokens ?? [END_OF_TEXT];
    const { vocabSize, pattern = 'gpt2', minFrequency = 2 } = options;
    const what = 'BPETokenizer.train';
    checkSpecialTokens(what, special);
    const least = 256 + special.length;
    if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > MAX_VOCABULARY) {
      throw new ArgumentError(
        `${what}: vocabSize must be an integer from ${least} (256 bytes and ${special.length} special tokens) to ${MAX_VOCABULARY}, got ${vocabSize}`,
      );
    }
    if (pattern !== 'gpt2') throw new ArgumentError(`${what}: pattern must be 'gpt2', got ${JSON.stringify(pattern)}`);
    if (!Number.isInteger(minFrequency) || minFrequency < 1) {
      throw new ArgumentError(`${what}: minFrequency must be an integer from 1 on, got ${minFrequency}`);
    }
    const counter = new PieceCounter();
    for (const document of source) counter.add(document);
    const { merges, tokens } = new MergeTrainer(counter).run({
      tokenCount: vocabSize - special.length,
      minFrequency,
      onProgress: options.onProgress,
    });
    const specialTokens = numberSpecialTokens(special, tokens.length);
    const written = new Set(tokens.map(toAlphabet));
    const clash = special.find((content) => written.has(content));
    if (clash !== undefined) {
      throw new ArgumentError(`${what}: specialTokens must not be tokens of the text, got ${JSON.stringify(clash)}`);
    }
    const encoder = new TextEncoder();
    return new BPETokenizer({
      tokens: [...tokens, ...special.map((content) => encoder.encode(content))],
      byteIds: Uint32Array.from({ length: 256 }, (_, byte) => byte),
      merges,
      specialTokens,
    });
  }

  toJSON(): object {
    return byteLevelJSON(this.#parts);
  }

  protected encodeSection(bytes: Uint8Array, first: number, end: number, out: IdList): void {
    const cache = this.#cache;
    const byteIds = this.#parts.byteIds;
    let start = first;
    while (start < end) {
      const stop = pieceEnd(bytes, start, end);
      const length = stop - start;
      const ids = out.reserve(length);
      if (length === 1) {
        ids[out.length++] = byteIds[bytes[start] as number] as number;
      } else if (length > CACHED_PIECE) {
        out.length += this.#encodePiece(bytes, start, stop, ids, out.length);
      } else {
        const known = cache.size;
        const piece = cache.intern(bytes, start, stop);
        if (piece === known) this.#remember(piece, bytes, start, stop);
        const from = this.#cacheStarts[piece] as number;
        const count = (this.#cacheStarts[piece + 1] as number) - from;
        for (let k = 0; k < count; k++) ids[out.length + k] = this.#cacheIds[from + k] as number;
        out.length += count;
        if (cache.size >= CACHED_PIECES || (cache.offsets[cache.size] as number) >= CACHED_BYTES) cache.clear();
      }
      start = stop;
    }
  }

  #remember(piece: number, bytes: Uint8Array, start: number, end: number): void {
    this.#cacheStarts = grown(this.#cacheStarts, piece + 2);
    const from = this.#cacheStarts[piece] as number;
    this.#cacheIds = grown(this.#cacheIds, from + end - start);
    this.#cacheStarts[piece + 1] = from + this.#encodePiece(bytes, start, end, this.#cacheIds, from);
  }

  #encodePiece(bytes: Uint8Array, start: number, end: number, out: Uint32Array, at: number): number {
    const byteIds = this.#parts.byteIds;
    this.#symbols = grown(this.#symbols, end - start);
    for (let i = start; i < end; i++) this.#symbols[i - start] = byteIds[bytes[i] as number] as number;
    return this.#merger.apply(this.#symbols, end - start, out, at);
  }
}
