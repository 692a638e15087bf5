import test from 'ava';
import fc from 'fast-check';
import { GPT2_PATTERN, pieceEnd } from '../../../lib/tokenizer/split.ts';
import { charAt, classOf, LETTER, NUMBER, OTHER, SPACE } from '../../../lib/tokenizer/utf8.ts';
import { BAD_UTF8, CORPUS } from './support.ts';

const pattern = new RegExp(GPT2_PATTERN, 'gu');

function pieces(bytes: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = pieceEnd(bytes, start, bytes.length);
    if (!(end > start && end <= bytes.length)) throw new Error(`piece from ${start} ends at ${end} of ${bytes.length}`);
    found.push(bytes.subarray(start, end));
    start = end;
  }
  return found;
}

const piecesOf = (text: string): string[] => pieces(Buffer.from(text)).map((piece) => Buffer.from(piece).toString());

test('the scanner splits as the regular expression does: corpus', (t) => {
  for (const text of CORPUS) t.deepEqual(piecesOf(text), text.match(pattern) ?? [], JSON.stringify(text));
});

test('the scanner splits as the regular expression does: any text', (t) => {
  const tricky = fc.constantFrom(
    "'",
    's',
    'l',
    're',
    ' ',
    '  ',
    '\n',
    '\t',
    '\u00a0',
    '\u3000',
    'é',
    '人',
    '1',
    '½',
    '!',
    '😀',
    '\u0301',
    '\u0000',
  );
  const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: tricky, maxLength: 30 }), fc.string({ unit: 'grapheme' }));
  fc.assert(
    fc.property(texts, (text) => {
      const wellFormed = Buffer.from(text).toString();
      t.deepEqual(piecesOf(wellFormed), wellFormed.match(pattern) ?? []);
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('a byte that is no UTF-8 is split as U+FFFD is, and pieces hold the bytes as they are', (t) => {
  const check = (bytes: Uint8Array): void => {
    const found = pieces(bytes);
    t.deepEqual(Buffer.concat(found), Buffer.from(bytes));
    // One U+FFFD for every such byte: the lengths of the pieces in characters must agree.
    const characters: string[] = [];
    const starts: number[] = [];
    for (let i = 0; i < bytes.length; ) {
      const length = charAt(bytes, i, bytes.length) >>> 3;
      const character = Buffer.from(bytes.subarray(i, i + length)).toString();
      starts.push(i);
      characters.push(character);
      i += length;
    }
    const expected = characters.join('').match(pattern) ?? [];
    t.deepEqual(
      found.map((piece) => [...Buffer.from(piece).toString('latin1')].length),
      expected.reduce<{ sizes: number[]; at: number }>(
        ({ sizes, at }, piece) => {
          const next = at + [...piece].length;
          return { sizes: [...sizes, (starts[next] ?? bytes.length) - (starts[at] ?? 0)], at: next };
        },
        { sizes: [], at: 0 },
      ).sizes,
    );
  };
  for (const bytes of BAD_UTF8) check(bytes);
  const some = fc.array(fc.constantFrom(0x20, 0x61, 0x80, 0xbf, 0xc3, 0xe4, 0xba, 0xed, 0xa0, 0xf0, 0x9f, 0xff), { maxLength: 20 });
  fc.assert(
    fc.property(some, (bytes) => check(Uint8Array.from(bytes))),
    { numRuns: 500 },
  );
});

test('classes of characters', (t) => {
  const expected = { A: LETTER, é: LETTER, 人: LETTER, '7': NUMBER, Ⅷ: NUMBER, ' ': SPACE, '\u3000': SPACE, '\u0301': OTHER, '😀': OTHER };
  for (const [character, kind] of Object.entries(expected)) t.is(classOf(character.codePointAt(0) ?? 0), kind, character);
});
