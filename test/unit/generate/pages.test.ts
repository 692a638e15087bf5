// Generation with keys and values in pages.
import test from 'ava';
import { beamSearch, generate, generateRows } from '../../../lib/generate/index.ts';
import { memory } from '../../../lib/tensor/device.ts';
import { build, families, modern, someIds } from '../models/support.ts';

test('rows of any lengths have the tokens and log-probabilities of a contiguous cache, to the bit, also where the window slides', async (t) => {
  for (const [name, input] of Object.entries(families)) {
    using model = build({ ...input, contextLength: 40 });
    const prompts = [12, 3, 50, 1, 12, 39, 40, 17].map((length, i) => someIds(length, i));
    const options = { seed: 4, temperature: 1.2, topK: 12, maxTokens: 40, logProbs: true, endOfText: 7 };
    const plain = await generateRows(model, prompts, options);
    t.deepEqual(await generateRows(model, prompts, { ...options, cache: { pages: 8 * 3 } }), plain, name);
    using pool = model.pages(12, 32);
    t.deepEqual(await generateRows(model, prompts, { ...options, batch: 3, cache: pool }), plain, name);
    t.is(pool.free, 12);
  }
});

test('samples and beams have the tokens of a contiguous cache', async (t) => {
  using model = build({ ...modern, contextLength: 64 });
  const options = { seed: 2, maxTokens: 30, samples: 4 };
  t.deepEqual(
    await generate(model, null, someIds(9), { ...options, cache: { pages: 12 } }),
    await generate(model, null, someIds(9), options),
  );
  using pool = model.pages(32);
  t.deepEqual(
    await beamSearch(model, null, someIds(20), { beams: 4, maxTokens: 30, cache: pool }),
    await beamSearch(model, null, someIds(20), { beams: 4, maxTokens: 30 }),
  );
  t.is(pool.free, 32);
});

test('a sequence that has ended leaves its pages to the others', async (t) => {
  using model = build({ contextLength: 64 });
  const prompts = [0, 1, 2, 3].map((i) => someIds(15, i));
  // Which token to end on: one that some rows soon have.
  const rows = await generateRows(model, prompts, { temperature: 0, maxTokens: 45 });
  const ends = new Map(rows.flatMap(({ tokens }) => tokens.map((id): [number, number[]] => [id, rows.map((r) => r.tokens.indexOf(id))])));
  const [endOfText] =
    [...ends].find(([, at]) => at.filter((i) => i < 0).length === 1 && at.filter((i) => i >= 0 && i < 30).length === 3) ?? [];
  t.not(endOfText, undefined, 'such a token exists');
  const options = { temperature: 0, maxTokens: 45, endOfText: endOfText as number };
  const want = await generateRows(model, prompts, options);
  // Four rows of 60 positions would take 16 pages.
  using pool = model.pages(12);
  t.deepEqual(await generateRows(model, prompts, { ...options, cache: pool }), want);
  t.is(pool.free, 12);
});

test.serial('too few pages is one error; all are given back after it, after aborting, and when the model fails', async (t) => {
  using model = build({ contextLength: 64 });
  using pool = model.pages(3);
  const prompts = [someIds(20), someIds(20, 1)];
  await generateRows(model, prompts.slice(0, 1), { maxTokens: 3, cache: pool });
  const { used } = memory();
  await t.throwsAsync(generateRows(model, prompts, { maxTokens: 20, cache: pool }), {
    code: 'ERR_HEDDLE_OUT_OF_PAGES',
    message: /^KVPages: all 3 pages of 16 positions are taken/,
  });
  t.is(pool.free, 3);
  t.is(memory().used, used);
  await t.throwsAsync(generateRows(model, prompts, { maxTokens: 20, cache: { pages: 3 } }), { code: 'ERR_HEDDLE_OUT_OF_PAGES' });
  t.is(memory().used, used);
  const controller = new AbortController();
  const onToken = () => controller.abort(new Error('enough'));
  await t.throwsAsync(generate(model, null, someIds(5), { maxTokens: 20, cache: pool, signal: controller.signal, onToken }), {
    message: 'enough',
  });
  t.is(pool.free, 3);
  t.is(memory().used, used);
  await t.throwsAsync(generateRows(model, prompts, { cache: { pages: 0 } }), {
    message: /^KVPages: pages must be a positive integer, got 0/,
  });
});
