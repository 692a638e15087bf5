import { createHash } from 'node:crypto';
import { ArgumentError } from '../util/errors.ts';

/** The content of the special token that ends a document in every tokenizer made here, as in GPT-2. */
export const END_OF_TEXT = '<|endoftext|>';

export interface EncodeOptions {
  /**
   * Special tokens that may come out of the text where their content stands in it: a list of contents, or 'all'. None by
   * default: text from outside cannot forge the end of a document.
   */
  allowedSpecial?: 'all' | readonly string[] | undefined;
}

/** Turns text into token ids and back. Ids are below `vocabSize`. */
export interface Tokenizer {
  readonly kind: 'byte' | 'char' | 'bpe' | 'huggingface';
  readonly vocabSize: number;
  /** Id of the token that ends a document; undefined if the vocabulary has none. */
  readonly endOfText: number | undefined;
  /** Special tokens by content. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** True if the bytes of a sequence are the bytes of its tokens, one after the other. */
  readonly concatenates: boolean;
  /** Ids of the text. Unpaired surrogates are encoded as U+FFFD. */
  encode(text: string, options?: EncodeOptions): Uint32Array;
  /** Ids of text given as UTF-8. Byte-level tokenizers take any bytes and give them back when decoding. */
  encodeBytes(bytes: Uint8Array, options?: EncodeOptions): Uint32Array;
  /** Text of the ids; bytes that are no UTF-8 become U+FFFD. Throws an ArgumentError for an id outside the vocabulary. */
  decode(ids: ArrayLike<number>): string;
  decodeBytes(ids: ArrayLike<number>): Uint8Array;
  /** Bytes of one token; of a special token, its content in UTF-8. The caller must not write to them. */
  tokenBytes(id: number): Uint8Array;
  /** SHA-256 in hex of the canonical JSON: equal for tokenizers that were written equally. */
  hash(): string;
  /** The content of `tokenizer.json`, in Hugging Face's format. */
  toJSON(): object;
}

/** SHA-256 in hex of a JSON value whose object keys are sorted at every level. */
export function canonicalHash(value: object): string {
  const sorted = JSON.stringify(value, (_, part: unknown) => {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    // Sorted as [key, value] pairs: an object would put keys such as "7" first whatever the order.
    return Object.entries(part).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  });
  return createHash('sha256').update(sorted).digest('hex');
}

/** Throws an ArgumentError unless `id` is one of 0 … vocabSize - 1. `where` says which: "ids[3]", "id". */
export function checkId(id: number | undefined, vocabSize: number, where: string): asserts id is number {
  if (id === undefined || !Number.isInteger(id) || id < 0 || id >= vocabSize) {
    throw new ArgumentError(`decode: ${where} must be an integer from 0 to ${vocabSize - 1}, got ${id}`);
  }
}
