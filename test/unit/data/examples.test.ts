import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { ExamplesLoader, type ExamplesLoaderOptions, encodeExamples, examplesOnce } from '../../../lib/data/examples.ts';
import { type Batch, IGNORE } from '../../../lib/data/loader.ts';
import { prepare } from '../../../lib/data/prepare.ts';
import { openPrepared } from '../../../lib/data/prepared.ts';
import { exampleSource } from '../../../lib/data/source.ts';
import { MemoryTokens } from '../../../lib/data/tokens.ts';
import { ByteTokenizer } from '../../../lib/tokenizer/index.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { folderOf } from './support.ts';

const tokenizer = new ByteTokenizer();
const bare = new ByteTokenizer([]);

/** What a batch says, document by document: the text of inputs and of targets with loss. Checks numbers and positions on the way. */
function documentsOf(batch: Batch): { row: number; inputs: string; targets: string }[] {
  const found: { row: number; inputs: string; targets: string }[] = [];
  const letters = (ids: number[]): string => ids.map((id) => (id === 256 ? '$' : String.fromCharCode(id))).join('');
  const documents = batch.documents as Int32Array;
  const positions = batch.positions as Int32Array;
  for (let row = 0; row < batch.rows; row++) {
    for (let i = row * batch.length, end = i + batch.length; i < end; ) {
      let to = i;
      while (to < end && documents[to] === documents[i]) to++;
      if (!positions.subarray(i, to).every((position, k) => position === k))
        throw new Error('positions must count from 0 in each document');
      const inputs = [...batch.inputs.subarray(i, to)];
      const targets = [...batch.targets.subarray(i, to)].filter((target) => target !== IGNORE);
      if (targets.length > 0) found.push({ row, inputs: letters(inputs), targets: letters(targets) });
      else if (inputs.some((id) => id !== 0)) throw new Error('a document without loss');
      i = to;
    }
  }
  return found;
}

const lowercase = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 6 });
const exampleList = fc.uniqueArray(fc.record({ prompt: lowercase, completion: lowercase }), {
  minLength: 1,
  maxLength: 15,
  selector: (e) => `${e.prompt}>${e.completion}`,
});

test('each example comes once per epoch, whole, with loss on the completion and its end only', (t) => {
  const property = fc.property(
    exampleList,
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 12, max: 40 }),
    fc.boolean(),
    fc.nat(),
    fc.boolean(),
    (examples, batch, length, packing, seed, marked) => {
      const data = encodeExamples(examples, marked ? tokenizer : bare);
      const loader = new ExamplesLoader(data, { batch, length, packing, seed });
      const seen: string[] = [];
      while (seen.length < 3 * examples.length) {
        const got = loader.next();
        const documents = documentsOf(got);
        t.is(
          got.targetCount,
          documents.reduce((sum, document) => sum + document.targets.length, 0),
        );
        for (let row = 0; row < batch; row++) {
          const inRow = documents.filter((document) => document.row === row).length;
          t.true(packing ? inRow >= 1 : inRow === 1);
        }
        seen.push(...documents.map(({ inputs, targets }) => `${inputs}|${targets}`));
      }
      const end = marked ? '$' : '';
      const want = examples.map(({ prompt, completion }) => `${(prompt + completion + end).slice(0, -1)}|${completion}${end}`).sort();
      for (let epoch = 0; epoch < 3; epoch++) t.deepEqual(seen.slice(epoch * examples.length, (epoch + 1) * examples.length).sort(), want);
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 100 }));
});

test('rows are filled as long as the next example fits', (t) => {
  const examples = Array.from({ length: 10 }, (_, i) => ({ prompt: 'aaa', completion: String(i) })); // 4 places each
  const loader = new ExamplesLoader(encodeExamples(examples, tokenizer), { batch: 2, length: 15 });
  const got = loader.next();
  t.is(documentsOf(got).length, 6);
  t.deepEqual([...(got.documents as Int32Array).subarray(0, 15)], [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]);
  t.is(loader.epoch, 0.6);
  const full = new ExamplesLoader(encodeExamples(examples, tokenizer), { batch: 2, length: 16 });
  t.is(documentsOf(full.next()).length, 8, 'four that fit exactly');
});

test('a restored loader goes on with the very same batches; epochs and seeds differ', (t) => {
  const property = fc.property(exampleList, fc.nat(), fc.integer({ min: 0, max: 15 }), fc.boolean(), (examples, seed, steps, packing) => {
    const data = encodeExamples(examples, tokenizer);
    const options: ExamplesLoaderOptions = { batch: 2, length: 20, seed, packing };
    const straight = new ExamplesLoader(data, options);
    for (let i = 0; i < steps; i++) straight.next();
    const resumed = new ExamplesLoader(data, { ...options, seed: 99 });
    resumed.next();
    resumed.restore(JSON.parse(JSON.stringify(straight.state())) as ReturnType<ExamplesLoader['state']>);
    for (let i = 0; i < 5; i++) t.deepEqual(resumed.next(), straight.next());
    t.deepEqual(resumed.state(), straight.state());
  });
  t.notThrows(() => fc.assert(property, { numRuns: 60 }));
  const data = encodeExamples(
    Array.from({ length: 40 }, (_, i) => ({ prompt: String(i), completion: 'x' })),
    tokenizer,
  );
  const order = (loader: ExamplesLoader): string =>
    documentsOf(loader.next())
      .map((document) => document.inputs)
      .join();
  const loader = new ExamplesLoader(data, { batch: 40, length: 8, packing: false, seed: 1 });
  const orders = [order(loader), order(loader), order(new ExamplesLoader(data, { batch: 40, length: 8, packing: false, seed: 2 }))];
  t.is(new Set(orders).size, 3);
});

