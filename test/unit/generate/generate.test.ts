import test from 'ava';
import { backward } from '../../../lib/autograd/index.ts';
import { generate, generateRows, streamText } from '../../../lib/generate/index.ts';
import type { GPT, GPTConfigInput } from '../../../lib/models/index.ts';
import { fill } from '../../../lib/ops/index.ts';
import { AdamW } from '../../../lib/optim/index.ts';
import { memory } from '../../../lib/tensor/device.ts';
import { scope } from '../../../lib/tensor/tensor.ts';
import { BPETokenizer, ByteTokenizer, CharTokenizer } from '../../../lib/tokenizer/index.ts';
import { build, families, idsOf, modern, someIds } from '../models/support.ts';

/** For 31 tokens: letters, a few Chinese characters and an emoji. */
const characters = CharTokenizer.train(['abcdefghijklmnopqrstuvwxy人生若只如😀'.slice(0, 33)]);
const bytes = new ByteTokenizer();
const forBytes: GPTConfigInput = { vocabSize: 257 };

test('greedy decoding: with a cache as without, token for token, also where the window slides', async (t) => {
  for (const [name, input] of Object.entries(families)) {
    using model = build(input);
    for (const length of [1, 9, 24, 30]) {
      const options = { temperature: 0, maxTokens: 40 };
      const prompts = [someIds(length), someIds(length, 5)];
      const cached = await generateRows(model, prompts, options);
      const plain = await generateRows(model, prompts, { ...options, cache: false });
      t.deepEqual(cached, plain, `${name}, prompt of ${length}`);
      t.true(cached.every((r) => r.tokens.length === 40 && r.finishReason === 'length'));
    }
  }
});

test('sampling: with a cache as without', async (t) => {
  using model = build(modern);
  const options = { seed: 3, temperature: 1.5, topK: 20, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1, maxTokens: 30 };
  t.deepEqual(await generateRows(model, [someIds(5)], options), await generateRows(model, [someIds(5)], { ...options, cache: false }));
});

test('the window: the last T tokens of a long prompt, then anew with the last half', async (t) => {
  using model = build();
  const prompt = someIds(60);
  const [whole] = await generateRows(model, [prompt], { temperature: 0, maxTokens: 14 });
  // The context is 24: the first token sees the last 24 of the prompt; the window is then past its end and keeps 12.
  const [first] = await generateRows(model, [prompt.slice(-24)], { temperature: 0, maxTokens: 1 });
  const rest = [...prompt, ...(first?.tokens ?? [])].slice(-12);
  const [second] = await generateRows(model, [rest], { temperature: 0, maxTokens: 13 });
  t.deepEqual(whole?.tokens, [...(first?.tokens ?? []), ...(second?.tokens ?? [])]);
});

test('a row of a batch is the row alone, whatever runs beside it', async (t) => {
  for (const input of Object.values(families)) {
    using model = build(input);
    const options = { seed: 5, temperature: 1, maxTokens: 12 };
    const prompts = [someIds(4), someIds(7, 1), someIds(4, 2), someIds(7, 3), someIds(4, 6)];
    const together = await generateRows(model, prompts, options);
    t.deepEqual((await generateRows(model, prompts.slice(0, 1), options))[0], together[0]);
    t.deepEqual((await generateRows(model, prompts.slice(0, 3), options))[2], together[2]);
  }
});

test('prompts of different lengths run as one batch, each as alone, with a cache as without, where the window slides, too', async (t) => {
  const lengths = new Set<number>();
  for (const [name, input] of Object.entries(families)) {
    using model = build(input);
    const prompts = [12, 3, 30, 1, 12, 23, 24].map((length, i) => someIds(length, i));
    for (const sampling of [{ temperature: 0 }, { seed: 4, temperature: 1.2, topK: 12, repetitionPenalty: 1.1 }]) {
      const options = { ...sampling, maxTokens: 30, logProbs: true, endOfText: 7 };
      const together = await generateRows(model, prompts, options);
      t.deepEqual(
        await generateRows(model, prompts, { ...options, batch: 1 }),
        together,
        `${name}: to the same bits, log-probabilities too`,
      );
      t.deepEqual(await generateRows(model, prompts, { ...options, batch: 3 }), together, name);
      const plain = await generateRows(model, prompts, { ...options, cache: false });
      t.deepEqual(
        plain.map(({ tokens }) => tokens),
        together.map(({ tokens }) => tokens),
        name,
      );
      for (const { tokens } of together) lengths.add(tokens.length);
    }
  }
  t.true(lengths.size > 3, 'rows end at different times');
});

