import type { Tokenizer } from './tokenizer.ts';

/**
 * Decodes ids one at a time, as they are generated. What `push` returns never ends in the middle of a character; all of it
 * together with what `end` returns is what `decode` makes of the whole sequence.
 */
export class StreamDecoder {
  readonly #tokenizer: Tokenizer;
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  // Only for tokenizers whose tokens do not simply follow each other: the ids since the last clean cut, and the text of
  // them that was returned already.
  #ids: number[] = [];
  #shown = '';

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The text that is complete with this id; often empty. */
  push(id: number): string {
    if (this.#tokenizer.concatenates) return this.#utf8.decode(this.#tokenizer.tokenBytes(id), { stream: true });
    this.#ids.push(id);
    const text = this.#tokenizer.decode(this.#ids);
    // A trailing U+FFFD may be the first bytes of a character; wait for the others.
    if (text.endsWith('\ufffd') || !text.startsWith(this.#shown)) return '';
    const fresh = text.slice(this.#shown.length);
    // The last token stays: how it joins the next one (with a space or without) depends on both.
    this.#ids = [id];
    this.#shown = this.#tokenizer.decode(this.#ids);
    return fresh;
  }

  /** The rest: U+FFFD for a character that never became complete. The decoder can then be used for another sequence. */
  end(): string {
    if (this.#tokenizer.concatenates) return this.#utf8.decode();
    const rest = this.#ids.length === 0 ? '' : this.#tokenizer.decode(this.#ids).slice(this.#shown.length);
    this.#ids = [];
    this.#shown = '';
    return rest;
  }
}
