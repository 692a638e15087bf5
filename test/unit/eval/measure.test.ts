import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  ByteTokenizer,
  CharTokenizer,
  type Fields,
  type Item,
  type MeasureOptions,
  measure,
  readDataset,
  type Sample,
  score,
  TASKS,
  type TaskName,
} from '../../../lib/index.ts';
import { build } from '../models/support.ts';

const bytes = new ByteTokenizer();
const model = build({ vocabSize: 257, contextLength: 192 });
const file = (task: TaskName): string => `test/fixtures/tasks/${task}.jsonl`;

async function items(task: TaskName, path = file(task)): Promise<Item[]> {
  const all: Item[] = [];
  for await (const fields of readDataset(path)) all.push(TASKS[task].item(fields));
  return all;
}

async function measured(task: TaskName, options: MeasureOptions = {}) {
  const samples: Sample[] = [];
  const onSample = (sample: Sample): void => void samples.push(sample);
  const result = await measure(model, bytes, task, readDataset(file(task)), { ...options, onSample });
  return { result, samples, value: (name: string) => result.figures.find((f) => f.name === name)?.value ?? Number.NaN };
}

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-4 * Math.max(1, Math.abs(b));

test('prompts are those of lm-evaluation-harness', async (t) => {
  t.like(await items('hellaswag'), [
    {
      context: 'Baking bread: A man folds dough on a table. He',
      choices: ['puts it into a hot oven.', 'throws a ball at the moon.', 'swims across the river.', 'paints the wall blue.'],
      answer: 0,
      id: '4',
    },
    {
      context: 'Sharpening a pencil: How to sharpen a pencil. Take a knife.',
      choices: [' Eat it.', 'Cut away from you in short strokes.', 'Fly south.', 'Read a book.'],
      answer: 1,
    },
    { context: 'Rowing: Two people sit in a boat. One of them', answer: 2 },
  ]);
  t.like(await items('arc'), [
    {
      context: 'Question: What does a plant need to make sugar?\nAnswer:',
      choices: ['light', 'sand', 'noise', 'iron wheels'],
      answer: 0,
      id: 'made_1',
    },
    { context: 'Question: Which of these is a liquid at room temperature?\nAnswer:', choices: ['granite', 'water', 'steel'], answer: 1 },
  ]);
  t.like(await items('mmlu'), [
    {
      description: 'The following are multiple choice questions (with answers) about small numbers.\n\n',
      context: 'Two plus two is\nA. three\nB. four\nC. five\nD. six\nAnswer:',
      choices: ['A', 'B', 'C', 'D'],
      answer: 1,
      group: 'small_numbers',
    },
    { answer: 0 },
    { answer: 2, group: 'ships' },
  ]);
  t.like((await items('lambada'))[1], {
    context: 'The dog had buried the bone in the garden, and all morning it dug for its',
    completion: ' bone',
  });
});

test('a choice is scored by its log-probability, summed and by its characters', async (t) => {
  const { result, samples, value } = await measured('hellaswag');
  const all = await items('hellaswag');
  let [right, rightByLength] = [0, 0];
  for (const [i, item] of all.entries()) {
    if (item.kind !== 'choice') return t.fail();
    const logProbs: number[] = [];
    for (const choice of item.choices) logProbs.push((await score(model, bytes, ` ${choice}`, { prompt: item.context })).logProb);
    const best = logProbs.indexOf(Math.max(...logProbs));
    const byLength = logProbs.map((x, j) => x / [...(item.choices[j] as string)].length);
    right += best === item.answer ? 1 : 0;
    rightByLength += byLength.indexOf(Math.max(...byLength)) === item.answer ? 1 : 0;
    t.is(samples[i]?.chosen, best);
    t.is(samples[i]?.index, i);
    for (const [j, x] of logProbs.entries()) t.true(near(samples[i]?.logProbs?.[j] ?? Number.NaN, x));
    const softmax = logProbs.map((x) => Math.exp(x - Math.max(...logProbs)));
    t.true(near(samples[i]?.confidence ?? Number.NaN, 1 / softmax.reduce((a, b) => a + b)));
  }
  t.is(value('acc'), right / 3);
  t.is(value('acc_norm'), rightByLength / 3);
  t.is(result.examples, 3);
  const p = right / 3;
  t.true(near(result.figures[0]?.standardError ?? Number.NaN, Math.sqrt((3 * p * (1 - p)) / 2 / 3)), 'sample deviation over √n');
  t.is(
    result.calibration?.bins.reduce((sum, bin) => sum + bin.count, 0),
    3,
  );
});