test('samples: the same seed the same texts, the first of many is the only one', async (t) => {
  using model = build();
  const options = { seed: 9, maxTokens: 20 };
  const many = await generate(model, characters, 'abc', { ...options, samples: 4 });
  t.deepEqual(many, await generate(model, characters, 'abc', { ...options, samples: 4 }));
  t.deepEqual(await generate(model, characters, 'abc', options), many.slice(0, 1));
  t.is(new Set(many.map((s) => s.text)).size, 4);
  t.notDeepEqual(many, await generate(model, characters, 'abc', { ...options, samples: 4, seed: 10 }));
  const [a] = await generate(model, characters, 'abc', { maxTokens: 40 });
  const [b] = await generate(model, characters, 'abc', { maxTokens: 40 });
  t.not(a?.text, b?.text, 'without a seed each time another one');
});

test('text is what the tokens decode to', async (t) => {
  using model = build(forBytes);
  for (const { text, tokens, finishReason } of await generate(model, bytes, 'hi', { seed: 1, maxTokens: 50, samples: 3 })) {
    t.is(text, bytes.decode(tokens));
    t.is(finishReason, 'length');
  }
});

test('streaming gives the text of generate, in whole characters', async (t) => {
  using model = build(forBytes);
  for (let seed = 0; seed < 6; seed++) {
    const options = { seed, maxTokens: 60 };
    const pieces: string[] = [];
    for await (const piece of streamText(model, bytes, 'hi', options)) pieces.push(piece);
    const [want] = await generate(model, bytes, 'hi', options);
    t.is(pieces.join(''), want?.text ?? 'nothing');
    t.true(pieces.length > 1 && pieces.every((p) => p !== '' && Buffer.from(p).toString() === p));
  }
});

test('a character of several tokens is never split', async (t) => {
  // A model that says the bytes of 😀 over and over: each byte has one follower.
  const emoji = [...Buffer.from('😀')];
  using model = build({ ...forBytes, layers: 1, positions: 'none' });
  teach(model, emoji);
  const pieces: string[] = [];
  for await (const piece of streamText(model, bytes, '😀', { temperature: 0, maxTokens: 10 })) pieces.push(piece);
  t.deepEqual(pieces, ['😀', '😀', '\ufffd']);
});

test('the text ends before a stop string, also where it crosses tokens', async (t) => {
  using model = build(forBytes);
  const options = { seed: 2, maxTokens: 60 };
  const [whole] = await generate(model, bytes, 'hi', options);
  const text = whole?.text ?? '';
  for (const at of [0, 7, 20]) {
    const stop = text.slice(at, at + 3);
    const [cut] = await generate(model, bytes, 'hi', { ...options, stop: ['never in it', stop] });
    t.is(cut?.finishReason, 'stop');
    t.is(cut?.text, text.slice(0, text.indexOf(stop)));
    t.true((cut?.tokens.length ?? 60) < 60);
    let streamed = '';
    for await (const piece of streamText(model, bytes, 'hi', { ...options, stop })) streamed += piece;
    t.is(streamed, cut?.text ?? 'nothing');
  }
});

test('what was held back for a stop string comes at the end', async (t) => {
  using model = build(forBytes);
  const options = { seed: 2, maxTokens: 30 };
  const [whole] = await generate(model, bytes, 'hi', options);
  const [same] = await generate(model, bytes, 'hi', { ...options, stop: `${whole?.text.slice(-2)}and more` });
  t.is(same?.text, whole?.text);
  t.is(same?.finishReason, 'length');
});

test('the end of text ends a row, and only that row', async (t) => {
  using model = build();
  const [free] = await generateRows(model, [someIds(4)], { seed: 1, maxTokens: 20 });
  const tokens = free?.tokens ?? [];
  const endOfText = tokens[8] as number;
  const results = await generateRows(model, [someIds(4), someIds(4, 2)], { seed: 1, maxTokens: 20, endOfText });
  t.deepEqual(results[0], { tokens: tokens.slice(0, tokens.indexOf(endOfText)), finishReason: 'endOfText' });
  const [, other] = await generateRows(model, [someIds(4), someIds(4, 2)], { seed: 1, maxTokens: 20 });
  const ends = other?.tokens.indexOf(endOfText) ?? -1;
  t.deepEqual(results[1]?.tokens, ends < 0 ? other?.tokens : other?.tokens.slice(0, ends));
});

test('tokens that the tokenizer does not have are never drawn', async (t) => {
  const few = CharTokenizer.train(['abcdef']);
  using model = build();
  const samples = await generate(model, few, 'abc', { seed: 1, maxTokens: 40, samples: 3, temperature: 5 });
  t.true(samples.every(({ tokens }) => tokens.every((id) => id < 6)));
});

test('an empty prompt begins a document', async (t) => {
  using model = build(forBytes);
  const options = { temperature: 0, maxTokens: 5 };
  t.deepEqual(await generate(model, bytes, '', options), await generate(model, bytes, [256], options));
  using small = build();
  await t.throwsAsync(generate(small, characters, '', options), { message: /^generate: prompt must have at least one token, got none/ });
});

