import test from 'ava';
import fc from 'fast-check';
import { ngramBitsPerByte } from '../../../lib/data/ngram.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { sampleText, utf8 } from './support.ts';

/** The formula, word by word: counts by scanning the text for every question. */
function reference(train: Uint8Array, validation: Uint8Array, order: number): number {
  const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
  const text = textOf(train);
  const probability = (byte: number, context: string): number => {
    const followers = new Map<string, number>();
    for (let i = context.length; i < text.length; i++) {
      if (text.slice(i - context.length, i) === context) followers.set(text[i] as string, (followers.get(text[i] as string) ?? 0) + 1);
    }
    const total = [...followers.values()].reduce((sum, count) => sum + count, 0);
    const shorter = context === '' ? 1 / 256 : probability(byte, context.slice(1));
    if (total === 0) return shorter;
    return ((followers.get(String.fromCharCode(byte)) ?? 0) + followers.size * shorter) / (total + followers.size);
  };
  const question = textOf(validation);
  let bits = 0;
  for (let i = 0; i < validation.length; i++)
    bits -= Math.log2(probability(validation[i] as number, question.slice(Math.max(0, i - order + 1), i)));
  return bits / validation.length;
}

test('equals a slow reference', (t) => {
  // Few letters, so that contexts repeat.
  const bytes = (max: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: 1, maxLength: max, max: 3 });
  fc.assert(
    fc.property(bytes(120), bytes(40), fc.integer({ min: 1, max: 5 }), (train, validation, order) => {
      const got = ngramBitsPerByte(train, validation, order);
      const want = reference(train, validation, order);
      return Number.isFinite(got) && Math.abs(got - want) <= 1e-9;
    }),
    { numRuns: 150 },
  );
  const text = utf8(sampleText(300));
  const got = ngramBitsPerByte(text.subarray(0, 1000), text.subarray(1000, 1200));
  t.true(Math.abs(got - reference(text.subarray(0, 1000), text.subarray(1000, 1200), 4)) <= 1e-9, `got ${got}`);
});

test('a full tree still gives proper distributions', (t) => {
  const train = utf8(sampleText(500));
  // The probabilities of all 256 bytes after the same beginning sum to one, however few n-grams are kept.
  for (const maxNodes of [1, 2, 20, 100]) {
    const begin = train.subarray(0, 7);
    const before = ngramBitsPerByte(train, begin, 4, { maxNodes }) * begin.length;
    let sum = 0;
    for (let byte = 0; byte < 256; byte++) {
      const bits = ngramBitsPerByte(train, Uint8Array.of(...begin, byte), 4, { maxNodes }) * (begin.length + 1);
      sum += 2 ** (before - bits);
    }
    t.true(Math.abs(sum - 1) <= 1e-9, `${maxNodes} nodes: ${sum}`);
  }
});

test('more than one growth of the tree loses nothing', (t) => {
  const train = new Uint8Array(30_000);
  let state = 1;
  for (let i = 0; i < train.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    train[i] = state >>> 24;
  }
  const validation = train;
  const counts = new Map<string, Map<number, number>>();
  const name = (bytes: Uint8Array, start: number, end: number): string => bytes.subarray(start, end).join();
  for (let i = 0; i < train.length; i++) {
    for (let from = Math.max(0, i - 3); from <= i; from++) {
      const key = name(train, from, i);
      const followers = counts.get(key) ?? new Map<number, number>();
      counts.set(key, followers.set(train[i] as number, (followers.get(train[i] as number) ?? 0) + 1));
    }
  }
  let bits = 0;
  for (let i = 0; i < validation.length; i++) {
    let p = 1 / 256;
    for (let from = i; from >= Math.max(0, i - 3); from--) {
      const followers = counts.get(name(validation, from, i));
      if (followers === undefined) break;
      const total = [...followers.values()].reduce((sum, count) => sum + count, 0);
      p = ((followers.get(validation[i] as number) ?? 0) + followers.size * p) / (total + followers.size);
    }
    bits -= Math.log2(p);
  }
  const got = ngramBitsPerByte(train, validation);
  t.true(Math.abs(got - bits / validation.length) <= 1e-9, `got ${got}, want ${bits / validation.length}`);
});

test('wrong arguments are named', (t) => {
  const some = Uint8Array.of(1);
  t.throws(() => ngramBitsPerByte(some, some, 0), { instanceOf: ArgumentError, message: /order must be an integer from 1 to 8, got 0/ });
  t.throws(() => ngramBitsPerByte(new Uint8Array(0), some), { instanceOf: ArgumentError, message: /train must/ });
  t.throws(() => ngramBitsPerByte(some, new Uint8Array(0)), { instanceOf: ArgumentError, message: /validation must/ });
});