test('MMLU: letters, subjects on their own', async (t) => {
  const { result, samples } = await measured('mmlu');
  t.deepEqual(
    result.groups.map(({ name, examples }) => [name, examples]),
    [
      ['ships', 1],
      ['small_numbers', 2],
    ],
  );
  for (const [i, item] of (await items('mmlu')).entries()) {
    if (item.kind !== 'choice') return t.fail();
    for (const [j, letter] of item.choices.entries()) {
      const { logProb } = await score(model, bytes, ` ${letter}`, { prompt: `${item.description}${item.context}` });
      t.true(near(samples[i]?.logProbs?.[j] ?? Number.NaN, logProb));
    }
  }
  t.is(result.groups[0]?.figures[0]?.standardError, null, 'one example has no spread');
});

test('solved examples before a question', async (t) => {
  const shots = { count: 1, items: await items('mmlu') };
  const { samples } = await measured('mmlu', { shots, limit: 2 });
  const [first, second] = shots.items;
  if (first?.kind !== 'choice' || second?.kind !== 'choice') return t.fail();
  const prompt = `${second.description}${first.context} B\n\n${second.context}`;
  const { logProb } = await score(model, bytes, ' C', { prompt });
  t.true(near(samples[1]?.logProbs?.[2] ?? Number.NaN, logProb));
  await t.throwsAsync(measured('mmlu', { shots: { count: 3, items: shots.items } }), {
    message: 'measure: shots must hold 3 examples of small_numbers, got 2',
  });
});

test('LAMBADA: the last word, and its perplexity', async (t) => {
  const { samples, value } = await measured('lambada');
  let nats = 0;
  for (const item of await items('lambada')) {
    if (item.kind !== 'completion') return t.fail();
    nats -= (await score(model, bytes, item.completion, { prompt: item.context })).logProb;
  }
  t.true(near(value('perplexity'), Math.exp(nats / 2)));
  t.is(value('acc'), samples.reduce((sum, s) => sum + (s.scores.acc ?? 0), 0) / 2);
});

test('documents: perplexity and bits per byte over all of them', async (t) => {
  const { samples, value } = await measured('text', { stride: 16 });
  let [nats, tokens, size] = [0, 0, 0];
  for (const item of await items('text')) {
    if (item.kind !== 'document') return t.fail();
    const { logProb, logProbs } = await score(model, bytes, item.text);
    nats -= logProb;
    tokens += logProbs.length;
    size += Buffer.byteLength(item.text);
  }
  t.is(tokens, size, 'a byte is a token here');
  t.true(near(value('loss'), nats / tokens));
  t.true(near(value('perplexity'), Math.exp(nats / tokens)));
  t.true(near(value('bits_per_byte'), nats / Math.LN2 / size));
  t.deepEqual(
    samples.map(({ id }) => id),
    ['en', 'zh'],
  );
});

test('documents with a tokenizer that has no end of text: the first token is not scored', async (t) => {
  const characters = CharTokenizer.train(['abcdefgh船']);
  using small = build({ vocabSize: characters.vocabSize });
  const folder = folderOf(t, { 'a.jsonl': '{"text": "船abc"}' });
  await measure(small, characters, 'text', readDataset(join(folder, 'a.jsonl')), {
    onSample: ({ scores }) => t.like(scores, { tokens: 3, bytes: 3 }),
  });
  t.plan(1);
});