test('training goes on between the tokens: mode and gradients stay as they were', async (t) => {
  using model = build({ dropout: 0.5 });
  const modes = () => [model.training, model.blocks.every((b) => b.training && b.attn.training && b.mlp.training)];
  for await (const _ of streamText(model, characters, 'abc', { maxTokens: 3 })) t.deepEqual(modes(), [true, true]);
  t.true(model.parameters().every((p) => p.grad === null));
  model.eval();
  await generate(model, characters, 'abc', { maxTokens: 3 });
  t.deepEqual(modes(), [false, false]);
});

test.serial('nothing stays in memory: after the end, after leaving the loop, after an error', async (t) => {
  using model = build(forBytes);
  await generate(model, bytes, 'hi', { maxTokens: 3 });
  const { used } = memory();
  await generate(model, bytes, 'hi', { maxTokens: 60, samples: 3 });
  t.is(memory().used, used);
  for await (const _ of streamText(model, bytes, 'hi', { maxTokens: 60, seed: 1 })) break;
  t.is(memory().used, used);
  const controller = new AbortController();
  controller.abort();
  await t.throwsAsync(generate(model, bytes, 'hi', { signal: controller.signal }), { any: true, name: 'AbortError' });
  t.is(memory().used, used);
});

test('aborting stops at the next token', async (t) => {
  using model = build();
  const controller = new AbortController();
  let count = 0;
  const stream = async () => {
    for await (const piece of streamText(model, characters, 'abc', { seed: 1, maxTokens: 1000, signal: controller.signal })) {
      count += [...piece].length;
      if (count >= 5) controller.abort(new Error('enough'));
    }
  };
  await t.throwsAsync(stream(), { message: 'enough' });
  t.is(count, 5);
});

test('timers fire while tokens are made', async (t) => {
  using model = build(forBytes);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await generate(model, bytes, 'hi', { maxTokens: 200 });
  clearInterval(timer);
  t.true(ticks >= 3, `${ticks} ticks`);
});

test('a model that has diverged is told so', async (t) => {
  using model = build();
  fill(model.tokens.weight, Number.NaN);
  await t.throwsAsync(generate(model, characters, 'abc'), { code: 'ERR_HEDDLE_NOT_FINITE' });
});

test('a tokenizer trained on text: prompt and continuation are one text', async (t) => {
  const tokenizer = BPETokenizer.train(['人生若只如初见，何事秋风悲画扇。'.repeat(20)], { vocabSize: 270 });
  using model = build({ vocabSize: tokenizer.vocabSize });
  const [{ text = '', tokens = [] } = {}] = await generate(model, tokenizer, '人生', { seed: 4, maxTokens: 12, temperature: 0.5 });
  t.is(text, tokenizer.decode(tokens));
});

test('wrong arguments are named', async (t) => {
  using model = build();
  const rejects = (call: Promise<unknown>, message: RegExp) => t.throwsAsync(call, { code: 'ERR_HEDDLE_ARGUMENT', message });
  await rejects(generate(model, null, 'abc'), /^generate: prompt must be token ids where there is no tokenizer/);
  await rejects(generate(model, null, [1], { stop: 'a' }), /^generate: stop needs a tokenizer/);
  await rejects(generate(model, characters, [1, 31]), /^generate: prompt\[1\] must be a token id from 0 to 30, got 31/);
  await rejects(generate(model, characters, 'abc', { samples: 0 }), /samples must be a positive integer, got 0/);
  await rejects(generate(model, characters, 'abc', { maxTokens: -1 }), /maxTokens must be an integer of at least 0, got -1/);
  await rejects(generate(model, characters, 'abc', { topP: 2 }), /^generate: topP/);
  await rejects(generateRows(model, [[1]], { batch: 0 }), /^generateRows: batch must be a positive integer, got 0/);
  await rejects(generateRows(model, [[]]), /^generateRows: prompt must have at least one token/);
  await rejects(streamText(model, characters, 'abc', { stop: '' }).next(), /^streamText: stop must be texts/);
  t.deepEqual(await generate(model, characters, 'abc', { maxTokens: 0 }), [{ text: '', tokens: [], finishReason: 'length' }]);
});

/** Trains the model until it says these ids in a circle. */
function teach(model: GPT, circle: readonly number[]): void {
  const row = Array.from({ length: 16 }, (_, i) => circle[i % circle.length] as number);
  const optimizer = new AdamW(model, { lr: 1e-2 });
  for (let i = 0; i < 60; i++)
    scope(() => {
      optimizer.zeroGrad();
      backward(model.loss(idsOf(row.slice(0, -1)), idsOf(row.slice(1))));
      optimizer.step();
    });
  optimizer.dispose();
}
