import test from 'ava';
import { CharTokenizer, data, GPT, gptConfig, memory, Trainer, trainConfig } from '../../../lib/index.ts';

const TEXT = 'the cat sat on the mat; ';
const tokenizer = CharTokenizer.train([TEXT]);
const IDS = tokenizer.encode(TEXT.repeat(8));
const make = (contextLength = 16, seed = 1): GPT =>
  new GPT(gptConfig({ vocabSize: tokenizer.vocabSize, contextLength, layers: 1, heads: 2, width: 32 }), { seed });

test('the program of Keras: compile, fit, evaluate, predict', async (t) => {
  const model = make().compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  const before = await model.evaluate(IDS);
  const { epoch, history } = await model.fit(IDS, { epochs: 30, batchSize: 4, validation: tokenizer.encode(TEXT) });
  t.is(epoch.length, 30);
  t.deepEqual(Object.keys(history).sort(), ['accuracy', 'loss', 'valAccuracy', 'valLoss']);
  for (const figures of Object.values(history)) t.is(figures.length, 30);
  const after = await model.evaluate(IDS);
  t.true(after.loss < before.loss / 2, `${before.loss} to ${after.loss}`);
  t.true((after.accuracy ?? 0) > 0.8);
  t.true((history.accuracy?.at(-1) ?? 0) > 0.7);
  const logits = model.predict([IDS.slice(0, 5), IDS.slice(1, 6)]);
  t.deepEqual(logits.shape, [2, 5, tokenizer.vocabSize]);
  const next = (await logits.argmax(-1).data())[4];
  t.is(next, IDS[5]);
  model.dispose();
});

test("a step of fit is a step of the Trainer's, and the optimizer goes on in the next fit", async (t) => {
  const row = IDS.slice(0, 17);
  const compiled = make().compile({ optimizer: { name: 'adamw', learningRate: 1e-2, weightDecay: 0.1, clip: 1 } });
  const first = await compiled.fit([row], { epochs: 2 });
  const second = await compiled.fit([row], { epochs: 3 });
  const model = make();
  const tokens = new data.MemoryTokens({ tokens: row, vocabSize: tokenizer.vocabSize });
  const train = trainConfig(
    {
      ...{ steps: 5, batchSize: 1, learningRate: 1e-2, schedule: 'constant', warmup: 0 },
      ...{ betas: [0.9, 0.999], epsilon: 1e-7, evalEvery: 0 },
    },
    16,
  );
  const trainer = new Trainer({ model, train, data: new data.Loader(tokens, { batch: 1, length: 16, sampling: 'epoch' }) });
  const losses: number[] = [];
  for await (const event of trainer) if (event.type === 'step') losses.push(event.loss);
  t.deepEqual([...(first.history.loss ?? []), ...(second.history.loss ?? [])], losses);
});

test('rows of any length: each token but the first of a row is a target once, padding none', async (t) => {
  const model = make(8).compile();
  const rows = [IDS.slice(0, 3), IDS.slice(5, 40), IDS.slice(2, 11)];
  const whole = await model.evaluate(rows, { batchSize: 16 });
  for (const batchSize of [1, 2]) t.true(Math.abs((await model.evaluate(rows, { batchSize })).loss - whole.loss) < 1e-6);
  const loader = new data.RowsLoader('test', rows, { batch: 16, length: 8, vocabSize: tokenizer.vocabSize });
  t.is(loader.next().targetCount, 2 + 34 + 8);
});

test('labels: places of -100 are not learned, others are told apart from the tokens', async (t) => {
  const model = make().compile({ metrics: ['accuracy'] });
  const row = IDS.slice(0, 10);
  const labels = Array.from(row, (id, i) => (i < 5 ? -100 : (id + 1) % tokenizer.vocabSize));
  const loader = new data.RowsLoader('test', row, { batch: 1, length: 16, vocabSize: tokenizer.vocabSize, labels });
  const batch = loader.next();
  t.deepEqual([...batch.targets], labels.slice(1));
  t.is(batch.targetCount, 5);
  await model.fit(row, { labels, epochs: 60, batchSize: 1 });
  t.is((await model.evaluate(row, { labels })).accuracy, 1);
});

test('an order of epochs by the seed; a batch longer than a context is cut', async (t) => {
  const losses = async (seed: number): Promise<number[] | undefined> => {
    const model = make();
    const { history } = await model.compile().fit(IDS, { epochs: 3, batchSize: 2, seed });
    return history.loss;
  };
  t.deepEqual(await losses(1), await losses(1));
  t.notDeepEqual(await losses(1), await losses(2));
});

test.serial('compiled again it starts anew; nothing is left behind', async (t) => {
  const model = make();
  await model.compile().fit(IDS, { epochs: 2 });
  const { tensors } = memory();
  await model.compile({ optimizer: 'adam', metrics: ['accuracy'] }).fit(IDS, { epochs: 2 });
  await model.evaluate(IDS);
  model.predict(IDS.slice(0, 4)).dispose();
  t.is(memory().tensors, tensors);
});

test('wrong calls are named', async (t) => {
  const model = make();
  const V = tokenizer.vocabSize;
  const message = async (work: () => unknown): Promise<string | undefined> =>
    (await t.throwsAsync(async () => void (await work()), { code: 'ERR_HEDDLE_ARGUMENT' }))?.message;
  t.is(await message(() => model.fit(IDS)), "fit: compile the model first, as in model.compile({ optimizer: 'adam' })");
  t.is(
    await message(() => model.compile({ optimizer: 'rmsprop' as never })),
    'compile: optimizer must be one of adam, adamw, lion, sgd, got "rmsprop"',
  );
  t.is(await message(() => model.compile({ loss: 'mse' as never })), 'compile: loss must be \'sparseCategoricalCrossentropy\', got "mse"');
  t.is(await message(() => model.compile({ metrics: ['f1' as never] })), 'compile: metrics must be \'accuracy\', got "f1"');
  model.compile();
  t.is(await message(() => model.fit([])), 'fit: there must be at least one row of tokens, got none');
  t.is(await message(() => model.fit([3])), 'fit: row 0 must be of at least 2 tokens, one to predict the other, got 1');
  t.is(
    await message(() =>
      model.fit([
        [1, 2],
        [1, V],
      ]),
    ),
    `fit: row 1: token 1 must be an id from 0 to ${V - 1}, got ${V}`,
  );
  t.is(await message(() => model.fit([1, 2], { labels: [1] })), 'fit: labels of row 0 must be 2 as its tokens are, got 1');
  t.is(
    await message(() => model.fit([1, 2], { labels: [-100, -100] })),
    'fit: labels must leave something to learn, got -100 in every place',
  );
  t.is(await message(() => model.fit([1, 2], { batchSize: 0 })), 'fit: batch must be a positive integer, got 0');
  t.is(await message(() => model.fit([1, 2], { epochs: -1 })), 'fit: epochs must be an integer of at least 0, got -1');
  t.is(await message(() => model.predict([[1, 2], [1]])), 'predict: rows must be of equal length, got 2 and 1 tokens');
  t.is(await message(() => model.predict([1, V])), `predict: a token must be an id from 0 to ${V - 1}, got ${V}`);
});
