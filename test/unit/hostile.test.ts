// What the fuzzer (test/fuzz/) found, each fault once by name.
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { bestCheckpoint, openCheckpoint, saveCheckpoint } from '../../lib/checkpoint/index.ts';
import { loadPretrained } from '../../lib/checkpoint/pretrained.ts';
import { tensorEntries } from '../../lib/checkpoint/tensors.ts';
import { openPrepared, prepare, Shards, textSource } from '../../lib/data/index.ts';
import { GPT, gptConfig } from '../../lib/models/index.ts';
import { memory, resetPeakMemory } from '../../lib/tensor/device.ts';
import { ByteTokenizer, loadTokenizer } from '../../lib/tokenizer/index.ts';
import { ConfigError, loadRunConfig, parseRunConfig } from '../../lib/train/config.ts';
import { readMetrics } from '../../lib/train/metrics/log.ts';
import { modelOfCheckpoint } from '../../lib/train/open.ts';
import { startingPoint } from '../../lib/train/pretrain.ts';
import { savedState } from '../../lib/train/saved-state.ts';
import { FileError, HeddleError } from '../../lib/util/errors.ts';
import { parseJSON } from '../../lib/util/json_text.ts';
import { printable, show } from '../../lib/util/show.ts';

function folderOf(t: ExecutionContext, files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-hostile-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

test.serial('a value in an error is short, on one line and without control characters, however deep, long or cyclic it is', (t) => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  for (const value of [cycle, JSON.parse(deep(5000)), 'x'.repeat(1e6), Array(1e6).fill(1), { ['k'.repeat(1e6)]: 1 }]) {
    const text = show(value);
    t.true(text.length <= 80 && text.endsWith('...'), text);
  }
  t.is(show({ a: [1, 'b', null, true], __proto__: 1 }), '{"a":[1,"b",null,true]}');
  t.is(show(undefined), 'nothing');
  t.is(show(Number.NaN), 'NaN');
  t.is(printable('a\u001b[31m\u202e\ud800\n\u{1f40b}'), 'a\\u001b[31m\\u202e\\ud800\n\u{1f40b}');
  t.is(new FileError('f', '\u001b[2J').message, 'f: \\u001b[2J');
  t.true(new FileError('f', 'x'.repeat(1e5)).message.length <= 2000);
});

test.serial('JSON nested deeper than anybody writes is refused before anything walks it', (t) => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  t.deepEqual(parseJSON('f', bytes(`["${'['.repeat(500)}\\"[", 1]`)), [`${'['.repeat(500)}"[`, 1]);
  t.notThrows(() => parseJSON('f', bytes(deep(200))));
  t.throws(() => parseJSON('f', bytes(deep(201))), { instanceOf: FileError, message: 'f: must be JSON nested at most 200 deep' });
  t.throws(() => parseJSON('f', bytes('{')), { instanceOf: FileError, message: /^f: must be JSON: / });
  t.throws(() => parseJSON('f', Uint8Array.of(0x22, 0xff, 0x22)), { instanceOf: FileError, message: /^f: must be UTF-8 text: / });
});

test.serial('a config.json that claims a huge model costs nothing: it is held against the weights first', async (t) => {
  const config = JSON.parse(readFileSync('test/fixtures/gpt2-tiny/config.json', 'utf8')) as object;
  for (const [claim, message] of [
    [{ n_embd: 2 ** 20, n_inner: 2 ** 22, n_head: 2 ** 14 }, /tensor "transformer.wte.weight": shape must be/],
    [{ n_layer: Number.MAX_SAFE_INTEGER }, /tensor "h\.\d+\.ln_1\.weight" is missing/],
    [{ n_positions: 2 ** 40 }, /tensor "transformer.wpe.weight": shape must be/],
  ] as const) {
    const folder = folderOf(t, { 'config.json': JSON.stringify({ ...config, ...claim }) });
    cpSync('test/fixtures/gpt2-tiny/model.safetensors', join(folder, 'model.safetensors'));
    const { used } = memory('cpu');
    resetPeakMemory('cpu');
    await t.throwsAsync(loadPretrained(folder), { instanceOf: FileError, message });
    t.is(memory('cpu').peak, used);
  }
});

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A checkpoint of a small model, with other files or fields, and stamps that are right. */
async function checkpointOf(t: ExecutionContext, config: string, fields: object = {}, tokenizer?: string): Promise<string> {
  const folder = folderOf(t);
  const model = new GPT(gptConfig({ vocabSize: 7, contextLength: 4, layers: 1, heads: 1, width: 4 }), { seed: 1 });
  const saved = await saveCheckpoint(folder, {
    ...{ step: 1, config: {}, loader: {}, rng: { seed: 1 } },
    state: { updates: 1, bestLoss: null, bestStep: null, withoutProgress: 0 },
    files: {
      'model.safetensors': { tensors: tensorEntries(model.namedParameters()) },
      'config.json': config.replace('MODEL', JSON.stringify({ model_type: 'heddle', ...model.config }).slice(1, -1)),
      ...(tokenizer !== undefined && { 'tokenizer.json': tokenizer }),
    },
  });
  model.dispose();
  const file = join(saved, 'checkpoint.json');
  const { sha256: _, ...body } = { ...(JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>), ...fields };
  writeFileSync(file, JSON.stringify({ ...body, sha256: sha256(JSON.stringify(body)) }));
  return saved;
}

