import test from 'ava';
import { type Beam, beamSearch, generateRows } from '../../../lib/generate/index.ts';
import { logSoftmax } from '../../../lib/generate/log_probs.ts';
import type { GPT } from '../../../lib/models/index.ts';
import { fill } from '../../../lib/ops/index.ts';
import { memory } from '../../../lib/tensor/device.ts';
import { ByteTokenizer } from '../../../lib/tokenizer/index.ts';
import { build, families, logitsOf, someIds } from '../models/support.ts';

const END = 0;
const tiny = { vocabSize: 5, contextLength: 16 };

type Plain = Pick<Beam, 'tokens' | 'logProb' | 'score' | 'finishReason'>;

/** Every text of at most `maxTokens` tokens after a prompt, the best first. */
function everyText(model: GPT, prompt: readonly number[], maxTokens: number, power: number): Plain[] {
  const all: Plain[] = [];
  const visit = (tokens: readonly number[], logProb: number): void => {
    const logProbs = logSoftmax(logitsOf(model, [...prompt, ...tokens]).at(-1) as Float32Array, 'test');
    for (const [id, own] of logProbs.entries()) {
      const sum = logProb + own;
      const length = tokens.length + 1;
      const score = sum / length ** power;
      if (id === END) all.push({ tokens, logProb: sum, score, finishReason: 'endOfText' });
      else if (length === maxTokens) all.push({ tokens: [...tokens, id], logProb: sum, score, finishReason: 'length' });
      else visit([...tokens, id], sum);
    }
  };
  visit([], 0);
  return all.sort((a, b) => b.score - a.score);
}

test('with as many beams as there are beginnings: the best texts of all, by brute force', async (t) => {
  for (const [name, input] of Object.entries(families)) {
    using model = build({ ...input, ...tiny });
    for (const lengthPenalty of [0, 1, 2]) {
      const best = await beamSearch(model, null, [1, 3], { beams: 70, maxTokens: 3, lengthPenalty, endOfText: END });
      const want = everyText(model, [1, 3], 3, lengthPenalty).slice(0, 10);
      for (const [i, beam] of want.entries()) {
        const got = best[i];
        t.deepEqual(got?.tokens, beam.tokens, `${name}, penalty ${lengthPenalty}, ${i}`);
        t.true(Math.abs((got?.score ?? Number.NaN) - beam.score) < 1e-4, `${name}: ${got?.score} ${beam.score}`);
        t.true(Math.abs((got?.logProb ?? Number.NaN) - beam.logProb) < 1e-4);
        t.is(got?.finishReason, beam.finishReason);
      }
    }
  }
});

/** The rule in its plainest form: every prefix computed anew, everything sorted. */
function plainly(model: GPT, prompt: readonly number[], beams: number, maxTokens: number, power: number): Plain[] {
  let open: { tokens: number[]; logProb: number }[] = [{ tokens: [], logProb: 0 }];
  let ended: Plain[] = [];
  const end = (tokens: number[], logProb: number, length: number, finishReason: Beam['finishReason']): void => {
    ended = [...ended, { tokens, logProb, score: logProb / length ** power, finishReason }]
      .sort((a, b) => b.score - a.score)
      .slice(0, beams);
  };
  for (let length = 1; length <= maxTokens; length++) {
    const all = open.flatMap(({ tokens, logProb }) =>
      [...logSoftmax(logitsOf(model, [...prompt, ...tokens]).at(-1) as Float32Array, 'test')].map((own, id) => ({
        tokens: [...tokens, id],
        logProb: logProb + own,
        id,
      })),
    );
    all.sort((a, b) => b.logProb - a.logProb);
    for (const { id, tokens, logProb } of all.slice(0, beams)) if (id === END) end(tokens.slice(0, -1), logProb, length, 'endOfText');
    open = all.filter(({ id }) => id !== END).slice(0, beams);
  }
  for (const { tokens, logProb } of open) end(tokens, logProb, maxTokens, 'length');
  return ended;
}

