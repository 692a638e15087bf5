import test from 'ava';
import {
  badWords,
  beamSearch,
  type GenerateOptions,
  generate,
  generateRows,
  minTokens,
  noRepeatNgram,
  repetitionPenalty,
  scoreRows,
  streamText,
} from '../../../lib/generate/index.ts';
import { ByteTokenizer, CharTokenizer } from '../../../lib/tokenizer/index.ts';
import { build, someIds } from '../models/support.ts';

const banned = (logits: Float32Array): number[] => [...logits].flatMap((v, id) => (v === Number.NEGATIVE_INFINITY ? [id] : []));
const row = (tokens: readonly number[], generated = 0) => ({ tokens, generated, sample: 0 });
const zeros = (n = 10): Float32Array => new Float32Array(n);

test('no n-gram twice: what would repeat one is banned', (t) => {
  const after = (n: number, tokens: readonly number[]): number[] => {
    const logits = zeros();
    noRepeatNgram(n)(logits, row(tokens));
    return banned(logits);
  };
  t.deepEqual(after(2, [1, 2, 3, 1]), [2]);
  t.deepEqual(after(3, [1, 2, 3, 1, 2, 4, 1, 2]), [3, 4]);
  t.deepEqual(after(3, [1, 2]), []);
  t.deepEqual(after(1, [5, 7, 5]), [5, 7]);
  t.deepEqual(after(2, [5]), []);
  t.deepEqual(after(2, [4, 4]), [4]);
});

test('bad words, least length, repetition', (t) => {
  const words = badWords([[3], [1, 2], [4, 5, 6], [40]]);
  const after = (tokens: readonly number[]): number[] => {
    const logits = zeros();
    words(logits, row(tokens));
    return banned(logits);
  };
  t.deepEqual(after([1]), [2, 3]);
  t.deepEqual(after([4, 5]), [3, 6]);
  t.deepEqual(after([5]), [3]);
  const least = zeros();
  minTokens(2, 7)(least, row([1], 1));
  t.deepEqual(banned(least), [7]);
  const enough = zeros();
  minTokens(2, 7)(enough, row([1], 2));
  t.deepEqual(banned(enough), []);
  const logits = Float32Array.of(2, -2, 2);
  repetitionPenalty(2)(logits, row([0, 1, 0, 99]));
  t.deepEqual([...logits], [1, -4, 2]);
});

test('generation keeps to them, in samples, streams and beams', async (t) => {
  const bytes = new ByteTokenizer();
  using model = build({ vocabSize: 257 });
  const options: GenerateOptions = { maxTokens: 60, temperature: 0, noRepeatNgram: 2 };
  const [text] = await generate(model, bytes, 'hello', options);
  const all = [...Buffer.from('hello'), ...(text?.tokens ?? [])];
  const pairs = all.slice(1).map((id, i) => `${all[i]} ${id}`);
  t.is(new Set(pairs).size, pairs.length);
  const [free] = await generate(model, bytes, 'hello', { ...options, noRepeatNgram: 0 });
  t.notDeepEqual(free?.tokens, text?.tokens, 'without it the model repeats itself');
  let streamed = '';
  for await (const piece of streamText(model, bytes, 'hello', options)) streamed += piece;
  t.is(streamed, text?.text ?? 'nothing');
  const word = String.fromCharCode(97);
  const [clean] = await generate(model, bytes, 'hello', { seed: 3, maxTokens: 200, badWords: [word, [101]], temperature: 3 });
  t.false(clean?.tokens.some((id) => id === 97 || id === 101));
  const beams = await beamSearch(model, bytes, 'hello', { beams: 3, maxTokens: 20, noRepeatNgram: 1 });
  for (const { tokens } of beams) t.is(new Set(tokens).size, tokens.length);
});

test('the end of text comes only after minTokens', async (t) => {
  using model = build();
  const [free] = await generateRows(model, [someIds(4)], { seed: 1, maxTokens: 20 });
  const endOfText = free?.tokens[3] as number;
  const [early] = await generateRows(model, [someIds(4)], { seed: 1, maxTokens: 20, endOfText });
  t.true((early?.tokens.length ?? 99) <= 3);
  const [late] = await generateRows(model, [someIds(4)], { seed: 1, maxTokens: 20, endOfText, minTokens: 10 });
  t.true((late?.tokens.length ?? 0) >= 10);
  const beams = await beamSearch(model, null, someIds(4), { beams: 2, maxTokens: 6, endOfText, minTokens: 4, earlyStopping: true });
  t.true(beams.every(({ tokens }) => tokens.length >= 4));
});