test.serial('a checkpoint whose stamps are right is still not believed', async (t) => {
  const opened = async (config: string, tokenizer?: string): Promise<void> => {
    const { used } = memory('cpu');
    try {
      const { model } = await modelOfCheckpoint(await openCheckpoint(await checkpointOf(t, config, {}, tokenizer)));
      model.dispose();
    } finally {
      t.is(memory('cpu').used, used, 'nothing is left behind');
    }
  };
  await t.notThrowsAsync(opened('{MODEL}'));
  const fails = async (config: string, message: RegExp, tokenizer?: string): Promise<void> => {
    await t.throwsAsync(opened(config, tokenizer), { instanceOf: FileError, message });
  };
  await fails('{', /config\.json: must be JSON: /);
  await fails('null', /config\.json: must hold an object, got null/);
  await fails('{MODEL, "layers": 1e15}', /config\.json: its model must have \d+ parameters as model\.safetensors holds, got/);
  await fails('{MODEL, "norm": 1}', /config\.json: gptConfig: norm must be one of/);
  await fails('{MODEL, "toString": 1}', /config\.json: gptConfig: toString is not known/);
  await fails('{MODEL}', /tokenizer\.json: must be JSON: /, '{');
  await fails(
    '{MODEL}',
    /tokenizer\.json: its vocabulary must be at most the model's 7 tokens, got 257/,
    JSON.stringify(new ByteTokenizer()),
  );
});

test.serial('what a manifest says of the trainer is checked field by field', async (t) => {
  const state = async (fields: object) => savedState(await openCheckpoint(await checkpointOf(t, '{MODEL}', fields)));
  t.is((await state({})).updates, 1);
  const good = { updates: 1, bestLoss: null, bestStep: null, withoutProgress: 0 };
  for (const [fields, message] of [
    [{ rng: null }, /checkpoint\.json: rng must be an object, got null/],
    [{ rng: { seed: -1 } }, /checkpoint\.json: rng\.seed must be an integer from 0, got -1/],
    [{ state: 3 }, /checkpoint\.json: state must be an object, got 3/],
    [{ state: { ...good, updates: 0.5 } }, /state\.updates must be an integer from 0 to 2\^31 - 1, got 0\.5/],
    [{ state: { ...good, bestLoss: 'x' } }, /state\.bestLoss must be a number or null, got "x"/],
    [{ state: { ...good, lossScale: { value: 0, steady: 0 } } }, /state\.lossScale\.value must be a positive number, got 0/],
  ] as const)
    await t.throwsAsync(state(fields), { instanceOf: FileError, message });
});

test.serial('a run whose only checkpoints are damaged does not start over by itself, which would remove them', async (t) => {
  const out = folderOf(t);
  const saved = await saveCheckpoint(join(out, 'checkpoints'), {
    step: 1,
    config: {},
    loader: {},
    rng: {},
    state: {},
    files: { 'a.txt': 'a' },
  });
  writeFileSync(join(saved, 'a.txt'), 'b');
  for (const options of [{}, { resume: true }])
    await t.throwsAsync(startingPoint(out, join(out, 'checkpoints'), options), {
      instanceOf: HeddleError,
      message: /holds no complete checkpoint, but step-00000001\n.*--fresh/s,
    });
  t.is(await startingPoint(out, join(out, 'checkpoints'), { fresh: true }), undefined);
  t.true(existsSync(saved));
});

