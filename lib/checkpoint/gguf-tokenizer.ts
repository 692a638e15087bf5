// A byte-level BPE tokenizer as the metadata of a GGUF file. llama.cpp knows how a text is split by a name, not by the pattern.
import { tokenizerFromJSON } from '../tokenizer/index.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import type { GGUFFile } from './gguf-read.ts';
import type { GGUFValue } from './gguf-write.ts';
import { isObject } from './json.ts';

/** Patterns of tokenizer.json, with llama.cpp's names of them. */
const PATTERNS: Readonly<Record<string, string>> = {
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+":
    'llama-bpe',
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+":
    'qwen2',
};

const fail = (what: string, got: unknown) =>
  new ArgumentError(`saveGGUF: tokenizer must be ${what}, got ${show(got)}`, {
    hint: 'Leave it out: the file then holds the weights alone.',
  });

/** llama.cpp's name of the way in which a text is split before merging. */
function splitName(before: unknown): string {
  const parts = isObject(before) && before.type === 'Sequence' && Array.isArray(before.pretokenizers) ? before.pretokenizers : [before];
  const level = parts.at(-1);
  if (!isObject(level) || level.type !== 'ByteLevel' || level.add_prefix_space === true) throw fail('a byte-level BPE', before);
  const split = parts.length === 2 ? parts[0] : undefined;
  if (parts.length === 1 && level.use_regex !== false) return 'gpt-2';
  const pattern = isObject(split) && isObject(split.pattern) ? split.pattern.Regex : undefined;
  const name = typeof pattern === 'string' && Object.hasOwn(PATTERNS, pattern) ? PATTERNS[pattern] : undefined;
  if (name === undefined) throw fail('one that splits text as GPT-2, Llama 3 or Qwen2 do', pattern ?? before);
  return name;
}

/** What a token is, in llama.cpp's numbers. */
const [NORMAL, CONTROL, USER_DEFINED, UNUSED] = [1, 3, 4, 5];

/**
 * The metadata of a tokenizer with `rows` rows of the embedding; rows without a token are marked as unused.
 * @throws ArgumentError for a tokenizer of another kind
 */
export function tokenizerMetadata(tokenizer: Tokenizer, rows: number, endOfText: number | undefined): Map<string, GGUFValue> {
  const json = tokenizer.toJSON() as Record<string, unknown>;
  const model = isObject(json.model) ? json.model : {};
  const { vocab, merges } = model;
  if (
    model.type !== 'BPE' ||
    !isObject(vocab) ||
    !Array.isArray(merges) ||
    ((json.normalizer ?? null) !== null && !isPlain(json.normalizer))
  )
    throw fail('a byte-level BPE', model.type);
  const tokens = Array.from({ length: rows }, (_, id) => `[PAD${id}]`);
  const types = tokens.map(() => UNUSED);
  const put = (content: string, id: unknown, type: number): void => {
    if (typeof id !== 'number' || id >= rows) throw fail(`within the model's ${rows} tokens`, id);
    [tokens[id], types[id]] = [content, type];
  };
  for (const [content, id] of Object.entries(vocab)) put(content, id, NORMAL as number);
  for (const token of Array.isArray(json.added_tokens) ? json.added_tokens : [])
    if (isObject(token)) put(String(token.content), token.id, (token.special === true ? CONTROL : USER_DEFINED) as number);
  const end = endOfText ?? tokenizer.endOfText;
  return new Map<string, GGUFValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: splitName(json.pre_tokenizer) }],
    ['tokenizer.ggml.tokens', { type: 'strings', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'i32s', value: types as number[] }],
    [
      'tokenizer.ggml.merges',
      { type: 'strings', value: merges.map((merge: unknown) => (Array.isArray(merge) ? merge.join(' ') : String(merge))) },
    ],
    ...(end === undefined
      ? []
      : (['bos', 'eos'] as const).map((name): [string, GGUFValue] => [`tokenizer.ggml.${name}_token_id`, { type: 'u32', value: end }])),
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }],
  ]);
}

/** NFC, as Qwen has it: llama.cpp passes over it, too. */
const isPlain = (normalizer: unknown): boolean => isObject(normalizer) && normalizer.type === 'NFC';

/** How tokenizer.json says in which way a text is split. */
function preTokenizer(name: string): object | undefined {
  const level = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true };
  if (name === 'gpt-2') return { ...level, use_regex: true };
  const pattern = Object.keys(PATTERNS).find((key) => PATTERNS[key] === name);
  if (pattern === undefined) return undefined;
  const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  return { type: 'Sequence', pretokenizers: [split, { ...level, use_regex: false }] };
}

/**
 * The byte-level BPE of a file's metadata; null: it says that there is none, or nothing.
 * @throws FileError naming the key that is wrong, or a tokenizer of another kind
 */
export function tokenizerOfMetadata({ file, metadata }: GGUFFile): Tokenizer | null {
  const key = (name: string): unknown => metadata.get(`tokenizer.ggml.${name}`);
  const wrong = (name: string, expected: string, got: unknown) =>
    new FileError(file, `tokenizer.ggml.${name} must be ${expected}, got ${show(got)}`);
  const kind = key('model') ?? 'no_vocab';
  if (kind === 'no_vocab' || kind === 'none') return null;
  if (kind !== 'gpt2') throw wrong('model', 'gpt2 (a byte-level BPE) or no_vocab', kind);
  const texts = (name: string): string[] => {
    const list = key(name);
    if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
    throw wrong(name, 'a list of texts', list);
  };
  const tokens = texts('tokens');
  const types = key('token_type') ?? tokens.map(() => NORMAL);
  if (!(Array.isArray(types) && types.length === tokens.length)) throw wrong('token_type', `a list of ${tokens.length}`, types);
  const pre = key('pre') ?? 'gpt-2';
  const pre_tokenizer = typeof pre === 'string' ? preTokenizer(pre) : undefined;
  if (!pre_tokenizer) throw wrong('pre', `one of gpt-2, ${Object.values(PATTERNS).join(', ')}`, pre);
  const added = [...tokens.entries()].filter(([id]) => types[id] === CONTROL || types[id] === USER_DEFINED);
  const end = key('eos_token_id');
  const endOfText = typeof end === 'number' ? tokens[end] : undefined;
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.map(([id, content]) => ({
      ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false },
      special: types[id] === CONTROL,
    })),
    normalizer: pre === 'qwen2' ? { type: 'NFC' } : null,
    pre_tokenizer,
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false },
      ...{ byte_fallback: false, ignore_merges: pre === 'llama-bpe' },
      vocab: Object.fromEntries([...tokens.entries()].filter(([id]) => types[id] === NORMAL).map(([id, content]) => [content, id])),
      merges: texts('merges'),
    },
  };
  return tokenizerFromJSON(json, file, endOfText === undefined ? undefined : { eos_token: endOfText });
}
