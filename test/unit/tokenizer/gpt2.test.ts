import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import test from 'ava';
import fc from 'fast-check';
import { decode as oracleDecode, encode as oracleEncode } from 'gpt-tokenizer/encoding/r50k_base';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { BAD_UTF8, CORPUS, gpt2Tokenizer, madeText } from './support.ts';

const NOTHING_SPECIAL = { disallowedSpecial: new Set<string>() };
const oracle = (text: string): number[] => oracleEncode(text, NOTHING_SPECIAL);
const ours = (text: string): number[] => Array.from(gpt2Tokenizer().encode(text));

test("GPT-2's vocabulary: size, end of text, special tokens", (t) => {
  const tokenizer = gpt2Tokenizer();
  t.is(tokenizer.kind, 'bpe');
  t.is(tokenizer.vocabSize, 50257);
  t.is(tokenizer.endOfText, 50256);
  t.deepEqual([...tokenizer.specialTokens], [['<|endoftext|>', 50256]]);
});

test('known encodings', (t) => {
  t.deepEqual(ours('Hello, world!'), [15496, 11, 995, 0]);
  t.deepEqual(ours('人工智能科学家'), oracle('人工智能科学家'));
  t.true(ours('人工智能科学家').length > 7, 'more than one token for a Chinese character');
  t.is(gpt2Tokenizer().decode(ours('人工智能科学家')), '人工智能科学家');
});

test('equals gpt-tokenizer: corpus', (t) => {
  for (const text of CORPUS) t.deepEqual(ours(text), oracle(text), JSON.stringify(text));
});

test('equals gpt-tokenizer: any text', (t) => {
  const texts = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.string({ maxLength: 60 }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const wellFormed = Buffer.from(text).toString();
      t.deepEqual(ours(wellFormed), oracle(wellFormed));
      t.is(gpt2Tokenizer().decode(ours(wellFormed)), wellFormed);
      t.is(oracleDecode(ours(wellFormed)), wellFormed);
    }),
    { numRuns: 500 },
  );
});

test('equals gpt-tokenizer: long documents', (t) => {
  for (const text of [madeText(20_000), CORPUS.join('\n').repeat(20)]) t.deepEqual(ours(text), oracle(text));
});

test('equals @huggingface/tokenizers with the tokenizer.json written here', (t) => {
  const library = new LibraryTokenizer(JSON.parse(JSON.stringify(gpt2Tokenizer())), { clean_up_tokenization_spaces: false });
  for (const text of CORPUS) {
    const ids = Array.from(gpt2Tokenizer().encode(text, { allowedSpecial: 'all' }));
    t.deepEqual(ids, library.encode(text).ids, JSON.stringify(text));
    if (ids.length > 0) t.is(gpt2Tokenizer().decode(ids), library.decode(ids));
  }
});

test('unpaired surrogates are encoded as U+FFFD', (t) => {
  t.deepEqual(ours('a\ud800b\udc00'), ours('a\ufffdb\ufffd'));
});

test('any bytes come back as they were', (t) => {
  const tokenizer = gpt2Tokenizer();
  const check = (bytes: Uint8Array): boolean =>
    t.deepEqual(Buffer.from(tokenizer.decodeBytes(tokenizer.encodeBytes(bytes))), Buffer.from(bytes));
  for (const bytes of BAD_UTF8) check(bytes);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), check), { numRuns: 500 });
  const buffer = Buffer.from('xxa Buffer that is part of another one').subarray(2);
  t.deepEqual(tokenizer.encodeBytes(buffer), tokenizer.encode(buffer.toString()));
});

test('special tokens come out of a text only where they are allowed', (t) => {
  const tokenizer = gpt2Tokenizer();
  const text = 'one<|endoftext|>two <|endoftext|><|endoftext|>';
  t.false(tokenizer.encode(text).includes(50256));
  t.is(tokenizer.decode(tokenizer.encode(text)), text);
  for (const allowedSpecial of ['all', ['<|endoftext|>']] as const) {
    const ids = Array.from(tokenizer.encode(text, { allowedSpecial }));
    t.deepEqual(ids, [...oracle('one'), 50256, ...oracle('two '), 50256, 50256]);
    t.is(tokenizer.decode(ids), text);
  }
  const error = t.throws(() => tokenizer.encode('x', { allowedSpecial: ['<|pad|>'] }), { instanceOf: ArgumentError });
  t.regex(error.message, /^encode: allowedSpecial must name special tokens \("<\|endoftext\|>"\), got "<\|pad\|>"/);
});

test('ids outside the vocabulary are named', (t) => {
  const tokenizer = gpt2Tokenizer();
  for (const id of [50257, -1, 1.5, Number.NaN]) {
    const error = t.throws(() => tokenizer.decode([1, id]), { instanceOf: ArgumentError });
    t.is(error.message, `decode: ids[1] must be an integer from 0 to 50256, got ${id}`);
  }
  t.throws(() => tokenizer.tokenBytes(50257), { message: 'decode: id must be an integer from 0 to 50256, got 50257' });
});

test('the bytes of all tokens, one after the other, are the bytes of the text', (t) => {
  const tokenizer = gpt2Tokenizer();
  for (const text of CORPUS) {
    const parts = Array.from(tokenizer.encode(text), (id) => tokenizer.tokenBytes(id));
    t.is(Buffer.concat(parts).toString(), text);
  }
});

test('one piece of a megabyte takes no quadratic time, and the queue merges as the scan does', (t) => {
  const tokenizer = gpt2Tokenizer();
  // 64 times the length in a quadratic algorithm is 4096 times the time: minutes.
  for (const [text, limit] of [
    ['a'.repeat(2 ** 20), 20],
    ['abcdefghij'.repeat(100_000), 20],
    ['人'.repeat(300_000), 20],
  ] as const) {
    const started = performance.now();
    const ids = tokenizer.encode(text);
    const seconds = (performance.now() - started) / 1000;
    t.true(seconds < limit, `${seconds} s`);
    t.is(tokenizer.decode(ids), text);
  }
  for (const length of [99, 100, 101, 102, 150, 400]) {
    for (const text of [
      'a'.repeat(length),
      'abcab'.repeat(length).slice(0, length),
      madeText(200)
        .replace(/[^a-z]/g, '')
        .slice(0, length),
    ]) {
      t.deepEqual(ours(text), oracle(text), `${text.slice(0, 10)} ${length}`);
    }
  }
});

test('more pieces than are remembered', (t) => {
  const text = Array.from({ length: 150_000 }, (_, i) => ` w${(i * 7919).toString(36).replace(/\d/g, 'x')}q${i.toString(26)}`).join('');
  const ids = gpt2Tokenizer().encode(text);
  t.is(gpt2Tokenizer().decode(ids), text);
  t.deepEqual(Array.from(ids.slice(-500)), oracle(text.slice(-3000)).slice(-500));
});
