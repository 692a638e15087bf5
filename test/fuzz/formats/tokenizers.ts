import { join } from 'node:path';
import { ByteTokenizer, loadTokenizer, saveTokenizer, type Tokenizer, tokenizerFromJSON } from '../../../lib/tokenizer/index.ts';
import { LLAMA_PIPELINE } from '../../unit/tokenizer/support.ts';
import { type Files, type Format, filesOf } from '../format.ts';
import { type Mutator, mutateBytes, oneOf } from '../mutate_bytes.ts';
import { mutateJSON } from '../mutate_json.ts';
import { bpeTokenizer, charTokenizer, filesMade, useTokenizer } from './support.ts';

const saved = (tokenizer: Tokenizer): Promise<Files> => filesMade((folder) => saveTokenizer(tokenizer, folder));

function readFolder(folder: string): void {
  const tokenizer = loadTokenizer(folder);
  useTokenizer(tokenizer);
  // What it writes of itself is read again, as from a checkpoint.
  const again = tokenizerFromJSON(tokenizer.toJSON(), join(folder, 'tokenizer.json'));
  if (again.vocabSize !== tokenizer.vocabSize) throw new Error(`vocabSize ${tokenizer.vocabSize}, read again ${again.vocabSize}`);
}

const mutators = { 'tokenizer.json': { weight: 9, mutate: mutateJSON }, 'tokenizer_config.json': { weight: 1, mutate: mutateJSON } };

export const tokenizerFile: Format = {
  name: 'tokenizer',
  seeds: async () => [await saved(charTokenizer()), await saved(bpeTokenizer()), await saved(new ByteTokenizer())],
  mutators,
  read: async (folder) => readFolder(folder),
};

const WORDS = ['▁the', '▁', 't', 'h', 'e', 'w', 'a', 'l', 's', '▁whale', 'he', '▁w'];
const added = (id: number, content: string, special = true) => ({
  id,
  content,
  special,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
});

/** One of each kind that @huggingface/tokenizers runs. */
const FOREIGN: readonly object[] = [
  {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [added(0, '<unk>'), added(1, '</s>')],
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFKC' }, { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' }] },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', add_prefix_space: true, prepend_scheme: 'always' },
    post_processor: { type: 'TemplateProcessing', single: [{ Sequence: { id: 'A', type_id: 0 } }], pair: [], special_tokens: {} },
    decoder: { type: 'Metaspace', replacement: '▁', add_prefix_space: true, prepend_scheme: 'always' },
    model: { type: 'Unigram', unk_id: 0, vocab: [['<unk>', 0], ['</s>', 0], ...WORDS.map((word, i) => [word, -1 - i])] },
  },
  {
    version: '1.0',
    added_tokens: [added(0, '[UNK]'), added(1, '[CLS]'), added(2, '[SEP]')],
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: { type: 'BertProcessing', sep: ['[SEP]', 2], cls: ['[CLS]', 1] },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100 },
      vocab: { '[UNK]': 0, '[CLS]': 1, '[SEP]': 2, the: 3, whale: 4, '##s': 5, sea: 6, s: 7 },
    },
  },
  {
    version: '1.0',
    added_tokens: [added(0, '<unk>'), added(1, '<s>'), added(2, '</s>'), added(7, 'whale', false)],
    ...LLAMA_PIPELINE,
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: '<unk>', continuing_subword_prefix: null, end_of_word_suffix: null },
      ...{ fuse_unk: true, byte_fallback: true, ignore_merges: false },
      vocab: { '<unk>': 0, '<s>': 1, '</s>': 2, '<0x0A>': 3, '▁': 4, t: 5, h: 6, e: 8, th: 9, the: 10, '▁the': 11 },
      merges: ['t h', 'th e', '▁ the'],
    },
  },
  {
    version: '1.0',
    added_tokens: [added(6, '<|endoftext|>')],
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: "'s|\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+|\\s+" }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      ignore_merges: true,
      unk_token: null,
      vocab: { t: 0, h: 1, e: 2, Ġ: 3, th: 4, the: 5 },
      merges: [
        ['t', 'h'],
        ['th', 'e'],
      ],
    },
  },
];

export const foreignTokenizer: Format = {
  name: 'huggingface',
  seeds: async () =>
    FOREIGN.map((json) =>
      filesOf({
        'tokenizer.json': JSON.stringify(json),
        'tokenizer_config.json': JSON.stringify({
          eos_token: { content: '</s>' },
          unk_token: '<unk>',
          clean_up_tokenization_spaces: false,
        }),
      }),
    ),
  mutators,
  read: async (folder) => readFolder(folder),
};

/** Lines of merges.txt. */
const mutateMerges: Mutator = oneOf(
  [
    2,
    (draw, bytes, donor) => {
      const lines = new TextDecoder().decode(bytes).split('\n');
      const at = draw.below(lines.length);
      const other = draw.pick(new TextDecoder().decode(donor).split('\n'));
      const by = [
        other,
        '',
        ' ',
        'a',
        'a  b',
        'a b c',
        '#version: 0.2',
        'a\tb',
        '__proto__ a',
        `${'x'.repeat(4000)} y`,
        '\ufeffa b',
        `${lines[at]}\r`,
      ];
      lines.splice(at, draw.below(2), draw.pick(by));
      return new TextEncoder().encode(lines.join('\n'));
    },
  ],
  [1, mutateBytes],
);

export const pair: Format = {
  name: 'vocab-merges',
  seeds: async () => {
    const { model } = JSON.parse(JSON.stringify(bpeTokenizer())) as { model: { vocab: Record<string, number>; merges: string[] } };
    const merges = `#version: 0.2\n${model.merges.join('\n')}\n`;
    const { vocab } = model;
    const size = Object.keys(vocab).length;
    // Ids without the hole that the special token leaves.
    const ordered = Object.entries(vocab)
      .sort(([, a], [, b]) => a - b)
      .map(([token], id) => [token, id] as const);
    return [
      filesOf({ 'vocab.json': JSON.stringify(Object.fromEntries(ordered)), 'merges.txt': merges }),
      filesOf({ 'vocab.json': JSON.stringify({ ...Object.fromEntries(ordered), '<|endoftext|>': size }), 'merges.txt': merges }),
    ];
  },
  mutators: { 'vocab.json': { weight: 1, mutate: mutateJSON }, 'merges.txt': { weight: 1, mutate: mutateMerges } },
  read: async (folder) => readFolder(folder),
};