test('with few beams: the rule in its plainest form, with a cache as without', async (t) => {
  for (const [name, input] of Object.entries(families)) {
    using model = build({ ...input, ...tiny, vocabSize: 9 }, 4);
    for (const [beams, lengthPenalty] of [
      [1, 1],
      [2, 0],
      [3, 1],
      [4, 1.5],
    ] as const) {
      const options = { beams, maxTokens: 6, lengthPenalty, endOfText: END };
      const got = await beamSearch(model, null, [1, 3, 2], options);
      const want = plainly(model, [1, 3, 2], beams, 6, lengthPenalty);
      t.deepEqual(
        got.map(({ tokens }) => tokens),
        want.map(({ tokens }) => tokens),
        `${name}, ${beams} beams`,
      );
      t.true(got.every(({ score }, i) => Math.abs(score - (want[i]?.score ?? Number.NaN)) < 1e-4));
      const plain = await beamSearch(model, null, [1, 3, 2], { ...options, cache: false });
      t.deepEqual(
        plain.map(({ tokens }) => tokens),
        want.map(({ tokens }) => tokens),
      );
    }
  }
});

test('one beam is greedy decoding, also where the window slides', async (t) => {
  using model = build();
  const [beam] = await beamSearch(model, null, someIds(10), { beams: 1, maxTokens: 40, endOfText: null });
  const [row] = await generateRows(model, [someIds(10)], { temperature: 0, maxTokens: 40 });
  t.deepEqual(beam?.tokens, row?.tokens);
});

test('early stopping: done once enough have ended', async (t) => {
  using model = build({ ...tiny, vocabSize: 9 }, 4);
  const options = { beams: 3, maxTokens: 12, endOfText: END };
  const early = await beamSearch(model, null, [1, 3], { ...options, earlyStopping: true });
  const late = await beamSearch(model, null, [1, 3], options);
  t.is(early.length, 3);
  t.true((late[0]?.score ?? -9) >= (early[0]?.score ?? 0), 'going on finds nothing worse');
  t.deepEqual(late, await beamSearch(model, null, [1, 3], { ...options, maxTokens: 12 }), 'the same again');
});

test('a text comes back as text; penalties below 0 favour short ones', async (t) => {
  const bytes = new ByteTokenizer();
  using model = build({ vocabSize: 257 });
  const beams = await beamSearch(model, bytes, 'hi', { beams: 3, maxTokens: 6 });
  t.is(beams.length, 3);
  for (const { text, tokens } of beams) t.is(text, bytes.decode(tokens));
  t.true(beams.every(({ score }, i) => i === 0 || score <= (beams[i - 1]?.score ?? 0)));
  await t.notThrowsAsync(beamSearch(model, bytes, 'hi', { beams: 2, maxTokens: 3, lengthPenalty: -1 }));
});

test.serial('wrong options are named; nothing is left behind', async (t) => {
  using model = build();
  await beamSearch(model, null, [1], { maxTokens: 2 });
  const { used } = memory();
  const rejects = (options: Parameters<typeof beamSearch>[3], message: RegExp) =>
    t.throwsAsync(beamSearch(model, null, [1], options), { code: 'ERR_HEDDLE_ARGUMENT', message });
  await rejects({ beams: 0 }, /^beamSearch: beams must be a positive integer, got 0/);
  await rejects({ maxTokens: 0 }, /maxTokens must be a positive integer, got 0/);
  await rejects({ lengthPenalty: Number.NaN }, /lengthPenalty must be a number, got NaN/);
  await t.throwsAsync(beamSearch(model, null, 'x'), { message: /^beamSearch: prompt must be token ids/ });
  const controller = new AbortController();
  controller.abort();
  await t.throwsAsync(beamSearch(model, null, [1], { signal: controller.signal }), { any: true, name: 'AbortError' });
  await beamSearch(model, null, someIds(5), { maxTokens: 30, beams: 5 });
  t.is(memory().used, used);
  fill(model.tokens.weight, Number.NaN);
  await t.throwsAsync(beamSearch(model, null, [1]), { code: 'ERR_HEDDLE_NOT_FINITE', message: /^beamSearch: logits/ });
});
