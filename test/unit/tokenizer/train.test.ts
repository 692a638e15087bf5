import test from 'ava';
import fc from 'fast-check';
import { BPETokenizer, type BPETrainOptions } from '../../../lib/tokenizer/bpe.ts';
import { GPT2_PATTERN } from '../../../lib/tokenizer/split.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { BAD_UTF8, CORPUS, madeText } from './support.ts';

/** Merges by counting all pairs of all pieces anew at every step: slow, and plain to see. */
function naiveMerges(documents: readonly string[], tokenCount: number, minFrequency: number): string[] {
  const words = documents.flatMap((document) =>
    (document.match(new RegExp(GPT2_PATTERN, 'gu')) ?? []).map((piece) =>
      Array.from(Buffer.from(piece), (byte) => Buffer.of(byte).toString('hex')),
    ),
  );
  const ids = new Map(Array.from({ length: 256 }, (_, byte) => [Buffer.of(byte).toString('hex'), byte]));
  const idOf = (token: string): number => ids.get(token) ?? Number.NaN;
  const merges: string[] = [];
  while (ids.size < tokenCount) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) {
        const pair = `${word[i]} ${word[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const ranked = [...counts]
      .filter(([, count]) => count >= minFrequency)
      .map(([pair, count]) => ({ pair, count, parts: pair.split(' ') as [string, string] }))
      .sort((a, b) => b.count - a.count || idOf(a.parts[0]) - idOf(b.parts[0]) || idOf(a.parts[1]) - idOf(b.parts[1]));
    const best = ranked[0];
    if (!best) break;
    const [left, right] = best.parts;
    if (!merges.includes(best.pair)) merges.push(best.pair);
    if (!ids.has(left + right)) ids.set(left + right, ids.size);
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) if (word[i] === left && word[i + 1] === right) word.splice(i, 2, left + right);
    }
  }
  return merges;
}

/** The merges of a tokenizer in the naive trainer's form. */
function mergesOf(tokenizer: BPETokenizer): string[] {
  const json = tokenizer.toJSON() as { model: { vocab: Record<string, number>; merges: string[] } };
  const hex = (token: string): string => Buffer.from(tokenizer.tokenBytes(json.model.vocab[token] ?? -1)).toString('hex');
  return json.model.merges.map((merge) => merge.split(' ').map(hex).join(' '));
}

function compare(
  t: { deepEqual: (a: unknown, b: unknown, message?: string) => unknown },
  documents: string[],
  vocabSize: number,
  minFrequency = 2,
): void {
  const tokenizer = BPETokenizer.train(documents, { vocabSize, minFrequency, specialTokens: [] });
  t.deepEqual(mergesOf(tokenizer), naiveMerges(documents, vocabSize, minFrequency));
  const tokens = Array.from({ length: tokenizer.vocabSize }, (_, id) => Buffer.from(tokenizer.tokenBytes(id)).toString('hex'));
  t.deepEqual([...new Set(tokens)], tokens, 'no bytes twice');
}

test('finds the merges that counting everything anew at every step finds', (t) => {
  compare(t, ['low low low lower lower newest newest widest'], 300);
  compare(t, ['aaaa aaa aa a aaaaaaaa', 'banana bandana', 'ababab babab'], 300, 1);
  compare(
    t,
    [...CORPUS].map((text) => text.slice(0, 60)),
    330,
  );
  compare(t, [madeText(400)], 420);
});

test('finds the merges of the naive trainer: any text', (t) => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', ' ', 'ab', 'é', 'aa', '!'), { maxLength: 60 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(fc.array(text, { maxLength: 4 }), fc.integer({ min: 1, max: 3 }), (documents, minFrequency) => {
      compare(t, documents, 290, minFrequency);
    }),
    { numRuns: 300 },
  );
});

test('the same text gives the same tokenizer, in any cut into documents between pieces', (t) => {
  const text = madeText(3000);
  const hash = BPETokenizer.train([text], { vocabSize: 350 }).hash();
  t.is(BPETokenizer.train([text], { vocabSize: 350 }).hash(), hash);
  t.is(BPETokenizer.train([Buffer.from(text)], { vocabSize: 350 }).hash(), hash);
  const lines = text.split('\n').map((line, i) => (i === 0 ? line : `\n${line}`));
  const trained = BPETokenizer.train(lines, { vocabSize: 350 });
  t.is(trained.hash(), BPETokenizer.train([...lines].reverse(), { vocabSize: 350 }).hash(), 'order of documents');
  t.not(BPETokenizer.train([text], { vocabSize: 351 }).hash(), hash);
});

test('ids: the bytes, the tokens learnt, the special tokens', (t) => {
  const tokenizer = BPETokenizer.train([madeText(2000)], { vocabSize: 512, specialTokens: ['<|endoftext|>', '<|pad|>'] });
  t.is(tokenizer.vocabSize, 512);
  t.is(tokenizer.endOfText, 510);
  t.deepEqual([...tokenizer.specialTokens.values()], [510, 511]);
  for (let byte = 0; byte < 256; byte++) t.deepEqual(tokenizer.tokenBytes(byte), Uint8Array.of(byte));
  for (const text of CORPUS) t.is(tokenizer.decode(tokenizer.encode(text)), text);
  for (const bytes of BAD_UTF8) t.deepEqual(tokenizer.decodeBytes(tokenizer.encodeBytes(bytes)), bytes);
  t.true(tokenizer.encode(madeText(2000)).length < Buffer.byteLength(madeText(2000)) / 2);
});

test('a text with few pairs gives fewer tokens than asked for', (t) => {
  const tokenizer = BPETokenizer.train(['abab abab'], { vocabSize: 1000 });
  t.true(tokenizer.vocabSize < 262 && tokenizer.vocabSize > 257);
  t.is(BPETokenizer.train([], { vocabSize: 1000 }).vocabSize, 257);
  t.is(BPETokenizer.train(['', 'a', new Uint8Array(0)], { vocabSize: 1000 }).vocabSize, 257);
});

test('progress is told, and ends at the number of tokens', (t) => {
  const seen: [number, number][] = [];
  const tokenizer = BPETokenizer.train([madeText(3000)], { vocabSize: 800, onProgress: (tokens, of) => seen.push([tokens, of]) });
  t.true(seen.length >= 2);
  t.deepEqual(seen.at(-1), [tokenizer.vocabSize - 1, 799]);
});

test('one very long piece is no trouble', (t) => {
  const started = performance.now();
  const tokenizer = BPETokenizer.train(['ab'.repeat(250_000), 'x'.repeat(500_000)], { vocabSize: 400 });
  t.true(performance.now() - started < 20_000);
  t.is(tokenizer.encode('ab'.repeat(2 ** 15)).length, 1);
});

test('wrong options are named', (t) => {
  const wrong: [Partial<BPETrainOptions>, RegExp][] = [
    [{ vocabSize: 256 }, /vocabSize must be an integer from 257 \(256 bytes and 1 special tokens\) to 2097152, got 256/],
    [{ vocabSize: 1.5 }, /vocabSize must be an integer .* got 1.5/],
    [{ minFrequency: 0 }, /minFrequency must be an integer from 1 on, got 0/],
    [{ specialTokens: ['a', 'a'] }, /specialTokens\[1\] must be unlike the others, got "a" again/],
    [{ specialTokens: [''] }, /specialTokens\[0\] must be a text that is not empty, got ""/],
    [{ specialTokens: ['\ud800'] }, /specialTokens\[0\] must be well-formed Unicode/],
    [{ specialTokens: ['a'] }, /specialTokens must not be tokens of the text, got "a"/],
    [{ pattern: 'gpt9' as 'gpt2' }, /pattern must be 'gpt2', got "gpt9"/],
  ];
  for (const [options, message] of wrong) {
    const error = t.throws(() => BPETokenizer.train(['abc'], { vocabSize: 300, ...options }), { instanceOf: ArgumentError });
    t.regex(error.message, message);
  }
});
