import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { loadTokenizer, saveTokenizer, tokenizerFromJSON } from '../../../lib/tokenizer/load.ts';
import { StreamDecoder } from '../../../lib/tokenizer/stream.ts';
import type { Tokenizer } from '../../../lib/tokenizer/tokenizer.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';
import { CORPUS, gpt2Tokenizer, inFolder, LLAMA_PIPELINE } from './support.ts';

const special = (id: number, content: string): object => ({
  id,
  content,
  special: true,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
});

/** WordPiece, as in BERT. */
const WORD_PIECE = {
  added_tokens: [special(0, '[UNK]'), special(1, '[CLS]'), special(2, '[SEP]')],
  normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: { type: 'BertProcessing', sep: ['[SEP]', 2], cls: ['[CLS]', 1] },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: { '[UNK]': 0, '[CLS]': 1, '[SEP]': 2, play: 3, '##ing': 4, the: 5, '!': 6, '[': 7, ']': 8, cls: 9 },
  },
};

/** BPE over characters with byte fallback, as in Llama 2. */
const LLAMA = {
  added_tokens: [special(0, '<unk>'), special(1, '<s>'), special(2, '</s>')],
  ...LLAMA_PIPELINE,
  model: {
    type: 'BPE',
    dropout: null,
    unk_token: '<unk>',
    fuse_unk: true,
    byte_fallback: true,
    vocab: Object.fromEntries(
      [
        '<unk>',
        '<s>',
        '</s>',
        ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
        ...['▁', 'a', 'b', 'c', 'ab', '▁ab'],
      ].map((token, id) => [token, id]),
    ),
    merges: ['a b', '▁ ab'],
  },
};

/** Unigram, whose vocabulary holds the special tokens as pieces. */
const UNIGRAM = {
  added_tokens: [special(0, '<unk>'), special(1, '</s>')],
  normalizer: null,
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', add_prefix_space: true },
  post_processor: null,
  decoder: { type: 'Metaspace', replacement: '▁', add_prefix_space: true },
  model: {
    type: 'Unigram',
    unk_id: 0,
    vocab: [
      ['<unk>', 0],
      ['</s>', 0],
      ['▁', -2],
      ['a', -2],
      ['b', -2],
      ['▁ab', -1],
      ['<', -5],
      ['/', -5],
      ['s', -3],
      ['>', -5],
    ],
  },
};

const ids = (tokenizer: Tokenizer, text: string, all = false): number[] =>
  Array.from(tokenizer.encode(text, all ? { allowedSpecial: 'all' } : {}));

test('WordPiece', (t) => {
  const tokenizer = tokenizerFromJSON(WORD_PIECE);
  t.is(tokenizer.kind, 'huggingface');
  t.is(tokenizer.vocabSize, 10);
  t.deepEqual(ids(tokenizer, 'The playing!'), [5, 3, 4, 6]);
  t.deepEqual(ids(tokenizer, 'zebra'), [0], 'unknown');
  t.deepEqual(ids(tokenizer, 'the [CLS]'), [5, 7, 9, 8]);
  t.deepEqual(ids(tokenizer, 'the [CLS]', true), [5, 1]);
  t.is(tokenizer.decode([5, 3, 4, 6]), 'the playing !');
  t.is(tokenizer.decode([]), '');
  t.false(tokenizer.concatenates);
});

test('BPE with byte fallback', (t) => {
  const tokenizer = tokenizerFromJSON(LLAMA, 'x', { eos_token: { content: '</s>' } });
  t.is(tokenizer.endOfText, 2);
  t.deepEqual(ids(tokenizer, 'ab ab'), [264, 264]);
  t.deepEqual(ids(tokenizer, 'é'), [259, 3 + 0xc3, 3 + 0xa9]);
  t.is(tokenizer.decode([264, 264]), 'ab ab');
  t.is(tokenizer.decode(tokenizer.encode('ab 人 c😀')), 'ab 人 c😀');
  t.deepEqual(tokenizer.tokenBytes(3 + 0xe4), Uint8Array.of(0xe4));
  t.is(Buffer.from(tokenizer.tokenBytes(264)).toString(), ' ab');
  t.deepEqual(Array.from(tokenizer.encode('ab</s>', { allowedSpecial: ['</s>'] })), [264, 2]);
  t.false(ids(tokenizer, 'ab</s>').includes(2));
});

test('Unigram: a special token does not come out of a text though the model knows it as a piece', (t) => {
  const tokenizer = tokenizerFromJSON(UNIGRAM);
  t.is(tokenizer.endOfText, 1);
  t.deepEqual(ids(tokenizer, 'ab'), [5]);
  t.true(ids(tokenizer, 'ab</s>', true).includes(1));
  t.false(ids(tokenizer, 'ab</s>').includes(1));
});

