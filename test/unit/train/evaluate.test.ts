import test from 'ava';
import { ByteTokenizer, data, evaluate, GPT, gptConfig, noGrad, scope, tensor } from '../../../lib/index.ts';
import { tokens } from './run_support.ts';

const model = new GPT(gptConfig({ vocabSize: 256, contextLength: 8, layers: 1, heads: 2, width: 16, initStd: 0.3 }), { seed: 3 });

/** -ln p(target) at every position, from logits, in float64. */
function costs(ids: number[]): number[] {
  return scope(() => {
    const logits = noGrad(() => model.logits(tensor(Int32Array.from(ids.slice(0, -1)), { shape: [1, ids.length - 1] }))).dataSync();
    return ids.slice(1).map((target, i) => {
      const row = [...logits.slice(i * 256, (i + 1) * 256)];
      const top = Math.max(...row);
      return top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0)) - (row[target] as number);
    });
  });
}

const text = 'The sea, the séa; 鯨 and the ship.';
const bytes = [...new TextEncoder().encode(text)];
const source = new data.MemoryTokens({ tokens: bytes, vocabSize: 256 });

test('the loss is the sum by hand over all tokens, and bits per byte too', async (t) => {
  let nats = 0;
  // Windows of 8 inputs; every token but the first is a target once.
  for (let start = 0; start < bytes.length - 1; start += 8) nats += costs(bytes.slice(start, start + 9)).reduce((a, b) => a + b, 0);
  const result = await evaluate(model, source, { tokenizer: new ByteTokenizer() });
  t.is(result.tokens, bytes.length - 1);
  t.is(result.bytes, bytes.length - 1);
  t.true(Math.abs(result.loss - nats / result.tokens) < 1e-5, `${result.loss} ${nats / result.tokens}`);
  t.true(Math.abs((result.bitsPerByte as number) - nats / Math.LN2 / result.bytes) < 1e-5);
  t.true(Math.abs(result.perplexity - Math.exp(result.loss)) < 1e-9 * result.perplexity);
  t.is((await evaluate(model, source)).bitsPerByte, null, 'without a tokenizer there are no bytes');
});

test('the result does not depend on the batch', async (t) => {
  const many = new data.MemoryTokens({ tokens: Array.from({ length: 777 }, (_, i) => (i * i + 3 * i) % 256), vocabSize: 256 });
  const one = await evaluate(model, many, { batch: 1 });
  for (const batch of [2, 5, 32, 200]) {
    const other = await evaluate(model, many, { batch });
    t.is(other.tokens, one.tokens);
    t.true(Math.abs(other.loss - one.loss) < 1e-6, `batch ${batch}: ${other.loss} and ${one.loss}`);
  }
});

test('dropout is off, and the mode is afterwards what it was', async (t) => {
  const dropping = new GPT(gptConfig({ vocabSize: 17, contextLength: 16, layers: 1, heads: 2, width: 16, dropout: 0.5 }), { seed: 1 });
  dropping.train();
  const a = await evaluate(dropping, tokens(100));
  t.true(dropping.training);
  t.is((await evaluate(dropping, tokens(100))).loss, a.loss);
});

test('overlapping windows: every token once, from more text', async (t) => {
  for (const stride of [1, 3, 5, 8]) {
    let nats = 0;
    for (let next = 1; next < bytes.length; ) {
      const end = stride === 8 ? Math.min(bytes.length, next + 8) : Math.min(bytes.length, Math.max(next + stride, 9));
      const start = stride === 8 ? next - 1 : Math.max(0, end - 9);
      nats += costs(bytes.slice(start, end))
        .slice(next - 1 - start)
        .reduce((a, b) => a + b, 0);
      next = end;
    }
    const seen: string[] = [];
    const result = await evaluate(model, source, { stride, batch: 4, onProgress: (done, of) => seen.push(`${done}/${of}`) });
    t.is(result.tokens, bytes.length - 1, `stride ${stride}`);
    t.true(Math.abs(result.loss - nats / result.tokens) < 1e-5, `stride ${stride}: ${result.loss} and ${nats / result.tokens}`);
    t.is(seen.at(-1), `${seen.length}/${seen.length}`);
  }
  for (const stride of [0, 9, 1.5])
    await t.throwsAsync(evaluate(model, source, { stride }), {
      message: `windows: stride must be an integer from 1 to the length of 8 tokens, got ${stride}`,
    });
});

test('it can be stopped, cut, and watched', async (t) => {
  const many = tokens(400, 17);
  const seen: string[] = [];
  const cut = await evaluate(model, many, { batch: 2, maxTokens: 40, onProgress: (done, of) => seen.push(`${done}/${of}`) });
  t.is(cut.tokens, 48);
  t.deepEqual(seen, ['1/25', '2/25', '3/25']);
  const stop = new AbortController();
  const error = await t.throwsAsync(() => evaluate(model, many, { batch: 2, signal: stop.signal, onProgress: () => stop.abort() }), {
    any: true,
  });
  t.is((error as unknown as DOMException).name, 'AbortError');
});