test('parts together give the batches of one, in turn', (t) => {
  const data = encodeExamples(
    Array.from({ length: 31 }, (_, i) => ({ prompt: 'p'.repeat(i % 7) + i, completion: 'x' })),
    tokenizer,
  );
  const whole = new ExamplesLoader(data, { batch: 2, length: 20, seed: 5 });
  const parts = [0, 1, 2].map((rank) => new ExamplesLoader(data, { batch: 2, length: 20, seed: 5, part: { rank, count: 3 } }));
  for (let step = 0; step < 8; step++) for (const part of parts) t.deepEqual(part.next(), whole.next());
});

test('examples that are too long: an error that counts them, or the beginning of the prompt goes', (t) => {
  const data = encodeExamples(
    [
      { prompt: 'abcdefgh', completion: 'xy' },
      { prompt: 'a', completion: 'z' },
      { prompt: 'p', completion: '0123456789' },
    ],
    tokenizer,
  );
  t.throws(() => new ExamplesLoader(data, { batch: 1, length: 6 }), {
    instanceOf: ArgumentError,
    message: /at most length \+ 1 = 7 tokens, got 2 longer ones \(up to 12\)/,
  });
  const loader = new ExamplesLoader(data, { batch: 3, length: 6, tooLong: 'truncate', packing: false });
  const documents = documentsOf(loader.next()).map(({ inputs, targets }) => `${inputs}|${targets}`);
  t.deepEqual(documents.sort(), ['az|z$', 'efghxy|xy$', 'p01234|012345']);
});

test('JSONL through shards gives the same batches as examples in memory', async (t) => {
  const examples = Array.from({ length: 25 }, (_, i) => ({ prompt: `q${i}?`, completion: `a${i}` }));
  const out = join(folderOf(t), 'out');
  await prepare({ source: exampleSource(examples), tokenizer, out, valFraction: 0, shardTokens: 30 });
  const open = openPrepared(out, { tokenizer });
  t.true(open.meta.train.shards.length > 1);
  const options: ExamplesLoaderOptions = { batch: 3, length: 16, seed: 8 };
  const [stored, memory] = [new ExamplesLoader(open.train, options), new ExamplesLoader(encodeExamples(examples, tokenizer), options)];
  for (let i = 0; i < 10; i++) t.deepEqual(stored.next(), memory.next());
  open.close();
});

test('wrong arguments are named', (t) => {
  const data = encodeExamples([{ prompt: 'a', completion: 'b' }], tokenizer);
  t.throws(() => encodeExamples([{ prompt: '', completion: 'b' }], bare), {
    instanceOf: ArgumentError,
    message: /examples\[0\]\.prompt must not be empty/,
  });
  t.notThrows(() => encodeExamples([{ prompt: '', completion: 'b' }], tokenizer));
  t.throws(() => encodeExamples([{ prompt: 'a', completion: '' }], tokenizer), {
    instanceOf: ArgumentError,
    message: /completion must not be empty/,
  });
  t.throws(() => new ExamplesLoader(new MemoryTokens({ tokens: [1, 2, 3], vocabSize: 5 }), { batch: 1, length: 2 }), {
    instanceOf: ArgumentError,
    message: /got plain text/,
  });
  t.throws(() => new ExamplesLoader(data, { batch: 0, length: 9 }), {
    instanceOf: ArgumentError,
    message: /batch must be a positive integer/,
  });
  t.throws(() => new ExamplesLoader(data, { batch: 1, length: 9, part: { rank: -1, count: 1 } }), {
    instanceOf: ArgumentError,
    message: /part\.rank/,
  });
  const loader = new ExamplesLoader(data, { batch: 1, length: 9 });
  const state = loader.state();
  t.throws(() => loader.restore({ ...state, position: 1 }), { instanceOf: ArgumentError, message: /a position within the data, got 1/ });
  t.throws(() => loader.restore({ ...state, tokens: 1 }), { instanceOf: ArgumentError, message: /must have tokens 3, got 1/ });
});

test('examplesOnce gives every example once and pads the rest', (t) => {
  const examples = Array.from({ length: 7 }, (_, i) => ({ prompt: 'p'.repeat(i + 1), completion: String(i) }));
  const batches = [...examplesOnce(encodeExamples(examples, tokenizer), { batch: 2, length: 12 })];
  const targets = batches.flatMap((b) => [...b.targets]).filter((id) => id >= 0 && id < 256);
  t.deepEqual(
    targets.map((id) => String.fromCharCode(id)).sort(),
    examples.map((e) => e.completion),
  );
  t.is(
    batches.reduce((n, b) => n + b.targetCount, 0),
    14, // each completion and its end of text
  );
});
