import test from 'ava';
import { slidingWindows } from '../../../lib/data/sliding.ts';
import { score, scoreRows } from '../../../lib/generate/index.ts';
import { encodePair } from '../../../lib/generate/score.ts';
import { memory } from '../../../lib/tensor/device.ts';
import { BPETokenizer, ByteTokenizer, CharTokenizer } from '../../../lib/tokenizer/index.ts';
import { build, families, logitsOf, modern, someIds } from '../models/support.ts';

/** ln p of `ids[at]` after the ones before, in float64, from logits; and the likeliest id there. */
function byHand(model: ReturnType<typeof build>, ids: readonly number[], at: number): { logProb: number; best: number } {
  const row = [...(logitsOf(model, ids.slice(0, at)).at(-1) as Float32Array)];
  const top = Math.max(...row);
  const total = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
  return { logProb: (row[ids[at] as number] as number) - top - Math.log(total), best: row.indexOf(top) };
}

test('log-probabilities are those of the logits, whatever rows run together', async (t) => {
  for (const [name, input] of Object.entries(families)) {
    using model = build(input);
    const rows = [
      { tokens: someIds(9), from: 1 },
      { tokens: someIds(25, 2), from: 20 },
      { tokens: someIds(2, 3), from: 1 },
      { tokens: someIds(14, 4), from: 5 },
    ];
    const scores = await scoreRows(model, rows);
    for (const [i, { tokens, from }] of rows.entries()) {
      const { logProbs = [], likeliest = [] } = scores[i] ?? {};
      t.is(logProbs.length, tokens.length - from);
      for (let at = from; at < tokens.length; at++) {
        const want = byHand(model, tokens, at);
        t.true(Math.abs((logProbs[at - from] ?? Number.NaN) - want.logProb) < 1e-4, `${name}, row ${i}, token ${at}`);
        t.is(likeliest[at - from], want.best === tokens[at], `${name}, row ${i}, token ${at}`);
      }
    }
  }
});

test('windows: every token once, each with at least T - stride before it, or all there is', (t) => {
  for (const [length, from, T, stride] of [
    [2, 1, 8, 4],
    [9, 1, 8, 4],
    [10, 1, 8, 4],
    [40, 1, 8, 1],
    [40, 37, 8, 3],
    [40, 12, 8, 8],
    [9, 8, 8, 4],
    [41, 1, 7, 5],
    [5, 1, 1, 1],
    [11, 3, 8, 2],
  ] as const) {
    let next: number = from;
    const of = `${length} ${from} ${T} ${stride}`;
    for (const { start, from: first, end } of slidingWindows(length, from, T, stride)) {
      t.is(first, next, of);
      t.true(end > first && end - start <= T + 1 && start < first, of);
      t.true(start === 0 || first - start >= T - stride, `${of}: ${first - start} before`);
      next = end;
    }
    t.is(next, length, of);
  }
  const count = (stride: number): number => [...slidingWindows(25, 1, 8, stride)].length;
  t.deepEqual([8, 4, 1].map(count), [3, 5, 17]);
  t.deepEqual([...slidingWindows(40, 37, 8, 4)], [{ start: 31, from: 37, end: 40 }], 'as much before the targets as fits');
  t.deepEqual([...slidingWindows(9, 1, 8, 4)], [{ start: 0, from: 1, end: 9 }], 'what fits whole is seen whole');
});

test('a text longer than the context', async (t) => {
  using model = build(modern);
  const tokens = someIds(70);
  for (const stride of [24, 12, 5]) {
    const [{ logProbs = [] } = {}] = await scoreRows(model, [{ tokens, from: 1 }], stride === 12 ? {} : { stride });
    t.is(logProbs.length, 69);
    for (const { start, from, end } of slidingWindows(70, 1, 24, stride))
      for (let at = from; at < end; at++)
        t.true(Math.abs((logProbs[at - 1] ?? Number.NaN) - byHand(model, tokens.slice(start), at - start).logProb) < 1e-4, `token ${at}`);
  }
});

test('a context and its continuation are encoded as one text', (t) => {
  const tokenizer = BPETokenizer.train(['the cat sat on the mat, the dog sat on the log. '.repeat(30)], { vocabSize: 300 });
  for (const [context, continuation] of [
    ['the cat', ' sat'],
    ['the cat ', 'sat'],
    ['', 'the dog'],
  ] as const) {
    const { tokens, from } = encodePair(tokenizer, context, continuation);
    const all = Array.from(tokens);
    const text = tokenizer.decode(all.filter((id) => id !== tokenizer.endOfText));
    t.is(text, context + continuation);
    t.is(tokenizer.decode(all.slice(from)), context === '' ? continuation : continuation.replace(/^ ?/, ' '));
  }
  t.throws(() => encodePair(tokenizer, 'a', ''), { message: 'score: text must not be empty' });
  t.throws(() => encodePair(CharTokenizer.train(['ab']), ' '.trim(), 'a'), {
    message: /^score: prompt must not be empty with a tokenizer/,
  });
});

test('choices of one token behind one context', async (t) => {
  using model = build();
  const choices = [3, 7, 9].map((id) => ({ tokens: [...someIds(6), id], from: 6 }));
  const together = await scoreRows(model, choices);
  for (const [i, row] of choices.entries()) t.deepEqual(together[i], (await scoreRows(model, [row]))[0]);
});

test.serial('score: the text alone, after a prompt, and nothing is left in memory', async (t) => {
  const bytes = new ByteTokenizer();
  using model = build({ vocabSize: 257 });
  const alone = await score(model, bytes, 'hello');
  t.deepEqual(alone.tokens, [...Buffer.from('hello')]);
  t.true(Math.abs(alone.logProb - alone.logProbs.reduce((a, b) => a + b)) < 1e-9);
  const { used } = memory();
  const after = await score(model, bytes, ' world', { prompt: 'hello' });
  const [rows] = await scoreRows(model, [{ tokens: [...Buffer.from('hello world')], from: 5 }]);
  t.deepEqual(after.logProbs, rows?.logProbs);
  t.is(memory().used, used);
  model.train();
  await score(model, bytes, 'a');
  t.true(model.training);
});

test('scoring: what is wrong is named', async (t) => {
  using model = build();
  const rejects = (rows: Parameters<typeof scoreRows>[1], message: RegExp) =>
    t.throwsAsync(scoreRows(model, rows), { code: 'ERR_HEDDLE_ARGUMENT', message });
  await rejects([{ tokens: [1, 2], from: 0 }], /^scoreRows: rows\[0\]\.from must be an integer from 1 to 1, got 0/);
  await rejects([{ tokens: [1, 2], from: 2 }], /got 2$/);
  await rejects([{ tokens: [1, 99], from: 1 }], /must be a token id from 0 to 30, got 99/);
  await rejects([{ tokens: [], from: 1 }], /at least one token/);
  await t.throwsAsync(scoreRows(model, [{ tokens: [1, 2], from: 1 }], { stride: 25 }), {
    message: /^scoreRows: stride must be an integer from 1 to the context of 24 tokens, got 25/,
  });
  using both = build({ causal: false });
  await t.throwsAsync(scoreRows(both, [{ tokens: [1, 2], from: 1 }]), { message: /^scoreRows: model must be causal/ });
  const controller = new AbortController();
  controller.abort();
  await t.throwsAsync(scoreRows(model, [{ tokens: [1, 2], from: 1 }], { signal: controller.signal }), { any: true, name: 'AbortError' });
});