test('byte-level BPE with another pattern goes through the library and decodes by bytes', (t) => {
  const json = JSON.parse(JSON.stringify(gpt2Tokenizer())) as { pre_tokenizer: object };
  json.pre_tokenizer = {
    type: 'Sequence',
    pretokenizers: [
      {
        type: 'Split',
        pattern: { Regex: ' ?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+' },
        behavior: 'Isolated',
        invert: false,
      },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  };
  const tokenizer = tokenizerFromJSON(json);
  t.is(tokenizer.kind, 'huggingface');
  t.true(tokenizer.concatenates);
  t.is(tokenizer.endOfText, 50256);
  t.is(tokenizer.vocabSize, 50257);
  t.deepEqual(ids(tokenizer, 'Hello, world!'), [15496, 11, 995, 0]);
  t.true(ids(tokenizer, '12345').length >= 2);
  for (const text of CORPUS) {
    t.is(tokenizer.decode(tokenizer.encode(text)), text, JSON.stringify(text));
    t.is(Buffer.from(tokenizer.decodeBytes(tokenizer.encodeBytes(Buffer.from(text)))).toString(), text);
    t.false(tokenizer.encode(text).includes(50256));
  }
  const id = gpt2Tokenizer().encode(' world')[0] ?? -1;
  t.deepEqual(tokenizer.tokenBytes(id), gpt2Tokenizer().tokenBytes(id));
});

test('streams are what decode gives', (t) => {
  const texts = { ab: LLAMA, 'ab ab c': LLAMA, 'ab 人工 c😀 é ab': LLAMA, 'the playing ! the': WORD_PIECE, 'ab ab a b': UNIGRAM };
  for (const [text, json] of Object.entries(texts)) {
    const tokenizer = tokenizerFromJSON(json);
    const decoder = new StreamDecoder(tokenizer);
    const parts = [...Array.from(tokenizer.encode(text), (id) => decoder.push(id)), decoder.end()];
    t.is(parts.join(''), tokenizer.decode(tokenizer.encode(text)));
    t.is(parts.join(''), text);
    t.false(parts.some((part) => part.includes('\ufffd')));
  }
});

test('written and read again, with its configuration', (t) => {
  inFolder((folder) => {
    const tokenizer = tokenizerFromJSON(LLAMA, 'x', { eos_token: '</s>', legacy: true });
    saveTokenizer(tokenizer, folder);
    const read = loadTokenizer(folder);
    t.is(read.kind, 'huggingface');
    t.is(read.hash(), tokenizer.hash());
    t.not(read.hash(), tokenizerFromJSON(LLAMA).hash());
    t.is(read.endOfText, 2);
  });
});

test('ids that the vocabulary leaves out, and ids beyond it', (t) => {
  const tokenizer = tokenizerFromJSON({ ...WORD_PIECE, added_tokens: [...WORD_PIECE.added_tokens, special(20, '[PAD]')] });
  t.is(tokenizer.vocabSize, 21);
  t.regex(
    t.throws(() => tokenizer.decode([3, 15]), { instanceOf: ArgumentError })?.message ?? '',
    /ids\[1\] must be the id of a token, got 15/,
  );
  t.regex(
    t.throws(() => tokenizer.decode([21]), { instanceOf: ArgumentError })?.message ?? '',
    /ids\[0\] must be an integer from 0 to 20, got 21/,
  );
});

test('damaged files of other kinds', (t) => {
  const wrong: [object, RegExp][] = [
    [{ ...UNIGRAM, model: { ...UNIGRAM.model, vocab: [['a', 'b']] } }, /model.vocab\[0\] must be a text and its score/],
    [{ ...WORD_PIECE, model: { ...WORD_PIECE.model, vocab: { a: 1e9 } } }, /model.vocab\["a"\] must be an integer from 0 to/],
    [
      { ...WORD_PIECE, model: { ...WORD_PIECE.model, vocab: { a: 1, b: 1 } } },
      /model.vocab\["b"\] must be unlike the other ids, got 1, which "a" has/,
    ],
    [{ ...LLAMA, model: { ...LLAMA.model, merges: ['a zz'] } }, /model.merges\[0\] must join tokens of the vocabulary, got "zz"/],
    [{ ...LLAMA, model: { ...LLAMA.model, type: 'Nonsense', vocab: undefined } }, /model.vocab must be an object/],
  ];
  for (const [json, message] of wrong) t.regex(t.throws(() => tokenizerFromJSON(json), { instanceOf: FileError })?.message ?? '', message);
  inFolder((folder) => {
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(LLAMA));
    writeFileSync(join(folder, 'tokenizer_config.json'), '[');
    t.regex(t.throws(() => loadTokenizer(folder), { instanceOf: FileError })?.message ?? '', /tokenizer_config.json: must be JSON/);
  });
});
