import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  ByteTokenizer,
  backward,
  chooseAnswers,
  classify,
  data,
  finetune,
  formatRunConfig,
  GPT,
  GPTForMultipleChoice,
  GPTForSequenceClassification,
  gptConfig,
  headObjective,
  memory,
  type nn,
  noGrad,
  openModel,
  parseRunConfig,
  pretrain,
  RandomSource,
  type RunConfig,
  type ScoredData,
  scope,
  type Tensor,
  type TrainerEvent,
  tensor,
} from '../../../lib/index.ts';
import { lossOn, temporaryFolder } from './run_support.ts';

const byte = new ByteTokenizer();
const small = (seed = 1): GPT => new GPT(gptConfig({ vocabSize: 257, contextLength: 32, layers: 1, heads: 2, width: 16 }), { seed });
const scored = (texts: readonly string[], size: number, answers: readonly number[]): ScoredData => ({
  ...{ tokens: data.encodeScored(texts, byte), size, answers: Int32Array.from(answers) },
});

test('a batch: the head reads at the end-of-text token, its text is learned, padding is not', (t) => {
  const { tokens } = scored(['ab', 'cdef'], 1, [0, 1]);
  const [batch] = [...data.groupsOnce(tokens, { size: 1, batch: 2, length: 32 })] as [data.GroupsBatch];
  t.like(batch, { rows: 2, length: 5, targetCount: 2 + 4 });
  t.deepEqual([...batch.inputs], [97, 98, 256, 0, 0, 99, 100, 101, 102, 256]);
  t.deepEqual([...batch.targets], [98, 256, -100, -100, -100, 100, 101, 102, 256, -100]);
  t.deepEqual([...batch.ends], [2, 9]);
  const cut = new data.GroupsLoader(tokens, { size: 1, batch: 2, length: 3, tooLong: 'truncate' }).next();
  t.deepEqual([...new Set(cut.inputs)].sort(), [101, 102, 256, 97, 98].sort(), 'the beginning is cut off');
  t.throws(() => new data.GroupsLoader(tokens, { size: 1, batch: 2, length: 3 }), {
    message: /at most length \+ 1 = 4 tokens, got 1 longer ones \(up to 6\)/,
  });
  t.throws(() => data.encodeScored(['a'], new ByteTokenizer([])), { message: /must have an end-of-text token/ });
});

test('each group once an epoch, its documents side by side; a restored loader goes on', (t) => {
  const tokens = data.encodeScored(
    Array.from({ length: 14 }, (_, i) => String.fromCharCode(97 + i)),
    byte,
  );
  const make = () => new data.GroupsLoader(tokens, { size: 2, batch: 3, length: 8, seed: 4 });
  const loader = make();
  const seen: number[] = [];
  for (let i = 0; i < 7; i++) {
    const batch = loader.next();
    for (const [g, group] of batch.groups.entries()) {
      seen.push(group);
      for (const k of [0, 1]) t.is(batch.inputs[(2 * g + k) * batch.length], 97 + 2 * group + k);
    }
  }
  for (const epoch of [0, 1, 2]) t.deepEqual(seen.slice(7 * epoch, 7 * epoch + 7).sort(), [0, 1, 2, 3, 4, 5, 6]);
  t.notDeepEqual(seen.slice(0, 7), seen.slice(7, 14));
  const again = make();
  again.restore(loader.state());
  t.deepEqual(again.next(), loader.next());
  t.throws(() => again.restore({ ...loader.state(), tokens: 3 }), { message: /must have tokens/ });
  t.throws(() => again.restore({ ...loader.state(), position: 7 }), { message: /must have a position within the data, got 7/ });
});

/** The largest difference of a gradient from central differences, relative to the largest gradient. */
async function worstGradient(
  loss: () => Promise<number>,
  parameter: Tensor & { set(values: Float32Array): void },
  places: readonly number[],
): Promise<number> {
  const gradient = (parameter.grad as { dataSync(): Float32Array }).dataSync();
  const values = parameter.dataSync() as Float32Array;
  const h = 1e-2;
  let [worst, most] = [0, 0];
  for (const place of places) {
    const at = async (x: number): Promise<number> => {
      parameter.set(values.map((v, i) => (i === place ? v + x : v)));
      return loss();
    };
    const numeric = ((await at(h)) - (await at(-h))) / (2 * h);
    worst = Math.max(worst, Math.abs(numeric - (gradient[place] as number)));
    most = Math.max(most, Math.abs(numeric));
  }
  parameter.set(values);
  return worst / most;
}