test('processors of your own see the row and change its logits', async (t) => {
  using model = build();
  const seen: string[] = [];
  const [first, second] = await generateRows(
    model,
    [
      [1, 2],
      [3, 4],
    ],
    {
      maxTokens: 3,
      temperature: 0,
      processors: [
        (logits, { tokens, generated, sample }) => {
          seen.push(`${sample}: ${tokens.join(' ')}, ${generated}`);
          t.is(logits.length, 31);
          logits.fill(Number.NEGATIVE_INFINITY);
          logits[10 * (sample + 1) + generated] = 0;
        },
      ],
    },
  );
  t.deepEqual(first?.tokens, [10, 11, 12]);
  t.deepEqual(second?.tokens, [20, 21, 22]);
  t.deepEqual(seen.slice(2, 4), ['0: 1 2 10, 1', '1: 3 4 20, 1']);
});

test('log-probabilities of generated tokens are those that scoring gives', async (t) => {
  using model = build();
  const options = { seed: 5, maxTokens: 12, temperature: 2, topK: 9, repetitionPenalty: 1.5, logProbs: true };
  const prompts = [someIds(4), someIds(4, 2), someIds(7)];
  const rows = await generateRows(model, prompts, options);
  for (const [i, { tokens, logProbs = [] }] of rows.entries()) {
    const prompt = prompts[i] as number[];
    const [want] = await scoreRows(model, [{ tokens: [...prompt, ...tokens], from: prompt.length }]);
    t.is(logProbs.length, 12);
    for (const [j, x] of logProbs.entries()) t.true(Math.abs(x - (want?.logProbs[j] ?? Number.NaN)) < 1e-4);
  }
  t.deepEqual(
    (await generateRows(model, prompts, { ...options, logProbs: false })).map((r) => r.tokens),
    rows.map((r) => r.tokens),
    'asking changes nothing',
  );
  const letters = CharTokenizer.train(['abcdefgh']);
  const [sample] = await generate(model, letters, 'abc', { seed: 1, maxTokens: 5, logProbs: true });
  t.is(sample?.logProbs?.length, 5);
  t.false('logProbs' in ((await generate(model, letters, 'abc', { maxTokens: 1 }))[0] ?? {}));
});

test('wrong options are named', async (t) => {
  using model = build();
  const letters = CharTokenizer.train(['abcdefgh']);
  const rejects = (options: GenerateOptions, message: RegExp) =>
    t.throwsAsync(generate(model, null, [1], options), { code: 'ERR_HEDDLE_ARGUMENT', message });
  await rejects({ noRepeatNgram: -1 }, /^generate: noRepeatNgram must be an integer of at least 0, got -1/);
  await rejects({ minTokens: 1.5 }, /^generate: minTokens must be an integer/);
  await rejects({ minTokens: 2 }, /^generate: minTokens must be 0 where no token ends a text, got 2/);
  await rejects({ badWords: ['a'] }, /^generate: badWords\[0\] must be token ids where there is no tokenizer, got "a"/);
  await rejects({ badWords: [[1], []] }, /^generate: badWords\[1\] must be at least one token, got none/);
  await rejects({ processors: [1 as never] }, /^generate: processors\[0\] must be a function, got number/);
  await rejects({ processors: [(l) => void l.fill(Number.NaN)] }, /^generate: processors must leave logits that are finite/);
  await rejects(
    { processors: [(l) => void l.fill(Number.NEGATIVE_INFINITY)] },
    /^generate: processors must leave a token to choose, got none after 0 tokens/,
  );
  await t.throwsAsync(beamSearch(model, null, [1], { badWords: ['a'] }), { message: /^beamSearch: badWords/ });
  await t.notThrowsAsync(generate(model, letters, 'abc', { badWords: ['b'], maxTokens: 3 }), 'its vocabulary has no space');
});
