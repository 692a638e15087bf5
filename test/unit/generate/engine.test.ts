// Texts that run side by side are what each is alone, whenever they come and go.
import test from 'ava';
import { type EngineJob, GenerationEngine, generate } from '../../../lib/generate/index.ts';
import { memory } from '../../../lib/tensor/device.ts';
import { ByteTokenizer } from '../../../lib/tokenizer/index.ts';
import { build, families } from '../models/support.ts';

const bytes = new ByteTokenizer();
const forBytes = { vocabSize: 257 };

const JOBS: readonly (readonly [string, EngineJob])[] = [
  ['The whale', { seed: 1, maxTokens: 30 }],
  ['A', { seed: 2, temperature: 0.7, topK: 20, maxTokens: 3 }],
  ['The sea, the sea, the sea, the sea', { seed: 3, maxTokens: 12, repetitionPenalty: 1.2 }],
  ['x', { temperature: 0, maxTokens: 25, logProbs: true }],
  ['The whale', { seed: 1, maxTokens: 30, sample: 2 }],
  ['stop', { seed: 9, maxTokens: 40, stop: ['e', 'a', ' '] }],
  ['nothing', { maxTokens: 0 }],
];

test('every text is that of generate, to the bit, with fewer rows than texts and with more', async (t) => {
  for (const input of Object.values(families)) {
    using model = build({ ...input, ...forBytes });
    const want = await Promise.all(
      JOBS.map(
        async ([prompt, { sample = 0, ...options }]) => (await generate(model, bytes, prompt, { ...options, samples: sample + 1 }))[sample],
      ),
    );
    for (const rows of [1, 3, 8]) {
      const engine = new GenerationEngine(model, bytes, { rows });
      const pieces = JOBS.map(() => '');
      const got = JOBS.map(([prompt, options], i) =>
        engine.generate(prompt, {
          ...options,
          onText: (piece) => {
            pieces[i] += piece;
          },
        }),
      );
      t.deepEqual(await Promise.all(got), want, `${rows} rows`);
      t.deepEqual(
        pieces,
        want.map((text) => text?.text),
      );
      t.deepEqual([engine.running, engine.waiting], [0, 0]);
      const [prompt, options] = JOBS[0] as (typeof JOBS)[number];
      t.deepEqual(await engine.generate(prompt, options), want[0], 'a row is used again');
      await engine.close();
    }
  }
});

test.serial('who aborts leaves; the others go on; close ends what is left and frees the memory', async (t) => {
  using model = build({ ...families.gpt2, ...forBytes });
  const used = memory('cpu').used;
  const engine = new GenerationEngine(model, bytes, { rows: 2 });
  const [alone] = await generate(model, bytes, 'on', { seed: 4, maxTokens: 20 });
  const stop = new AbortController();
  const reason = new Error('enough');
  let tokens = 0;
  const onToken = (): void => {
    if (++tokens === 3) stop.abort(reason);
  };
  const first = engine.generate('first', { maxTokens: 1000, signal: stop.signal, onToken });
  const second = engine.generate('second', { maxTokens: 1000, signal: stop.signal });
  const waits = engine.generate('waits', { maxTokens: 1000, signal: stop.signal });
  const other = engine.generate('on', { seed: 4, maxTokens: 20 });
  t.is(engine.running + engine.waiting, 4);
  for (const gone of [first, second, waits]) t.is(await t.throwsAsync(gone), reason);
  t.is(tokens, 3);
  t.deepEqual(await other, alone);
  await t.throwsAsync(engine.generate('late', { signal: stop.signal }), { is: reason });
  const last = engine.generate('last', { maxTokens: 100_000 });
  const closing = engine.close();
  await t.throwsAsync(last, { code: 'ERR_HEDDLE_CLOSED' });
  await closing;
  await t.throwsAsync(engine.generate('after'), { code: 'ERR_HEDDLE_CLOSED' });
  t.is(memory('cpu').used, used);
});

test('an error of one text is its own', async (t) => {
  using model = build({ ...families.gpt2, ...forBytes });
  const engine = new GenerationEngine(model, bytes, { rows: 2 });
  const good = engine.generate('good', { maxTokens: 8, seed: 1 });
  const bad = engine.generate('bad', { maxTokens: 8, processors: [(logits) => void logits.fill(Number.NEGATIVE_INFINITY)] });
  const angry = engine.generate('angry', {
    maxTokens: 8,
    onText: () => {
      throw new Error('mine');
    },
  });
  await t.throwsAsync(bad, { message: /processors must leave a token to choose/ });
  await t.throwsAsync(angry, { message: 'mine' });
  t.is((await good).tokens.length, 8);
  await t.throwsAsync(engine.generate('x', { maxTokens: -1 }), { message: /maxTokens must be an integer of at least 0, got -1/ });
  await t.throwsAsync(engine.generate('x', { topP: 2 }), { message: /topP must be above 0 and at most 1, got 2/ });
  t.throws(() => new GenerationEngine(model, bytes, { rows: 0 }), { message: /rows must be a positive integer, got 0/ });
  await engine.close();
});
