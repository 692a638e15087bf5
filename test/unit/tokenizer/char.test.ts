import test from 'ava';
import { ByteTokenizer } from '../../../lib/tokenizer/byte.ts';
import { CharTokenizer } from '../../../lib/tokenizer/char.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { BAD_UTF8, CORPUS } from './support.ts';

test('byte: the ids are the bytes, end of text is 256', (t) => {
  const tokenizer = new ByteTokenizer();
  t.is(tokenizer.vocabSize, 257);
  t.is(tokenizer.endOfText, 256);
  t.deepEqual(Array.from(tokenizer.encode('Aé')), [65, 0xc3, 0xa9]);
  for (const bytes of [...BAD_UTF8, ...CORPUS.map((text) => new TextEncoder().encode(text))]) {
    t.deepEqual(Array.from(tokenizer.encodeBytes(bytes)), Array.from(bytes));
    t.deepEqual(tokenizer.decodeBytes(tokenizer.encodeBytes(bytes)), bytes);
  }
  t.deepEqual(Array.from(tokenizer.encode('a<|endoftext|>b', { allowedSpecial: 'all' })), [97, 256, 98]);
  t.is(tokenizer.encode('<|endoftext|>').length, 13);
});

test('char: ids in the order of the code points', (t) => {
  const tokenizer = CharTokenizer.train(['hello\n', '人😀']);
  t.is(tokenizer.vocabSize, 7);
  t.is(tokenizer.endOfText, undefined);
  t.deepEqual(Array.from(tokenizer.encode('\nehlo人😀')), [0, 1, 2, 3, 4, 5, 6]);
  t.is(tokenizer.decode([6, 5, 0]), '😀人\n');
  t.is(tokenizer.hash(), CharTokenizer.train(['😀人ol', Buffer.from('leh\n')]).hash());
});

test('char: every text of the training comes back', (t) => {
  const tokenizer = CharTokenizer.train(CORPUS, { specialTokens: ['<|endoftext|>'] });
  for (const text of CORPUS) {
    t.is(tokenizer.encode(text).length, [...text].length);
    t.is(tokenizer.decode(tokenizer.encode(text)), text);
  }
  t.is(CharTokenizer.train(['\ud800']).decode([0]), '\ufffd');
});

test('char: an unknown character is named with its offset', (t) => {
  const tokenizer = CharTokenizer.train(['abc 人']);
  const fail = (run: () => unknown): string => t.throws(run, { instanceOf: ArgumentError })?.message.split('\n')[0] ?? '';
  t.is(
    fail(() => tokenizer.encode('人ab😀')),
    'encode: text must hold only characters of the vocabulary, got "😀" (U+1F600) at offset 3',
  );
  t.is(
    fail(() => tokenizer.encodeBytes(Buffer.from('人x'))),
    'encodeBytes: bytes must hold only characters of the vocabulary, got "x" (U+0078) at offset 3',
  );
  t.is(
    fail(() => tokenizer.encodeBytes(Uint8Array.of(0x61, 0xff))),
    'encodeBytes: bytes must hold only characters of the vocabulary, got the byte 0xff, which is no UTF-8, at offset 1',
  );
});

test('char: with an unknown token nothing is an error', (t) => {
  const tokenizer = CharTokenizer.train(['abc'], { specialTokens: ['<|endoftext|>', '<unk>'], unknown: '<unk>' });
  t.is(tokenizer.unknown, 4);
  t.deepEqual(Array.from(tokenizer.encode('axb😀')), [0, 4, 1, 4]);
  t.deepEqual(Array.from(tokenizer.encodeBytes(Uint8Array.of(0x61, 0xff, 0x62))), [0, 4, 1]);
  t.is(tokenizer.decode([0, 4]), 'a<unk>');
});

test('char: wrong vocabularies are named', (t) => {
  const wrong: [() => unknown, RegExp][] = [
    [() => new CharTokenizer(['ab']), /characters\[0\] must be one character, got "ab"/],
    [() => new CharTokenizer(['']), /characters\[0\] must be one character, got ""/],
    [() => new CharTokenizer(['\ud800']), /characters\[0\] must be one character/],
    [() => new CharTokenizer(['a', 'a']), /characters\[1\] must be unlike the other tokens, got "a" again/],
    [() => new CharTokenizer(['a'], { specialTokens: ['a'] }), /characters\[0\] must be unlike the other tokens/],
    [() => new CharTokenizer(['a'], { unknown: '<unk>' }), /unknown must be one of specialTokens, got "<unk>"/],
  ];
  for (const [run, message] of wrong) t.regex(t.throws(run, { instanceOf: ArgumentError })?.message ?? '', message);
});