for (const [name, make, size] of [
  ['classification', (gpt: GPT) => new GPTForSequenceClassification(gpt, ['a', 'b', 'c'], { seed: 1, dropout: 0 }), 1],
  ['choice', (gpt: GPT) => new GPTForMultipleChoice(gpt, { seed: 1, dropout: 0 }), 2],
] as const)
  test(`${name}: the loss is that of the head plus λ times the texts', and its gradient that of central differences`, async (t) => {
    const module = make(small());
    module.score.weight.set(Float32Array.from({ length: module.score.weight.size }, (_, i) => Math.sin(i)));
    const { weight } = module.gpt.tokens;
    weight.set((weight.dataSync() as Float32Array).map((v) => 10 * v));
    const train = scored(['ab', 'cdef', 'gh', 'ijk'], size, [1, 0, 2, 1]);
    const [batch] = [...data.groupsOnce(train.tokens, { size, batch: 4 / size, length: 32 })] as [data.GroupsBatch];
    const random = new RandomSource(1);
    const scales = [tensor([0.25], { shape: [] }).keep(), tensor([0.1], { shape: [] }).keep()];
    const lossOf = (lmWeight: number) =>
      lossOn(headObjective(module, { train, validation: null, lmWeight, length: 32 }), batch, { random, scales });
    const value = (lmWeight: number): Promise<number> => noGrad(() => scope(() => lossOf(lmWeight).keep())).item();
    const [head, half, whole] = [await value(0), await value(0.5), await value(1)];
    t.true(Math.abs(head + whole - 2 * half) < 1e-5 && whole > head, `${head} ${half} ${whole}`);
    const b = {
      ids: tensor(batch.inputs, { shape: [batch.rows, batch.length] }),
      targets: tensor(batch.targets, { shape: [batch.rows, batch.length] }),
    };
    const own = noGrad(() => module.gpt.loss(b.ids, b.targets, { reduction: 'sum' }).dataSync()[0] as number);
    t.true(Math.abs(whole - head - 0.1 * own) < 1e-4);
    scope(() => backward(lossOf(0.5)));
    const block = module.gpt.blocks[0] as GPT['blocks'][0];
    for (const p of [module.score.weight, block.mlp.up.weight as nn.Parameter, module.gpt.tokens.weight]) {
      const places = p === module.gpt.tokens.weight ? [97 * 16, 256 * 16 + 3, 98 * 16 + 5] : [0, 7, 15];
      const worst = await worstGradient(() => value(0.5), p, places);
      t.true(worst < 0.02, `${p.shape}: ${worst}`);
    }
    for (const s of scales) s.dispose();
    module.dispose();
  });

function config(t: ExecutionContext, task: string, lines: readonly object[], more = ''): RunConfig {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'text.txt'), 'one two three red blue green. seven six five black white grey. '.repeat(40));
  writeFileSync(join(folder, 'data.jsonl'), lines.map((line) => JSON.stringify(line)).join('\n'));
  const yaml = `
out: ${join(folder, 'run')}
model: { layers: 1, heads: 2, width: 32, contextLength: 32 }
tokenizer: { kind: byte }
data: { path: text.txt }
train: { steps: 30, batchSize: 4, learningRate: 0.01, evalEvery: 0 }
finetune: { task: ${task}, path: data.jsonl, valFraction: 0.2, train: { steps: 60, batchSize: 8, learningRate: 0.005, evalEvery: 30 }${more} }
`;
  return parseRunConfig(yaml, join(folder, 'run.yaml'));
}

const COLOURS = ['red', 'blue', 'black', 'white'];
const NUMBERS = ['one', 'two', 'six', 'seven'];
const texts = Array.from({ length: 60 }, (_, i) => {
  const word = (i % 2 ? COLOURS : NUMBERS)[Math.floor(i / 2) % 4] as string;
  return { text: `${'xyz'[i % 3]} ${word}`, label: i % 2 ? 'colour' : 'number' };
});

