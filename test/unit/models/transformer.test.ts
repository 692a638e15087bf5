import test from 'ava';
import {
  AdamW,
  backward,
  data,
  memory,
  noGrad,
  RandomSource,
  schedule,
  scope,
  Transformer,
  type TransformerConfig,
  tensor,
  transformerConfig,
} from '../../../lib/index.ts';

const SMALL = { vocabSize: 13, contextLength: 16, encoderLayers: 2, decoderLayers: 2, heads: 2, width: 16, dropout: 0 } as const;
const small = (input: Partial<TransformerConfig> = {}): Transformer =>
  new Transformer(transformerConfig({ ...SMALL, ...input }), { seed: 4 });
const ids = (rows: readonly (readonly number[])[]) =>
  tensor(Int32Array.from(rows.flat()), { shape: [rows.length, (rows[0] as number[]).length] });
const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce<number>((most, x, i) => Math.max(most, Math.abs(x - (b[i] as number))), 0);
const logits = (model: Transformer, source: number[], target: number[], padding?: number[]): Float32Array =>
  scope(() =>
    noGrad(() => model.logits(ids([source]), ids([target]), { padding: padding ? ids([padding]) : null }).dataSync() as Float32Array),
  );

for (const normPosition of ['post', 'pre'] as const) {
  test(`${normPosition}-norm: the decoder sees the target up to its place and all of the source; padding nothing`, (t) => {
    const model = small({ normPosition });
    const [source, target] = [
      [3, 4, 5, 6],
      [1, 7, 8, 9],
    ];
    const own = logits(model, source, target);
    const later = logits(model, source, [1, 7, 8, 2]);
    t.is(largest(own.subarray(0, 3 * 13), later.subarray(0, 3 * 13)), 0);
    t.true(largest(own.subarray(3 * 13), later.subarray(3 * 13)) > 1e-3);
    for (const at of [0, 3]) {
      const other = source.map((id, i) => (i === at ? 12 : id));
      t.true(largest(own.subarray(0, 13), logits(model, other, target).subarray(0, 13)) > 1e-4, `source ${at}`);
    }
    t.true(largest(own, logits(model, [4, 3, 5, 6], target)) > 1e-4, 'the order of the source counts');
    const padded = logits(model, [...source, 11, 12], target, [0, 0, 0, 0, 1, 1]);
    t.true(largest(own, padded) < 1e-5, `${largest(own, padded)}`);
    model.dispose();
  });

  test(`${normPosition}-norm: the gradient of the loss is that of central differences`, (t) => {
    const model = small({ normPosition });
    const [source, padding] = [
      ids([
        [3, 4, 5],
        [6, 7, 0],
      ]),
      ids([
        [0, 0, 0],
        [0, 0, 1],
      ]),
    ];
    const [inputs, targets] = [
      ids([
        [1, 8, 9],
        [1, 10, 0],
      ]),
      ids([
        [8, 9, 2],
        [10, 2, -100],
      ]),
    ];
    const loss = () => model.loss(source, inputs, targets, { padding });
    const value = (): number => noGrad(() => scope(() => loss().dataSync()[0] as number));
    scope(() => backward(loss()));
    const names = [
      'tokens.weight',
      'encoder.0.attn.kv.weight',
      'encoder.1.mlp.up.weight',
      'decoder.0.across.q.weight',
      'decoder.0.across.kv.weight',
    ];
    for (const name of [...names, 'decoder.1.attn.proj.weight', 'decoder.1.norm2.weight']) {
      const p = model.namedParameters().get(name) as ReturnType<typeof model.parameters>[0];
      const gradient = p.grad?.dataSync() as Float32Array;
      const values = p.dataSync() as Float32Array;
      const places = [...gradient.keys()].sort((a, b) => Math.abs(gradient[b] as number) - Math.abs(gradient[a] as number)).slice(0, 4);
      const most = Math.abs(gradient[places[0] as number] as number);
      t.true(most > 1e-4, name);
      for (const place of places) {
        const at = (x: number): number => {
          p.set(values.map((v, i) => (i === place ? v + x : v)));
          return value();
        };
        const h = 4e-3;
        const numeric = (at(h) - at(-h)) / (2 * h);
        t.true(Math.abs(numeric - (gradient[place] as number)) < 0.02 * most + 2e-4, `${name}: ${numeric} ${gradient[place]}`);
      }
      p.set(values);
    }
    model.dispose();
  });
}

test('the base model of the paper has 65 million parameters less its vocabulary of 37,000 apart', (t) => {
  const model = new Transformer(transformerConfig({ vocabSize: 8, encoderLayers: 1, decoderLayers: 1 }), { seed: 1 });
  const [C, F] = [512, 2048];
  const attention = 4 * (C * C + C);
  const mlp = 2 * C * F + F + C;
  const layers = attention + mlp + 2 * 2 * C + (2 * attention + mlp + 3 * 2 * C);
  t.is(model.parameterCount(), layers + 8 * C);
  t.true(Math.abs(6 * layers + 37000 * C - 65e6) < 3e6);
  model.dispose();
});

