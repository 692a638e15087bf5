import { ArgumentError } from '../util/errors.ts';
import { grown } from './pieces.ts';
import { allowedTokens, cutAtSpecial } from './special.ts';
import { canonicalHash, checkId, END_OF_TEXT, type EncodeOptions, type Tokenizer } from './tokenizer.ts';

const encoder = new TextEncoder();
const KEPT_IDS = 1 << 16;

/** A list of ids that grows. */
export class IdList {
  ids = new Uint32Array(256);
  length = 0;

  /** Makes room for `more` ids beyond `length` and returns the array to write them to. */
  reserve(more: number): Uint32Array {
    this.ids = grown(this.ids, this.length + more);
    return this.ids;
  }
}

/** What the tokenizers made here share: a list of tokens as bytes, and special tokens that stand apart from the text. */
export abstract class ListTokenizer implements Tokenizer {
  abstract readonly kind: 'byte' | 'char' | 'bpe';
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly vocabSize: number;
  readonly endOfText: number | undefined;
  readonly concatenates = true;
  readonly #tokens: readonly Uint8Array[];
  /** Ids of the text being encoded; kept from text to text, unless it was a long one. */
  readonly #out = new IdList();
  #hash: string | undefined;

  /** `tokens[id]` are the bytes of a token, for special tokens their content in UTF-8. */
  protected constructor(tokens: readonly Uint8Array[], specialTokens: ReadonlyMap<string, number>) {
    this.#tokens = tokens;
    this.vocabSize = tokens.length;
    this.specialTokens = specialTokens;
    this.endOfText = specialTokens.get(END_OF_TEXT);
  }

  /** Appends the ids of `bytes[start, end)`, which is a text of its own, to `out`. */
  protected abstract encodeSection(bytes: Uint8Array, start: number, end: number, out: IdList): void;
  abstract toJSON(): object;

  encode(text: string, options?: EncodeOptions): Uint32Array {
    return this.encodeBytes(encoder.encode(text), options);
  }

  encodeBytes(bytes: Uint8Array, options?: EncodeOptions): Uint32Array {
    // One kind of array keeps the inner loops fast: Node's Buffers are another class to V8.
    const plain = bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    const out = this.#out;
    out.length = 0;
    const special = allowedTokens(this.specialTokens, options);
    if (special.size === 0) {
      this.encodeSection(plain, 0, plain.length, out);
    } else {
      const text = Buffer.from(plain.buffer, plain.byteOffset, plain.length);
      const find = (content: string, from: number): number => text.indexOf(content, from);
      for (const section of cutAtSpecial(plain.length, special, find, (content) => Buffer.byteLength(content))) {
        if (section.special === undefined) this.encodeSection(plain, section.start, section.end, out);
        else out.reserve(1)[out.length++] = section.special;
      }
    }
    const ids = out.ids.slice(0, out.length);
    if (out.ids.length > KEPT_IDS) out.ids = new Uint32Array(256);
    return ids;
  }

  decode(ids: ArrayLike<number>): string {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.decodeBytes(ids));
  }

  decodeBytes(ids: ArrayLike<number>): Uint8Array {
    const tokens = this.#tokens;
    let length = 0;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      const token = tokens[id as number];
      if (token === undefined) checkId(id, this.vocabSize, `ids[${i}]`);
      length += (token as Uint8Array).length;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (let i = 0; i < ids.length; i++) {
      const token = tokens[ids[i] as number] as Uint8Array;
      bytes.set(token, at);
      at += token.length;
    }
    return bytes;
  }

  tokenBytes(id: number): Uint8Array {
    checkId(id, this.vocabSize, 'id');
    return this.#tokens[id] as Uint8Array;
  }

  hash(): string {
    this.#hash ??= canonicalHash(this.toJSON());
    return this.#hash;
  }
}

/** Checks a list of special tokens given to a constructor or a training: not empty, well-formed, none twice. */
export function checkSpecialTokens(what: string, contents: readonly string[]): void {
  contents.forEach((content, i) => {
    const where = `${what}: specialTokens[${i}] must be`;
    if (typeof content !== 'string' || content === '')
      throw new ArgumentError(`${where} a text that is not empty, got ${JSON.stringify(content)}`);
    if (Buffer.from(content).toString() !== content)
      throw new ArgumentError(`${where} well-formed Unicode, got ${JSON.stringify(content)}`);
    if (contents.indexOf(content) !== i) throw new ArgumentError(`${where} unlike the others, got ${JSON.stringify(content)} again`);
  });
}

/** Special tokens with ids from `first` on. */
export function numberSpecialTokens(contents: readonly string[], first: number): Map<string, number> {
  return new Map(contents.map((content, i) => [content, first + i]));
}
