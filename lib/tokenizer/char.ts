import { ArgumentError } from '../util/errors.ts';
import { checkSpecialTokens, type IdList, ListTokenizer, numberSpecialTokens } from './base.ts';
import { characterJSON } from './json.ts';
import type { EncodeOptions } from './tokenizer.ts';
import { codePointAt, sequenceLength } from './utf8.ts';

const encoder = new TextEncoder();

export interface CharOptions {
  /** Contents of special tokens, which get the last ids; none by default. */
  specialTokens?: readonly string[] | undefined;
  /** The one of them that stands for characters outside the vocabulary. Without it such a character is an error. */
  unknown?: string | undefined;
}

/** Every Unicode character (code point) is a token; ids follow the order of the code points. */
export class CharTokenizer extends ListTokenizer {
  readonly kind = 'char';
  readonly unknown: number | undefined;
  readonly #characters: readonly string[];
  /** Id plus one by code point; 0: not in the vocabulary. */
  readonly #ids: Uint32Array;

  /** `characters`: one code point each, none twice; ids are their places. */
  constructor(characters: readonly string[], options: CharOptions = {}) {
    const special = options.specialTokens ?? [];
    checkSpecialTokens('CharTokenizer', special);
    const specialTokens = numberSpecialTokens(special, characters.length);
    super(
      [...characters, ...special].map((content) => encoder.encode(content)),
      specialTokens,
    );
    this.#characters = characters;
    const codePoints = characters.map((character) => character.codePointAt(0) ?? 0);
    this.#ids = new Uint32Array(codePoints.reduce((most, codePoint) => Math.max(most, codePoint), 0) + 1);
    characters.forEach((character, i) => {
      const codePoint = codePoints[i] as number;
      if (character !== String.fromCodePoint(codePoint) || (codePoint >= 0xd800 && codePoint < 0xe000)) {
        throw new ArgumentError(`CharTokenizer: characters[${i}] must be one character, got ${JSON.stringify(character)}`);
      }
      if (this.#ids[codePoint] !== 0 || specialTokens.has(character)) {
        throw new ArgumentError(`CharTokenizer: characters[${i}] must be unlike the other tokens, got ${JSON.stringify(character)} again`);
      }
      this.#ids[codePoint] = i + 1;
    });
    if (options.unknown !== undefined) {
      this.unknown = specialTokens.get(options.unknown);
      if (this.unknown === undefined) {
        throw new ArgumentError(`CharTokenizer: unknown must be one of specialTokens, got ${JSON.stringify(options.unknown)}`);
      }
    }
  }

  /** A vocabulary of all characters that come in the texts. */
  static train(source: Iterable<string | Uint8Array>, options: CharOptions = {}): CharTokenizer {
    const seen = new Uint8Array(0x110000);
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    for (const document of source) {
      const text = typeof document === 'string' ? document : decoder.decode(document);
      for (let i = 0; i < text.length; i++) {
        const codePoint = text.codePointAt(i) as number;
        if (codePoint > 0xffff) i++;
        // An unpaired surrogate is encoded as U+FFFD.
        seen[codePoint >= 0xd800 && codePoint < 0xe000 ? 0xfffd : codePoint] = 1;
      }
    }
    const characters: string[] = [];
    for (let codePoint = 0; codePoint < seen.length; codePoint++) {
      if (seen[codePoint] === 1) characters.push(String.fromCodePoint(codePoint));
    }
    return new CharTokenizer(characters, options);
  }

  override encode(text: string, options?: EncodeOptions): Uint32Array {
    const bytes = encoder.encode(text);
    try {
      return super.encodeBytes(bytes, options);
    } catch (error) {
      if (!(error instanceof UnknownCharacter)) throw error;
      const offset = Buffer.from(bytes.buffer, 0, error.offset).toString().length;
      throw new ArgumentError(`encode: text must hold only characters of the vocabulary, got ${error.shown} at offset ${offset}`, {
        hint: HINT,
      });
    }
  }

  override encodeBytes(bytes: Uint8Array, options?: EncodeOptions): Uint32Array {
    try {
      return super.encodeBytes(bytes, options);
    } catch (error) {
      if (!(error instanceof UnknownCharacter)) throw error;
      throw new ArgumentError(
        `encodeBytes: bytes must hold only characters of the vocabulary, got ${error.shown} at offset ${error.offset}`,
        {
          hint: HINT,
        },
      );
    }
  }

  toJSON(): object {
    return characterJSON(this.#characters, this.specialTokens, this.unknown);
  }

  protected encodeSection(bytes: Uint8Array, start: number, end: number, out: IdList): void {
    const ids = out.reserve(end - start);
    let at = out.length;
    for (let i = start; i < end; ) {
      const length = sequenceLength(bytes, i, end);
      const codePoint = length === 0 ? undefined : codePointAt(bytes, i, length);
      let id = codePoint === undefined || codePoint >= this.#ids.length ? 0 : (this.#ids[codePoint] as number);
      if (id === 0) {
        if (this.unknown === undefined) throw new UnknownCharacter(i, codePoint, bytes[i] as number);
        id = this.unknown + 1;
      }
      ids[at++] = id - 1;
      i += length || 1;
    }
    out.length = at;
  }
}

const HINT = 'Train the tokenizer on this text too, or give it an unknown token.';

/** Raised where the offset in bytes is known; the caller tells it in the unit of its own argument. */
class UnknownCharacter extends Error {
  readonly offset: number;
  readonly shown: string;

  constructor(offset: number, codePoint: number | undefined, byte: number) {
    super('unknown character');
    this.offset = offset;
    this.shown =
      codePoint === undefined
        ? `the byte 0x${byte.toString(16).padStart(2, '0')}, which is no UTF-8,`
        : `${JSON.stringify(String.fromCodePoint(codePoint))} (U+${codePoint.toString(16).toUpperCase().padStart(4, '0')})`;
  }
}
