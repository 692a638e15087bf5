// A byte-level BPE tokenizer as the metadata of a GGUF file. llama.cpp knows how a text is split by a name, not by the pattern.
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';
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