function folderOf(t: ExecutionContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-eval-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

test('a wrong row is an error that names file, line and field', async (t) => {
  const good = { activity_label: 'a', ctx_a: 'b', ctx_b: 'c', endings: ['d', 'e'], label: 0 };
  const arc = { question: 'q', choices: { text: ['a', 'b'], label: ['A', 'B'] }, answerKey: 'A' };
  const cases: [TaskName, unknown, string][] = [
    ['hellaswag', { ...good, label: 2 }, 'label must be a number from 0 to 1, got 2'],
    ['hellaswag', { ...good, label: 'x' }, 'label must be a number from 0 to 1, got "x"'],
    ['hellaswag', { ...good, endings: 'd' }, 'endings must be a list of at least 2 texts, got "d"'],
    ['hellaswag', { ...good, endings: ['d', 3] }, 'endings must be a list of at least 2 texts, got ["d",3]'],
    ['hellaswag', { ...good, ctx_b: undefined }, 'ctx_b must be a text, got nothing'],
    ['arc', { ...arc, answerKey: 'E' }, 'answerKey must be one of the labels A, B, got "E"'],
    ['arc', { ...arc, choices: { text: ['a', 'b'], label: ['A', 'B', 'C'] } }, 'choices.label must be a list of 2 texts as text is'],
    ['arc', { ...arc, choices: null }, 'choices must be an object, got null'],
    ['arc', { ...arc, question: { stem: 's', choices: [{ text: 'a' }] } }, 'question.choices[0].label must be a text, got nothing'],
    ['mmlu', { question: 'q', choices: ['a', 'b'], answer: 'C' }, 'answer must be a number from 0 to 1, got "C"'],
    ['mmlu', { question: 'q', subject: 4, choices: ['a', 'b'], answer: 0 }, 'subject must be a text, got 4'],
    ['lambada', { text: 'word' }, 'text must be at least two words'],
    ['lambada', { text: 'two ' }, 'text must be at least two words'],
    ['text', { text: '' }, 'text must be a text that is not empty, got ""'],
    ['text', [1], 'must be an object, got [1]'],
    ['text', { text: { ['__proto__']: 1 } }, 'text must be a text'],
  ];
  for (const [task, row, message] of cases) {
    const path = join(folderOf(t, { 'x.jsonl': `\n\n${JSON.stringify(row)}\n` }), 'x.jsonl');
    const error = await t.throwsAsync(measure(model, bytes, task, readDataset(path)), { code: 'ERR_HEDDLE_FILE' });
    t.true(error?.message.startsWith(`${path}: line 3: ${message}`), error?.message);
  }
  const broken = join(folderOf(t, { 'x.jsonl': '{"text": "a"}\n{"text": \n' }), 'x.jsonl');
  await t.throwsAsync(measure(model, bytes, 'text', readDataset(broken)), { message: /x\.jsonl: line 2: must be JSON: / });
  await t.throwsAsync(measure(model, bytes, 'text', readDataset('none.jsonl')), { message: /^none\.jsonl: cannot be read: ENOENT/ });
  const empty = join(folderOf(t, { 'x.jsonl': '\n' }), 'x.jsonl');
  await t.throwsAsync(measure(model, bytes, 'text', readDataset(empty)), {
    message: 'measure: there must be at least one example, got none',
  });
  await t.throwsAsync(measure(model, bytes, 'hella' as 'text', readDataset(empty)), {
    message: /^measure: task must be one of hellaswag, /,
  });
});

test('a limit reads no further, and groups are scored as they come', async (t) => {
  const rows = Array.from({ length: 200 }, (_, i) => `{"text": "line ${i} of a text"}`);
  const path = join(folderOf(t, { 'x.jsonl': `${rows.join('\n')}\nnot JSON` }), 'x.jsonl');
  const seen: number[] = [];
  let read = 0;
  async function* counted(): AsyncGenerator<Fields> {
    for await (const fields of readDataset(path)) {
      read++;
      yield fields;
    }
  }
  await measure(model, bytes, 'text', counted(), {
    limit: 150,
    onSample({ index }) {
      seen.push(index);
      t.true(read - index <= 65, `${read} rows read when example ${index} was done`);
    },
  });
  t.deepEqual(seen, [...Array(150).keys()]);
  t.is(read, 150);
  const controller = new AbortController();
  const stopped = measure(model, bytes, 'text', readDataset(path), { signal: controller.signal, onSample: () => controller.abort() });
  await t.throwsAsync(stopped, { any: true, name: 'AbortError' });
});

test('Parquet: the rows of JSONL', async (t) => {
  t.deepEqual(await items('mmlu', 'test/fixtures/tasks/mmlu.parquet'), await items('mmlu'));
  const good = readFileSync('test/fixtures/tasks/mmlu.parquet');
  const path = join(folderOf(t, {}), 'x.parquet');
  for (const bytes of [
    new Uint8Array(0),
    Buffer.from('PAR1'),
    good.subarray(0, good.length - 9),
    good.subarray(100),
    Buffer.alloc(2000, 7),
  ]) {
    writeFileSync(path, bytes);
    await t.throwsAsync(items('mmlu', path), { code: 'ERR_HEDDLE_FILE', message: /x\.parquet: must be a Parquet file: / });
  }
  await t.throwsAsync(items('mmlu', 'none.parquet'), { code: 'ERR_HEDDLE_FILE', message: /^none\.parquet: cannot be read: ENOENT/ });
  writeFileSync(path, good);
  await t.throwsAsync(items('lambada', path), { message: /x\.parquet: row 1: text must be a text, got nothing/ });
});

test('a text file comes in pieces', async (t) => {
  const path = join(folderOf(t, { 'a.txt': 'One line.\r\nAnother line.\n' }), 'a.txt');
  const rows: string[] = [];
  for await (const fields of readDataset(path)) rows.push(fields.text('text'));
  t.deepEqual(rows, ['One line.\nAnother line.\n']);
});
