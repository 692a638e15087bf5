import { checkSpecialTokens, type IdList, ListTokenizer, numberSpecialTokens } from './base.ts';
import { byteLevelJSON } from './json.ts';
import { END_OF_TEXT } from './tokenizer.ts';

const encoder = new TextEncoder();

/** Every byte is a token and its value is the id; special tokens come after them, end of text first: id 256. */
export class ByteTokenizer extends ListTokenizer {
  readonly kind = 'byte';
  readonly #tokens: readonly Uint8Array[];

  constructor(specialTokens: readonly string[] = [END_OF_TEXT]) {
    checkSpecialTokens('ByteTokenizer', specialTokens);
    const bytes = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
    const tokens = [...bytes, ...specialTokens.map((content) => encoder.encode(content))];
    super(tokens, numberSpecialTokens(specialTokens, 256));
    this.#tokens = tokens;
  }

  /** A byte-level BPE without merges, which encodes equally. */
  toJSON(): object {
    const none = new Uint32Array(0);
    return byteLevelJSON({
      tokens: this.#tokens,
      byteIds: Uint32Array.from({ length: 256 }, (_, byte) => byte),
      merges: { left: none, right: none, merged: none },
      specialTokens: this.specialTokens,
    });
  }

  protected encodeSection(bytes: Uint8Array, start: number, end: number, out: IdList): void {
    out.reserve(end - start).set(bytes.subarray(start, end), out.length);
    out.length += end - start;
  }
}
