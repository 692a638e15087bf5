import { FileError } from '../util/errors.ts';
import type { ListTokenizer } from './base.ts';
import { expectArray, expectObject, expectText, isObject, type JSONObject, wrongField } from './fields.ts';
import { splitMerge } from './gpt2.ts';
import { byteLevelTokenizer, characterTokenizer, type RawMerge } from './vocabulary.ts';

/** The parts of a `tokenizer.json` whose form is the same in every file, checked. */
export interface TokenizerFile {
  readonly file: string;
  readonly json: JSONObject;
  readonly model: JSONObject;
  readonly addedTokens: readonly AddedToken[];
  /** Empty for models without merges. */
  readonly merges: readonly RawMerge[];
}

export interface AddedToken {
  readonly content: string;
  readonly id: unknown;
  readonly special: boolean;
  /** None of the options that take in surrounding text or ask for word boundaries. */
  readonly plain: boolean;
  readonly field: string;
}

/** Checks the form of a `tokenizer.json`; a FileError names the first field that is wrong. */
export function checkTokenizerFile(file: string, json: JSONObject): TokenizerFile {
  const model = expectObject(file, 'model', json.model);
  for (const part of ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder']) {
    const value = json[part] ?? null;
    if (value !== null && typeof expectObject(file, part, value).type !== 'string') {
      throw wrongField(file, `${part}.type`, 'a text', (value as JSONObject).type);
    }
  }
  if (typeof model.type !== 'string') throw wrongField(file, 'model.type', 'a text such as "BPE"', model.type);
  const merges = model.type === 'BPE' ? readMergeList(file, model.merges) : [];
  if (model.type === 'BPE') checkBPEOptions(file, model);
  const addedTokens = expectArray(file, 'added_tokens', json.added_tokens ?? []).map((value, i) =>
    readAddedToken(file, `added_tokens[${i}]`, value),
  );
  return { file, json, model, addedTokens, merges };
}

/**
 * The tokenizer, if it is of a kind that is written here: byte-level BPE with GPT-2's pattern, bytes, or characters.
 * Undefined for all others.
 */
export function nativeTokenizer(parsed: TokenizerFile): ListTokenizer | undefined {
  const { file, json, model, addedTokens, merges } = parsed;
  if (model.type !== 'BPE' || (json.normalizer ?? null) !== null) return undefined;
  if (!isEmpty(model.dropout) || !isEmpty(model.continuing_subword_prefix) || !isEmpty(model.end_of_word_suffix)) return undefined;
  if (model.byte_fallback === true || model.ignore_merges === true || model.fuse_unk === true) return undefined;
  if (!addedTokens.every((token) => token.special && token.plain)) return undefined;
  const decoder = isObject(json.decoder) ? json.decoder.type : undefined;
  const raw = { file, vocabField: 'model.vocab', vocab: expectObject(file, 'model.vocab', model.vocab), special: addedTokens };
  const before = json.pre_tokenizer ?? null;
  const after = json.post_processor ?? null;
  if (before === null && after === null && decoder === 'Fuse' && merges.length === 0) return characterTokenizer(raw, model.unk_token);
  if (!isObject(before) || before.type !== 'ByteLevel' || before.add_prefix_space !== false || before.use_regex === false) return undefined;
  if (isObject(after) && after.type !== 'ByteLevel') return undefined;
  return decoder === 'ByteLevel' && isEmpty(model.unk_token) ? byteLevelTokenizer(raw, merges, file) : undefined;
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === 0;
}

function checkBPEOptions(file: string, model: JSONObject): void {
  const expectType = (field: string, type: 'string' | 'number' | 'boolean'): void => {
    const value = model[field] ?? null;
    if (value !== null && typeof value !== type) throw wrongField(file, `model.${field}`, `a ${type} or null`, value);
  };
  expectType('dropout', 'number');
  for (const field of ['unk_token', 'continuing_subword_prefix', 'end_of_word_suffix']) expectType(field, 'string');
  for (const field of ['fuse_unk', 'byte_fallback', 'ignore_merges']) expectType(field, 'boolean');
}

/** Merges as "left right" (tokens without spaces) or as ["left", "right"]. */
function readMergeList(file: string, value: unknown): RawMerge[] {
  return expectArray(file, 'model.merges', value).map((merge, rank) => {
    const field = `model.merges[${rank}]`;
    if (typeof merge === 'string') return splitMerge(file, field, merge);
    if (!Array.isArray(merge) || merge.length !== 2) throw wrongField(file, field, 'a text or a list of two texts', merge);
    return { left: expectText(file, `${field}[0]`, merge[0]), right: expectText(file, `${field}[1]`, merge[1]), field };
  });
}

function readAddedToken(file: string, field: string, value: unknown): AddedToken {
  const token = expectObject(file, field, value);
  const content = expectText(file, `${field}.content`, token.content);
  if (content === '' || Buffer.from(content).toString() !== content)
    throw wrongField(file, `${field}.content`, 'a text that is not empty, in well-formed Unicode', content);
  for (const flag of ['special', 'single_word', 'lstrip', 'rstrip', 'normalized']) {
    if (token[flag] !== undefined && typeof token[flag] !== 'boolean')
      throw wrongField(file, `${field}.${flag}`, 'true or false', token[flag]);
  }
  if (typeof token.id !== 'number' || !Number.isInteger(token.id) || token.id < 0) {
    throw wrongField(file, `${field}.id`, 'an integer from 0 on', token.id);
  }
  const plain = token.single_word !== true && token.lstrip !== true && token.rstrip !== true;
  return { content, id: token.id, special: token.special === true, plain, field: `${field}.id` };
}

/**
 * The ids of a vocabulary that another library reads: [token, id] of every token. Unlike our own it may have some holes, but
 * not so many that its size would be far from the file's.
 */
export function foreignIds(parsed: TokenizerFile): Map<number, string> {
  const { file, model, addedTokens } = parsed;
  const entries: [string, unknown, string][] = Array.isArray(model.vocab)
    ? model.vocab.map((piece: unknown, id) => {
        const field = `model.vocab[${id}]`;
        if (!Array.isArray(piece) || typeof piece[0] !== 'string' || typeof piece[1] !== 'number') {
          throw wrongField(file, field, 'a text and its score', piece);
        }
        return [piece[0], id, field];
      })
    : Object.entries(expectObject(file, 'model.vocab', model.vocab)).map(([token, id]) => [
        token,
        id,
        `model.vocab[${JSON.stringify(token)}]`,
      ]);
  const limit = 4 * (entries.length + addedTokens.length) + 4096;
  const tokens = new Map<number, string>();
  const known = new Set<string>();
  const add = (content: string, id: unknown, field: string): void => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= limit) {
      throw wrongField(file, field, `an integer from 0 to ${limit - 1}, for ${entries.length} tokens`, id);
    }
    const other = tokens.get(id);
    if (other !== undefined && other !== content) {
      throw new FileError(file, `${field} must be unlike the other ids, got ${id}, which ${JSON.stringify(other)} has`);
    }
    tokens.set(id, content);
    known.add(content);
  };
  for (const [content, id, field] of entries) add(content, id, field);
  for (const merge of parsed.merges) {
    for (const part of [merge.left, merge.right]) {
      if (!known.has(part)) throw new FileError(file, `${merge.field} must join tokens of the vocabulary, got ${JSON.stringify(part)}`);
    }
  }
  for (const token of addedTokens) add(token.content, token.id, token.field);
  return tokens;
}
