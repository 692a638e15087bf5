import test from 'ava';
import fc from 'fast-check';
import { ByteTokenizer } from '../../../lib/tokenizer/byte.ts';
import { CharTokenizer } from '../../../lib/tokenizer/char.ts';
import { StreamDecoder } from '../../../lib/tokenizer/stream.ts';
import type { Tokenizer } from '../../../lib/tokenizer/tokenizer.ts';
import { BAD_UTF8, CORPUS, gpt2Tokenizer } from './support.ts';

function stream(tokenizer: Tokenizer, ids: ArrayLike<number>): string[] {
  const decoder = new StreamDecoder(tokenizer);
  return [...Array.from(ids, (id) => decoder.push(id)), decoder.end()];
}

test('the parts together are the text, and no part ends within a character', (t) => {
  for (const tokenizer of [gpt2Tokenizer(), new ByteTokenizer(), CharTokenizer.train(CORPUS)]) {
    for (const text of CORPUS) {
      const parts = stream(tokenizer, tokenizer.encode(text));
      t.is(parts.join(''), text);
      for (const part of parts) t.is(Buffer.from(part).toString(), part);
      if (!text.includes('\ufffd')) t.false(parts.some((part) => part.includes('\ufffd')));
    }
  }
});

test('each character comes as soon as its last byte is there', (t) => {
  const tokenizer = new ByteTokenizer();
  t.deepEqual(stream(tokenizer, tokenizer.encode('a人😀')), ['a', '', '', '人', '', '', '', '😀', '']);
});

test('any ids: the parts together are what decode gives', (t) => {
  const tokenizer = new ByteTokenizer();
  const check = (bytes: Uint8Array): boolean => t.is(stream(tokenizer, bytes).join(''), tokenizer.decode(bytes));
  for (const bytes of BAD_UTF8) check(bytes);
  const some = fc.array(fc.constantFrom(0x61, 0x80, 0xbf, 0xc3, 0xe4, 0xba, 0xed, 0xa0, 0xef, 0xbb, 0xf0, 0x9f, 0xff), { maxLength: 16 });
  fc.assert(
    fc.property(some, (bytes) => check(Uint8Array.from(bytes))),
    { numRuns: 1000 },
  );
});

test('a character that stays incomplete becomes U+FFFD at the end, and the decoder starts anew', (t) => {
  const decoder = new StreamDecoder(new ByteTokenizer());
  t.is(decoder.push(0xe4), '');
  t.is(decoder.push(0xba), '');
  t.is(decoder.end(), '\ufffd');
  t.is(decoder.push(0x61), 'a');
  t.is(decoder.end(), '');
});
