import { FileError } from '../util/errors.ts';
import { BYTE_TO_CHARACTER, fromAlphabet } from './alphabet.ts';
import type { ListTokenizer } from './base.ts';
import { BPETokenizer, MAX_VOCABULARY } from './bpe.ts';
import { ByteTokenizer } from './byte.ts';
import { CharTokenizer } from './char.ts';
import { isId, type JSONObject, show, wrongField, wrongId } from './fields.ts';

/** A vocabulary as files hold it, not checked yet, with the names of its fields for messages. */
export interface RawVocabulary {
  readonly file: string;
  readonly vocabField: string;
  /** Ids by token, written in GPT-2's alphabet (in a character tokenizer: the characters themselves). */
  readonly vocab: JSONObject;
  /** Special tokens, with the names of their fields. They may stand in `vocab` too. */
  readonly special: readonly { readonly content: string; readonly id: unknown; readonly field: string }[];
}

/** All tokens by id: which ids there are is checked before anything is allocated for them. */
interface Numbered {
  readonly contents: string[];
  readonly special: Map<string, number>;
}

function numberTokens(raw: RawVocabulary): Numbered {
  const entries = Object.entries(raw.vocab);
  const extra = raw.special.filter((token) => !Object.hasOwn(raw.vocab, token.content));
  const count = entries.length + extra.length;
  if (count > MAX_VOCABULARY) throw new FileError(raw.file, `${raw.vocabField} must hold at most ${MAX_VOCABULARY} tokens, got ${count}`);
  const contents = new Array<string | undefined>(count).fill(undefined);
  // Names of fields are made only for errors: there are as many fields as tokens.
  const place = (content: string, value: unknown, field: () => string): void => {
    if (!isId(value, count)) throw wrongId(raw.file, field(), value, count);
    const other = contents[value];
    if (other !== undefined)
      throw new FileError(raw.file, `${field()} must be unlike the other ids, got ${value}, which ${show(other)} has`);
    contents[value] = content;
  };
  for (const [content, id] of entries) place(content, id, () => `${raw.vocabField}[${show(content)}]`);
  for (const token of extra) place(token.content, token.id, () => token.field);
  const special = new Map<string, number>();
  for (const token of raw.special) {
    const id = token.id;
    if (!isId(id, count)) throw wrongId(raw.file, token.field, id, count);
    if (special.has(token.content)) throw new FileError(raw.file, `${token.field}: the token ${show(token.content)} stands there twice`);
    if (contents[id] !== token.content) {
      throw new FileError(raw.file, `${token.field} must be the id of ${show(token.content)} in ${raw.vocabField}, got ${id}`);
    }
    special.set(token.content, id);
  }
  // As many ids as tokens, all below their number and none twice: every place is taken.
  const ordered = new Map([...special].sort(([, a], [, b]) => a - b));
  return { contents: contents as string[], special: ordered };
}

/** A merge as a file holds it: the two parts, and the name of the field. */
export interface RawMerge {
  readonly left: string;
  readonly right: string;
  readonly field: string;
}

/**
 * A byte-level tokenizer: a byte tokenizer where there are no merges and each byte's id is its value. Every token must be a
 * byte, the result of a merge, or special: otherwise vocabulary and merges are not of one tokenizer.
 */
export function byteLevelTokenizer(raw: RawVocabulary, rawMerges: readonly RawMerge[], mergesFile: string): ListTokenizer {
  const { contents, special } = numberTokens(raw);
  const encoder = new TextEncoder();
  const idOf = new Map<string, number>();
  const tokens = contents.map((content, id) => {
    if (special.has(content)) return encoder.encode(content);
    const bytes = fromAlphabet(content);
    if (bytes === undefined || bytes.length === 0) {
      throw new FileError(raw.file, `${raw.vocabField} must hold tokens written in the byte alphabet, got ${show(content)} (id ${id})`);
    }
    idOf.set(content, id);
    return bytes;
  });

  const reached = new Uint8Array(contents.length);
  const byteIds = new Uint32Array(256);
  BYTE_TO_CHARACTER.forEach((character, byte) => {
    const id = idOf.get(character);
    if (id === undefined)
      throw new FileError(raw.file, `${raw.vocabField} must hold all 256 bytes, got no ${show(character)} (byte ${byte})`);
    byteIds[byte] = id;
    reached[id] = 1;
  });

  const left = new Uint32Array(rawMerges.length);
  const right = new Uint32Array(rawMerges.length);
  const merged = new Uint32Array(rawMerges.length);
  const seen = new Map<number, number>();
  rawMerges.forEach((merge, rank) => {
    const find = (token: string, part: string): number => {
      const id = idOf.get(token);
      if (id === undefined)
        throw new FileError(mergesFile, `${merge.field}: the ${part} must be a token of the vocabulary, got ${show(token)}`);
      return id;
    };
    left[rank] = find(merge.left, 'left part');
    right[rank] = find(merge.right, 'right part');
    merged[rank] = find(merge.left + merge.right, 'result');
    reached[merged[rank] as number] = 1;
    const key = (left[rank] as number) * contents.length + (right[rank] as number);
    const earlier = seen.get(key);
    if (earlier !== undefined)
      throw new FileError(mergesFile, `${merge.field} must be unlike the others, got the same as ${rawMerges[earlier]?.field}`);
    seen.set(key, rank);
  });
  const stray = contents.findIndex((content, id) => reached[id] === 0 && !special.has(content));
  if (stray >= 0) {
    throw new FileError(
      mergesFile,
      `the merges must make every token of the vocabulary, got none for ${show(contents[stray])} (id ${stray})`,
    );
  }

  const specialIds = [...special.values()];
  if (rawMerges.length === 0 && byteIds.every((id, byte) => id === byte) && specialIds.every((id, i) => id === 256 + i)) {
    return new ByteTokenizer([...special.keys()]);
  }
  return new BPETokenizer({ tokens, byteIds, merges: { left, right, merged }, specialTokens: special });
}

/** A character tokenizer: characters first, special tokens after them. */
export function characterTokenizer(raw: RawVocabulary, unknown: unknown): CharTokenizer {
  const { contents, special } = numberTokens(raw);
  const characters = contents.filter((content) => !special.has(content));
  characters.forEach((character, id) => {
    if ([...character].length !== 1 || /^[\ud800-\udfff]$/.test(character)) {
      throw new FileError(raw.file, `${raw.vocabField} must hold single characters, got ${show(character)}`);
    }
    if (contents[id] !== character) {
      throw new FileError(
        raw.file,
        `${raw.vocabField} must number the characters before the special tokens, got ${show(contents[id])} as ${id}`,
      );
    }
  });
  if (unknown !== null && unknown !== undefined && (typeof unknown !== 'string' || !special.has(unknown))) {
    throw wrongField(raw.file, 'model.unk_token', 'null or a special token', unknown);
  }
  return new CharTokenizer(characters, { specialTokens: [...special.keys()], unknown: unknown ?? undefined });
}
