import test from 'ava';
import { beamSearch, choose, generate, oneOf, score } from '../../../lib/generate/index.ts';
import { BPETokenizer, ByteTokenizer, CharTokenizer } from '../../../lib/tokenizer/index.ts';
import { build, logitsOf } from '../models/support.ts';

const bytes = new ByteTokenizer();
const model = build({ vocabSize: 257 });
const words = ['yes', 'yesterday', 'no', 'noon', 'maybe', '也许'];

/** The likeliest token among those with which a choice goes on, by hand; the end of text where a choice is complete. */
function byHand(prompt: string, choices: readonly string[]): string {
  const ids = [...Buffer.from(prompt)];
  const sequences = choices.map((choice) => [...Buffer.from(choice), 256]);
  for (let at = 0; ; at++) {
    const said = ids.slice(Buffer.byteLength(prompt));
    const left = sequences.filter((sequence) => said.every((id, i) => sequence[i] === id));
    const complete = left.find((sequence) => sequence.length === said.length);
    if (complete) return choices[sequences.indexOf(complete)] as string;
    if (left.length === 1) return choices[sequences.indexOf(left[0] as number[])] as string;
    const logits = logitsOf(model, ids).at(-1) as Float32Array;
    const allowed = left.map((sequence) => sequence[at] as number);
    ids.push(allowed.reduce((best, id) => ((logits[id] as number) > (logits[best] as number) ? id : best)));
  }
}

test('the answer is one of the choices, token by token the likeliest', async (t) => {
  const seen = new Set<string>();
  for (let i = 0; i < 25; i++) {
    const prompt = `${i} ${'abcdef'[i % 6]}: `;
    const { choice, index, tokens, logProb } = await choose(model, bytes, prompt, words);
    t.is(choice, byHand(prompt, words), prompt);
    t.is(words[index], choice);
    t.is(bytes.decode(tokens), choice);
    const ends = words.some((other) => other !== choice && other.startsWith(choice));
    const { logProb: want } = await score(model, bytes, choice, { prompt: prompt.trimEnd() + prompt.slice(prompt.trimEnd().length) });
    if (!ends && prompt.trimEnd() === prompt) t.true(Math.abs(logProb - want) < 1e-3);
    seen.add(choice);
  }
  t.true(seen.size > 1, 'the prompts ask for different answers');
});

test('ln p is that of scoring', async (t) => {
  const { choice, logProb } = await choose(model, bytes, 'q:', ['alpha', 'beta', 'gamma']);
  t.true(Math.abs(logProb - (await score(model, bytes, choice, { prompt: 'q:' })).logProb) < 1e-4);
});

test('one choice that begins another: the end of text decides', async (t) => {
  const pair = ['ab', 'abc'];
  const { choice, logProb } = await choose(model, bytes, 'x', pair);
  t.is(choice, byHand('x', pair));
  const row = logitsOf(model, [...Buffer.from('xab')]).at(-1) as Float32Array;
  t.is(choice, (row[256] as number) > (row[99] as number) ? 'ab' : 'abc');
  t.true(logProb < 0);
  const letters = CharTokenizer.train(['abcx']);
  const { endOfText } = letters;
  if (endOfText === undefined) {
    using small = build({ vocabSize: letters.vocabSize });
    await t.throwsAsync(choose(small, letters, 'x', pair), {
      message: 'choose: choices[0] must not begin another one where no token ends a text, got "ab"',
    });
    t.true(['ab', 'ca'].includes((await choose(small, letters, 'x', ['ab', 'ca'])).choice));
  }
  await t.throwsAsync(choose(model, bytes, 'x', pair, { endOfText: null }), { message: /^choose: choices\[0\] must not begin another/ });
});

test('sampled choices come with the seed', async (t) => {
  const answers = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const { choice } = await choose(model, bytes, 'x', words, { seed, temperature: 3 });
    t.is((await choose(model, bytes, 'x', words, { seed, temperature: 3 })).choice, choice);
    t.true(words.includes(choice));
    answers.add(choice);
  }
  t.true(answers.size > 1);
});

test('beam search among choices finds the likeliest whole one', async (t) => {
  const end = bytes.endOfText as number;
  const sequences = words.map((word) => Array.from(bytes.encode(word)));
  const [best] = await beamSearch(model, bytes, 'q: ', {
    ...{ beams: 8, maxTokens: 12, lengthPenalty: 0, processors: [oneOf(sequences, end)] },
  });
  const scores = [];
  for (const word of words) {
    const whole = [...Buffer.from('q: '), ...Buffer.from(word), end];
    let sum = 0;
    for (let at = 3; at < whole.length; at++) {
      const row = [...(logitsOf(model, whole.slice(0, at)).at(-1) as Float32Array)];
      sum += (row[whole[at] as number] as number) - Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
    }
    scores.push(sum);
  }
  t.is(best?.text, words[scores.indexOf(Math.max(...scores))]);
  t.true(Math.abs((best?.logProb ?? Number.NaN) - Math.max(...scores)) < 1e-3);
  const [sampled] = await generate(model, bytes, 'q: ', { seed: 2, maxTokens: 12, processors: [oneOf(sequences, end)] });
  t.true(words.includes(sampled?.text ?? ''));
});

test('tokens of several characters: a choice is encoded as it stands behind the prompt', async (t) => {
  const tokenizer = BPETokenizer.train(['the cat sat on the mat. the dog sat on the log. '.repeat(30)], { vocabSize: 300 });
  using small = build({ vocabSize: tokenizer.vocabSize });
  const choices = [' the cat', ' the dog', ' a log'];
  const { choice, tokens } = await choose(small, tokenizer, 'sat on', choices);
  t.true(choices.includes(choice));
  t.is(tokenizer.decode(tokens), choice);
  t.deepEqual(Array.from(tokenizer.encode(`sat on${choice}`)).slice(-tokens.length), [...tokens]);
  t.true(choices.includes((await choose(small, tokenizer, tokenizer.encode('sat on'), choices)).choice), 'a prompt of ids');
});

test('choices: what is wrong is named', async (t) => {
  const rejects = (choices: string[], message: RegExp) =>
    t.throwsAsync(choose(model, bytes, 'x', choices), { code: 'ERR_HEDDLE_ARGUMENT', message });
  await rejects([], /^choose: choices must be at least one text, got none/);
  await rejects(['a', ''], /^choose: choices\[1\] must be at least one token, got none/);
  await rejects(['a', 'b', 'a'], /^choose: choices must be tokens of their own each, got those of choices\[0\] in choices\[2\], too/);
  t.throws(() => oneOf([[1], [1]], 256), { message: /^oneOf: choices must be tokens of their own/ });
  await t.throwsAsync(choose(model, bytes, 'x', ['a', 'b'], { badWords: ['a', 'b'] }), {
    message: /^choose: processors must leave a token to choose/,
  });
});