test.serial('classification is learned, opens again, resumes bit for bit', async (t) => {
  const run = config(t, 'classification', texts);
  await pretrain(run);
  const before = memory();
  const whole: number[] = [];
  const result = await finetune(run, { onEvent: (e) => void (e.type === 'step' && whole.push(e.loss)) });
  t.true((result.metrics.accuracy as number) > 0.9, JSON.stringify(result.metrics));
  t.is(memory().used, before.used);
  const { head, tokenizer } = await openModel(join(run.out, 'finetune'));
  t.true(head instanceof GPTForSequenceClassification);
  const classifier = head as GPTForSequenceClassification;
  t.deepEqual(classifier.labels, ['colour', 'number']);
  const said = await classify(classifier, tokenizer as never, ['z blue', 'y seven']);
  t.deepEqual(
    said.map((p) => classifier.labels[p.indexOf(Math.max(...p))]),
    ['colour', 'number'],
  );
  t.true(said.every((p) => Math.abs(p.reduce((a, b) => a + b, 0) - 1) < 1e-6));
  classifier.dispose();
  t.is(memory().used, before.used);

  const stop = new AbortController();
  const losses: number[] = [];
  const record = (e: TrainerEvent): void => {
    if (e.type === 'step') losses.push(e.loss);
    if (e.type === 'step' && e.step === 11) stop.abort();
  };
  await finetune(run, { fresh: true, signal: stop.signal, onEvent: record });
  await finetune(run, { resume: true, onEvent: record });
  t.deepEqual(losses, whole);
});

test.serial('multiple choice is learned; with LoRA the head is trained beside the changes', async (t) => {
  const lines = Array.from({ length: 60 }, (_, i) => {
    const right = COLOURS[i % 4] as string;
    const wrong = NUMBERS[(i * 3) % 4] as string;
    return { prompt: `${'xyz'[i % 3]}: `, choices: i % 2 ? [right, wrong] : [wrong, right], answer: i % 2 ? 0 : 1 };
  });
  const run = config(t, 'choice', lines, ', lora: { rank: 4, merge: true }, head: { lmWeight: 0.1 }');
  await pretrain(run);
  const result = await finetune({ ...run, finetune: { ...run.finetune, train: { ...run.finetune.train, learningRate: 0.02 } } });
  t.true((result.metrics.accuracy as number) > 0.9, JSON.stringify(result.metrics));
  const merged = await openModel(join(run.out, 'finetune', 'merged'));
  const module = merged.head as GPTForMultipleChoice;
  const [p] = await chooseAnswers(module, merged.tokenizer as never, [{ prompt: 'y: ', choices: ['two', 'blue'] }]);
  t.true((p?.[1] as number) > 0.5, String(p));
  module.dispose();
});

test('what is wrong with records and configuration is named', (t) => {
  const file = join(temporaryFolder(t), 'a.jsonl');
  const wrong = <T>(kind: data.RecordKind<T>, line: object): string => {
    writeFileSync(file, JSON.stringify(line));
    return t.throws(() => data.readRecords(file, kind))?.message ?? '';
  };
  t.regex(wrong(data.LABELLED_TEXT, { text: 'a' }), /line 1: must have strings "text" and "label", got an object with \{text: string\}/);
  t.regex(wrong(data.LABELLED_TEXT, { text: '', label: 'a' }), /line 1: text must not be empty/);
  t.regex(wrong(data.MULTIPLE_CHOICE, { prompt: 'a', choices: ['b'], answer: 0 }), /a list "choices" of at least two strings/);
  t.regex(wrong(data.MULTIPLE_CHOICE, { prompt: 'a', choices: ['b', 'c'], answer: 2 }), /answer must be an integer from 0 to 1, got 2/);
  t.throws(() => parseRunConfig('finetune: { head: { lmWeight: 1 } }', 'x'), {
    message: /finetune\.head must be left out unless finetune\.task is classification or choice/,
  });
  t.throws(() => parseRunConfig('finetune: { task: classification, dpo: { beta: 1 } }', 'x'), {
    message: /finetune\.dpo must be left out unless finetune\.task is dpo/,
  });
  t.throws(() => parseRunConfig('train: { labelSmoothing: 0.1 }\nfinetune: { task: choice }', 'x'), {
    message: /finetune\.train\.labelSmoothing must be 0 for finetune\.task choice, got 0\.1/,
  });
  for (const task of ['completion', 'chat', 'classification', 'choice', 'dpo']) {
    const run = parseRunConfig(`finetune: { task: ${task}, lora: {} }`, 'x.yaml');
    t.deepEqual(parseRunConfig(formatRunConfig(run), 'x.yaml').finetune, run.finetune, 'a resolved configuration reads back to the same');
  }
  t.deepEqual(parseRunConfig('finetune: { task: choice }', 'x').finetune.head, { lmWeight: 0.5, dropout: 0.1 });
});