test.serial('best.json: long and negative values', async (t) => {
  for (const content of [`{"step": "${'y'.repeat(1e5)}"}`, '{"step": -1, "value": 1}', deep(5000)]) {
    const error = await t.throwsAsync(bestCheckpoint(folderOf(t, { 'best.json': content })), {
      instanceOf: FileError,
      message: /best\.json: must/,
    });
    t.true((error?.message.length ?? 0) < 300);
  }
});

test.serial('prepared data: shards that are named twice, numbers that the shards do not bear out', async (t) => {
  const tokenizer = new ByteTokenizer();
  const folder = folderOf(t);
  await prepare({ source: textSource('the whale '.repeat(20)), tokenizer, out: folder });
  const file = join(folder, 'meta.json');
  const meta = JSON.parse(readFileSync(file, 'utf8')) as { train: { shards: string[]; textBytes: number } };
  const train = meta.train;
  for (const [change, message] of [
    [{ train: { ...train, shards: Array(50).fill(train.shards[0]) } }, /train\.shards must list each file once, got \[/],
    [{ train: { ...train, textBytes: train.textBytes + 1 } }, /train\.textBytes must be \d+ as the shards say, got \d+/],
    [{ train: { ...train, predictedBytes: 1e9 } }, /train\.predictedBytes must be at most \d+ as the shards say, got 1000000000/],
    [{ vocabSize: { a: 1 } }, /vocabSize must be a positive integer, got \{"a":1\}/],
    [{ vocabSize: 5 }, /vocabSize must be 257 as the shards say, got 5/],
  ] as const) {
    writeFileSync(file, JSON.stringify({ ...meta, ...change }));
    t.throws(() => openPrepared(folder, { tokenizer }).close(), { instanceOf: FileError, message });
  }
  t.throws(() => new Shards([folder]), { instanceOf: FileError, message: /must be a file, got a folder/ });
});

test.serial('metrics.jsonl: steps are counts, and the log is a file', (t) => {
  const folder = folderOf(t, { 'a.jsonl': '{"step": -1000}\n', 'b.jsonl': '{"step": 1e400}\n' });
  for (const name of ['a.jsonl', 'b.jsonl'])
    t.throws(() => readMetrics(join(folder, name)), {
      instanceOf: FileError,
      message: /line 1: step must be an integer from 0, got/,
    });
  t.throws(() => readMetrics(folder), { instanceOf: FileError, message: /cannot read: EISDIR/ });
});

test.serial('YAML: a cycle of aliases, deep nesting, a parent that is no file, many errors', (t) => {
  const message = (text: string): string => t.throws(() => parseRunConfig(text, 'a.yaml'), { instanceOf: ConfigError })?.message ?? '';
  t.regex(message('model: { heads: &a [*a] }'), /^a\.yaml:1:20: model\.heads must be a positive integer, got \[\[\[/);
  t.regex(message(`model: ${deep(20_000)}`), /^a\.yaml.*: lists and sections must be nested less deep/);
  t.true(message(Array.from({ length: 500 }, (_, i) => `k${i}: 1`).join('\n')).split('\n').length <= 21);
  const folder = folderOf(t, { 'a.yaml': 'extends: b', 'c.yaml': 'extends: /dev/null' });
  mkdirSync(join(folder, 'b'));
  for (const name of ['a.yaml', 'c.yaml'])
    t.throws(() => loadRunConfig(join(folder, name)), { instanceOf: ConfigError, message: /:1:10: extends must name a file, got "/ });
  writeFileSync(join(folder, 'd.yaml'), Uint8Array.of(0x61, 0x3a, 0xff));
  t.throws(() => loadRunConfig(join(folder, 'd.yaml')), { instanceOf: FileError, message: /must be UTF-8 text/ });
});

test.serial('a tokenizer whose library gives ids beyond its vocabulary is an error that names the file', (t) => {
  const unigram = (model: object): string =>
    JSON.stringify({
      ...{ version: '1.0', added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null },
      ...{
        model: {
          type: 'Unigram',
          unk_id: 0,
          vocab: [
            ['<unk>', 0],
            ['a', -1],
          ],
          ...model,
        },
      },
    });
  const folder = folderOf(t, { 'tokenizer.json': unigram({}) });
  t.deepEqual([...loadTokenizer(folder).encode('aa')], [1, 1]);
  for (const json of [unigram({ unk_id: 77 }), unigram({ unk_id: 'x' })]) {
    writeFileSync(join(folder, 'tokenizer.json'), json);
    const error = t.throws(() => loadTokenizer(folder).encode('aé'));
    t.true(error instanceof FileError, String(error));
    t.true(error?.message.startsWith(join(folder, 'tokenizer.json')));
  }
});