test('dropout is drawn while training alone, and goes by the step', (t) => {
  const model = small({ dropout: 0.3 });
  const random = new RandomSource(1);
  const drawn = (step: number): number => {
    random.begin(step);
    return noGrad(() => scope(() => model.loss(ids([[3, 4]]), ids([[1, 5]]), ids([[5, 2]]), { random }).dataSync()[0] as number));
  };
  t.not(drawn(1), drawn(2));
  t.is(drawn(1), drawn(1));
  model.eval();
  t.is(drawn(1), drawn(2));
  model.dispose();
});

test('what is wrong is named', (t) => {
  t.throws(() => transformerConfig({ vocabSize: 5, width: 10, heads: 4 }), {
    message: 'transformerConfig: width must be a multiple of heads (4), got 10',
  });
  t.throws(() => transformerConfig({ vocabSize: 0 }), { message: 'transformerConfig: vocabSize must be a positive integer, got 0' });
  const model = small();
  t.throws(() => model.encode(ids([Array.from({ length: 17 }, () => 1)])), { message: /T from 1 to 16, got \(1, 17\)/ });
  t.throws(() => data.pairBatch([{ source: [], target: [1] }], { begin: 0, end: 0 }), {
    message: 'pairBatch: pairs[0].source must not be empty',
  });
  model.dispose();
});

test('a batch of pairs', (t) => {
  const batch = data.pairBatch(
    [
      { source: [5, 6, 7], target: [8] },
      { source: [9], target: [10, 11] },
    ],
    { begin: 1, end: 2 },
  );
  t.like(batch, { rows: 2, sourceLength: 3, targetLength: 3, targetCount: 5 });
  t.deepEqual([...batch.source], [5, 6, 7, 9, 0, 0]);
  t.deepEqual([...batch.padding], [0, 0, 0, 0, 1, 1]);
  t.deepEqual([...batch.inputs], [1, 8, 0, 1, 10, 11]);
  t.deepEqual([...batch.targets], [8, 2, -100, 10, 11, 2]);
});

test.serial('it learns to translate sentences that it has not seen', async (t) => {
  const before = memory().used;
  const { train, validation } = data.translations(1);
  // Words as tokens; 0 is padding, 1 begins, 2 ends.
  const words = new Map<string, number>();
  const encode = (text: string): number[] =>
    (text.match(/[\p{L}]+/gu) as string[]).map((word) => {
      if (!words.has(word)) words.set(word, words.size + 3);
      return words.get(word) as number;
    });
  const pairs = (list: typeof train) => list.map(({ prompt, completion }) => ({ source: encode(prompt), target: encode(completion) }));
  const [learned, heldOut] = [pairs(train), pairs(validation)];
  const model = new Transformer(
    transformerConfig({
      vocabSize: words.size + 3,
      contextLength: 16,
      encoderLayers: 1,
      decoderLayers: 1,
      heads: 4,
      width: 64,
      ffnWidth: 128,
    }),
    { seed: 1 },
  );
  const steps = 220;
  const optimizer = new AdamW(model, { lr: 4e-3, weightDecay: 0.01 });
  const rate = schedule({ kind: 'linear', learningRate: 4e-3, minLearningRate: 0, warmup: 20, steps, decaySteps: steps });
  const random = new RandomSource(1);
  const order = new data.RowsLoader(
    'test',
    learned.map((_, i) => [i, i]),
    { batch: 32, length: 1, vocabSize: learned.length, shuffle: true, seed: 1 },
  );
  for (let step = 0; step < steps; step++) {
    const b = data.pairBatch(
      Array.from(order.next().inputs, (i) => learned[i] as (typeof learned)[0]),
      { begin: 1, end: 2 },
    );
    random.begin(step);
    scope(() => {
      const put = (values: Int32Array, T: number) => tensor(values, { shape: [b.rows, T] });
      const [source, padding] = [put(b.source, b.sourceLength), put(b.padding, b.sourceLength)];
      backward(model.loss(source, put(b.inputs, b.targetLength), put(b.targets, b.targetLength), { padding, random, labelSmoothing: 0.1 }));
    });
    optimizer.clipGradNorm(1);
    optimizer.step(rate(step));
    optimizer.zeroGrad();
  }
  const said = await model.greedy(
    heldOut.map(({ source }) => source),
    { begin: 1, end: 2, maxTokens: 8 },
  );
  const right = said.filter((row, i) => String(row) === String(heldOut[i]?.target)).length / heldOut.length;
  t.true(right >= 0.95, `${right}`);
  const [alone] = await model.greedy([(heldOut[0] as (typeof heldOut)[0]).source], { begin: 1, end: 2, maxTokens: 8 });
  t.deepEqual(alone, said[0], 'a row of a batch is the row alone');
  optimizer.dispose();
  model.dispose();
  random.dispose();
  t.is(memory().used, before);
});
