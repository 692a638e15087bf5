import type { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { ArgumentError, FileError } from '../util/errors.ts';
import { huggingFaceTokenizers } from '../util/lazy.ts';
import { fromAlphabet } from './alphabet.ts';
import { isObject, type JSONObject, messageOf, show } from './fields.ts';
import { foreignIds, type TokenizerFile } from './read_json.ts';
import { allowedTokens, cutAtSpecial, type Section } from './special.ts';
import { canonicalHash, checkId, END_OF_TEXT, type EncodeOptions, type Tokenizer } from './tokenizer.ts';

const encoder = new TextEncoder();

/**
 * Any tokenizer that `@huggingface/tokenizers` can read, behind the interface of ours. Tokens that a post-processor would add
 * around the text are left out. Bytes that are no UTF-8 are encoded as U+FFFD.
 */
export class HuggingFaceTokenizer implements Tokenizer {
  readonly kind = 'huggingface';
  readonly vocabSize: number;
  readonly endOfText: number | undefined;
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly concatenates: boolean;
  /** Content of `tokenizer_config.json`; empty if there was none. */
  readonly config: JSONObject;
  readonly #json: JSONObject;
  readonly #file: string;
  readonly #tokens: ReadonlyMap<number, string>;
  readonly #decoders: ReadonlySet<unknown>;
  readonly #unknown: number | undefined;
  /** Knows the special tokens; decodes, and encodes where all are allowed. */
  readonly #full: LibraryTokenizer;
  /** Does not know them: the library itself has no way to leave them alone in a text. */
  readonly #plain: LibraryTokenizer;
  #hash: string | undefined;

  constructor(parsed: TokenizerFile, config: JSONObject) {
    const { json, model, addedTokens, file } = parsed;
    this.#json = json;
    this.#file = file;
    this.config = config;
    this.#tokens = foreignIds(parsed);
    this.vocabSize = [...this.#tokens.keys()].reduce((most, id) => Math.max(most, id), -1) + 1;
    this.specialTokens = new Map(addedTokens.filter((token) => token.special).map((token) => [token.content, token.id as number]));
    const whole = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, ...json };
    const ordinary = (Array.isArray(json.added_tokens) ? json.added_tokens : []).filter((token: JSONObject) => token.special !== true);
    const { Tokenizer: Library } = huggingFaceTokenizers();
    try {
      this.#full = new Library({ ...whole, added_tokens: json.added_tokens ?? [] }, config);
      this.#plain = new Library({ ...whole, added_tokens: ordinary, post_processor: null }, config);
    } catch (error) {
      throw new FileError(file, `cannot be used by @huggingface/tokenizers: ${messageOf(error)}`, { cause: error });
    }
    this.#decoders = decoderTypes(json.decoder);
    this.concatenates = this.#decoders.size === 1 && this.#decoders.has('ByteLevel');
    const ids = new Map([...this.#tokens].map(([id, content]) => [content, id]));
    this.#unknown = unknownId(model, ids);
    const named = isObject(config.eos_token) ? config.eos_token.content : config.eos_token;
    const name = [named, END_OF_TEXT, '<|end_of_text|>', '</s>'].find((content) => typeof content === 'string' && ids.has(content));
    this.endOfText = name === undefined ? undefined : ids.get(name as string);
  }

  encode(text: string, options?: EncodeOptions): Uint32Array {
    const special = allowedTokens(this.specialTokens, options);
    if (options?.allowedSpecial === 'all') return this.#run(this.#full, text);
    const find = (content: string, from: number): number => text.indexOf(content, from);
    const parts = cutAtSpecial(text.length, special, find, (content) => content.length).map((section: Section) =>
      section.special === undefined ? this.#encodePlain(text.slice(section.start, section.end)) : Uint32Array.of(section.special),
    );
    return parts.length === 1 ? (parts[0] as Uint32Array) : Uint32Array.from(parts.flatMap((part) => [...part]));
  }

  encodeBytes(bytes: Uint8Array, options?: EncodeOptions): Uint32Array {
    return this.encode(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes), options);
  }

  decode(ids: ArrayLike<number>): string {
    if (this.concatenates) return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.decodeBytes(ids));
    if (ids.length === 0) return '';
    const list = Array.from(ids, (id, i) => this.#check(id, `ids[${i}]`));
    return this.#ask(() => this.#full.decode(list, { skip_special_tokens: false, clean_up_tokenization_spaces: false }));
  }

  decodeBytes(ids: ArrayLike<number>): Uint8Array {
    if (!this.concatenates) return encoder.encode(this.decode(ids));
    const parts = Array.from(ids, (id, i) => this.tokenBytes(this.#check(id, `ids[${i}]`)));
    const bytes = Buffer.concat(parts);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  tokenBytes(id: number): Uint8Array {
    const content = this.#tokens.get(this.#check(id, 'id')) as string;
    if (this.specialTokens.has(content)) return encoder.encode(content);
    if (this.#decoders.has('ByteLevel')) return fromAlphabet(content) ?? encoder.encode(content);
    const byte = this.#decoders.has('ByteFallback') ? /^<0x([0-9A-Fa-f]{2})>$/.exec(content)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    return encoder.encode(this.#decoders.has('Metaspace') || this.#decoders.has('Replace') ? content.replaceAll('\u2581', ' ') : content);
  }

  hash(): string {
    this.#hash ??= canonicalHash({ tokenizer: this.#json, config: this.config });
    return this.#hash;
  }

  toJSON(): object {
    return this.#json;
  }

  #check(id: number, where: string): number {
    checkId(id, this.vocabSize, where);
    if (!this.#tokens.has(id))
      throw new ArgumentError(`decode: ${where} must be the id of a token, got ${id}, which the vocabulary leaves out`);
    return id;
  }

  #encodePlain(text: string): Uint32Array {
    const ids = this.#run(this.#plain, text);
    const special = new Set(this.specialTokens.values());
    if (this.#unknown !== undefined) special.delete(this.#unknown);
    if (!ids.some((id) => special.has(id))) return ids;
    // The model's own vocabulary holds the special token as a piece of text. Cut the text within each of them, after the
    // first character, so that it cannot come out.
    const cuts = cutAtSpecial(
      text.length,
      this.specialTokens,
      (content, from) => text.indexOf(content, from),
      (content) => content.length,
    )
      .filter((section) => section.special !== undefined)
      .map((section) => section.start + ((text.codePointAt(section.start) as number) > 0xffff ? 2 : 1));
    const starts = [0, ...cuts];
    return Uint32Array.from(starts.flatMap((start, i) => [...this.#run(this.#plain, text.slice(start, starts[i + 1]))]));
  }

  /** The library looks at some parts of the file only when it uses them. */
  #ask<T>(task: () => T): T {
    try {
      return task();
    } catch (error) {
      throw new FileError(this.#file, `cannot be used by @huggingface/tokenizers: ${messageOf(error)}`, { cause: error });
    }
  }

  #run(library: LibraryTokenizer, text: string): Uint32Array {
    if (text === '') return new Uint32Array(0);
    const ids: (number | undefined)[] = this.#ask(() => library.encode(text, { add_special_tokens: false }).ids);
    return Uint32Array.from(ids, (id, i) => {
      if (id === undefined)
        throw new ArgumentError(`encode: text must hold only characters of the vocabulary, got another one at token ${i}`);
      if (!this.#tokens.has(id)) throw new FileError(this.#file, `encoding must give ids of the vocabulary, got ${show(id)}`);
      return id;
    });
  }
}

/** Types of a decoder and, if it is a sequence, of the decoders in it. */
function decoderTypes(decoder: unknown): Set<unknown> {
  if (!isObject(decoder)) return new Set();
  if (decoder.type !== 'Sequence' || !Array.isArray(decoder.decoders)) return new Set([decoder.type]);
  return new Set(decoder.decoders.map((part: unknown) => (isObject(part) ? part.type : undefined)));
}

function unknownId(model: JSONObject, ids: ReadonlyMap<string, number>): number | undefined {
  if (typeof model.unk_id === 'number') return model.unk_id;
  return typeof model.unk_token === 'string' ? ids.get(model.unk_token) : undefined;
}
