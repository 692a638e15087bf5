import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { countParameters } from '../../../lib/models/size.ts';
import { ConfigError, formatRunConfig, loadRunConfig, modelConfig, parseRunConfig, runConfigFromJSON } from '../../../lib/train/config.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';

const configs = fileURLToPath(new URL('../../../configs', import.meta.url));

function folder(t: ExecutionContext, files: Record<string, string>): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-config-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

const parse = (text: string, set: string[] = []) => parseRunConfig(text, 'configs/x.yaml', { set });

test('nothing written: the defaults are complete', (t) => {
  const run = parse('');
  t.is(run.name, 'x');
  t.is(run.out, join('runs', 'x'));
  t.deepEqual(run.tokenizer, { kind: 'bpe', vocabSize: 8192, minFrequency: 2 });
  t.deepEqual(run.data, { valFraction: 0.1, sampling: 'epoch', documents: false });
  t.is(run.model.width, 768);
  t.is(run.model.vocabSize, undefined);
  t.is(run.train.contextLength, 1024);
  t.is(run.train.minLearningRate, 6e-5);
  t.is(run.train.decaySteps, run.train.steps);
  t.is(run.finetune.train.learningRate, 6e-5);
});

test('what is written counts, and what follows from it', (t) => {
  const run = parse(`
name: mine
model: { preset: gpt2-medium, dropout: { attention: 0 }, attention: [{}, { window: 64 }] }
tokenizer: { path: tok }
data: { path: ../text, sampling: random }
train: { steps: 50, schedule: wsd, learningRate: 1e-3, contextLength: 256, seed: 7, optimizer: muon, muon: { momentum: 0.9 } }
finetune: { train: { batchSize: 2, muon: { iterations: 6 } } }
`);
  t.is(run.out, join('runs', 'mine'));
  t.is(run.model.layers, 24);
  t.deepEqual(run.model.dropout, { embedding: 0.1, attention: 0, residual: 0.1 });
  t.deepEqual(run.model.attention, [{}, { window: 64 }]);
  t.deepEqual(run.tokenizer, { kind: 'load', path: resolve('configs/tok') });
  t.is(run.data.path, resolve('text'));
  t.like(run.train, { decaySteps: 10, warmup: 5, contextLength: 256, muon: { learningRate: 0.02, momentum: 0.9 } });
  t.is(run.generate.seed, 7);
  t.like(run.finetune.train, { batchSize: 2, steps: 200, contextLength: 256, seed: 7, muon: { momentum: 0.9, iterations: 6 } });
  t.is(modelConfig(run, 8192).vocabSize, 8192);
});

test('the vocabulary follows the tokenizer, or is large enough for it', (t) => {
  const run = parse('model: { preset: quickstart, vocabSize: 1100 }');
  t.is(modelConfig(run, 1024).vocabSize, 1100);
  t.throws(() => modelConfig(run, 1101), {
    instanceOf: ArgumentError,
    message: /model.vocabSize must be at least the tokenizer's 1101 tokens, got 1100/,
  });
});

// A text, the overrides, and all lines of the error.
const wrong: readonly [string, string[], string[]][] = [
  ['train:\n  learningRat: 1e-3', [], ['configs/x.yaml:2:3: train.learningRat is not known; did you mean train.learningRate?']],
  ['train:\n  steps: many', [], ['configs/x.yaml:2:10: train.steps must be a positive integer, got "many"']],
  ['train: { batch_size: 3 }', [], ['configs/x.yaml:1:10: train.batch_size is not known; did you mean train.batchSize?']],
  ['trian:\n  steps: 3', [], ['configs/x.yaml:1:1: trian is not known; did you mean train?']],
  ['model:\n  learningRate: 1', [], ['configs/x.yaml:2:3: model.learningRate is not known; did you mean train.learningRate?']],
  ['generate: { prompt: a, qqqqqq: 1 }', [], ['configs/x.yaml:1:24: generate.qqqqqq is not known']],
  ['model:\n  preset: gtp2', [], [/^configs\/x.yaml:2:11: model.preset must be one of gpt1, .*, got "gtp2"; did you mean gpt2\?$/.source]],
  [
    'train: { schedule: cosin }',
    [],
    ['configs/x.yaml:1:20: train.schedule must be one of cosine, linear, wsd, constant, got "cosin"; did you mean cosine?'],
  ],
  ['train: 5', [], ['configs/x.yaml:1:8: train must be a section of keys, got 5']],
  [
    'train:\n  betas: [0.9]',
    [],
    ['configs/x.yaml:2:10: train.betas must be two numbers at least 0 and below 1, such as [0.9, 0.95], got [0.9]'],
  ],
  ['train:\n  betas: [0.9, 1]', [], ['configs/x.yaml:2:16: train.betas.1 must be at least 0 and below 1, got 1']],
  [
    'train: { steps: 1.5, clip: -1 }',
    [],
    [
      'configs/x.yaml:1:17: train.steps must be a positive integer, got 1.5',
      'configs/x.yaml:1:28: train.clip must be a number from 0, got -1',
    ],
  ],
  ['train: { steps: .nan }', [], ['configs/x.yaml:1:17: train.steps must be a positive integer, got NaN']],
  [
    'train:\n  learningRate: 1e-4\n  minLearningRate: 1e-3',
    [],
    ['configs/x.yaml:3:20: train.minLearningRate must be at most learningRate (0.0001), got 0.001'],
  ],
  ['train: { contextLength: 2048 }', [], ['configs/x.yaml:1:25: train.contextLength must be at most model.contextLength (1024), got 2048']],
  ['train: { warmup: 50, decaySteps: 40 }', [], ['configs/x.yaml:1:34: train.decaySteps must be at least warmup (50), got 40']],
  [
    'model:\n  dropout:\n    atention: 0.1',
    [],
    ['configs/x.yaml:3:5: model.dropout.atention is not known; did you mean model.dropout.attention?'],
  ],
  ['model:\n  dropout:\n    attention: 2', [], ['configs/x.yaml:3:16: model.dropout.attention must be at least 0 and below 1, got 2']],
  [
    'model: { dropout: a lot }',
    [],
    ['configs/x.yaml:1:19: model.dropout must be at least 0 and below 1, or a section with embedding, attention, residual, got "a lot"'],
  ],
  [
    'model: { attention: [{ windw: 3 }] }',
    [],
    ['configs/x.yaml:1:24: model.attention.0.windw is not known; did you mean model.attention.0.window?'],
  ],
  [
    'model:\n  width: 100\n  heads: 12',
    [],
    ['configs/x.yaml:2:10: model.width must be divisible by heads (12) unless headSize is given, got 100'],
  ],
  ['model: { heads: 12, kvHeads: 5 }', [], ['configs/x.yaml:1:30: model.kvHeads must be a divisor of heads (12), got 5']],
  ['\nmodel: { preset: gpt2, heads: 2 }', [], ['configs/x.yaml:2:1: model.headSize must be at most 256, got 384']],
  ['tokenizer: { kind: load }', [], ['configs/x.yaml:1:1: tokenizer.path must be given for kind load, got nothing']],
  [
    'tokenizer: { kind: char, vocabSize: 300 }',
    [],
    ['configs/x.yaml:1:37: tokenizer.vocabSize must be left out unless kind is bpe, got 300'],
  ],
  [
    'tokenizer: { kind: bpe, vocabSize: 200 }',
    [],
    ['configs/x.yaml:1:36: tokenizer.vocabSize must be at least 257 (256 bytes and the end of text), got 200'],
  ],
  [
    'data: { path: a.txt, corpus: moby-dick }',
    [],
    ['configs/x.yaml:1:30: data.corpus must be left out where data.path is given, got "moby-dick"'],
  ],
  ['finetune:\n  train:\n    stpes: 3', [], ['configs/x.yaml:3:5: finetune.train.stpes is not known; did you mean finetune.train.steps?']],
  ['train: {', [], ['configs/x.yaml:1:9: Flow map in block collection must be sufficiently indented and end with a }']],
  ['train: { steps: 1, steps: 2 }', [], ['configs/x.yaml:1:20: Map keys must be unique']],
  ['- 1', [], ['configs/x.yaml:1:1: the file must hold sections such as train:, got [1]']],
  ['', ['train.steps=many'], ['--set: train.steps must be a positive integer, got "many"']],
  ['train: { steps: 3 }', ['train.stps=3'], ['--set: train.stps is not known; did you mean train.steps?']],
  ['', ['train.steps'], ['--set: an override must be KEY=VALUE, such as train.steps=500, got "train.steps"']],
  ['', ['=3'], ['--set: an override must be KEY=VALUE, such as train.steps=500, got "=3"']],
  ['', ['train.betas=[0.9'], ['--set: train.betas must be a YAML value: Flow sequence must end with a ]']],
  ['', ['train.betas=[0.9, 2]'], ['--set: train.betas.1 must be at least 0 and below 1, got 2']],
];
for (const [text, set, lines] of wrong) {
  test(`refuses ${JSON.stringify([text, ...set])}`, (t) => {
    const error = t.throws(() => parse(text, set), { instanceOf: ConfigError });
    const got = error.message.split('\n');
    if (lines[0]?.startsWith('^')) t.regex(got[0] ?? '', new RegExp(lines[0]));
    else t.deepEqual(got, lines);
    t.is(error.issues.length, got.length);
    t.is(error.code, 'ERR_HEDDLE_CONFIG');
  });
}

test('overrides lie over the file, in order, and null takes a key back', (t) => {
  const run = parse('train: { steps: 5, betas: [0.5, 0.6], learningRate: 1e-3 }', [
    'train.steps=7',
    'train.steps=9',
    'train.betas=[0.9, 0.99]',
    'train.learningRate=null',
    'model.preset=char-cpu',
    'generate.prompt=a = b',
    'data.path=some/file.txt',
  ]);
  t.is(run.train.steps, 9);
  t.deepEqual(run.train.betas, [0.9, 0.99]);
  t.is(run.train.learningRate, parse('').train.learningRate);
  t.is(run.model.width, 128);
  t.is(run.generate.prompt, 'a = b');
  t.is(run.data.path, resolve('some/file.txt'));
});

test('the flags of the command line', (t) => {
  const text = 'data: { corpus: moby-dick, valPath: val.txt, sampling: random }\ntrain: { seed: 1 }';
  const run = parseRunConfig(text, 'configs/x.yaml', { data: 'mine.txt', seed: 5, set: ['train.seed=6'] });
  t.deepEqual(run.data, { path: resolve('mine.txt'), valFraction: 0.1, sampling: 'random', documents: false });
  t.is(run.train.seed, 6);
  t.is(parseRunConfig(text, 'x', { seed: 5 }).generate.seed, 5);
  t.throws(() => parseRunConfig(text, 'x', { seed: -1 }), { message: '--seed: train.seed must be an integer from 0, got -1' });
  t.throws(() => parseRunConfig('', 'x.yaml', { set: ['tokenizer.kind=load'] }), {
    message: '--set: tokenizer.path must be given for kind load, got nothing',
  });
  t.throws(() => parseRunConfig('model: {}', 'x.yaml', { set: ['train.steps=1'], seed: -1 }), { message: /^--seed: / });
});

test('YAML anchors work, a flood of them does not', (t) => {
  const run = parse('train: { betas: &b [0.8, 0.9] }\nfinetune: { train: { betas: *b } }');
  t.deepEqual(run.finetune.train.betas, [0.8, 0.9]);
  const flood = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 9; i++)
    flood.push(
      `a${i}: &a${i} [${Array(10)
        .fill(`*a${i === 1 ? '' : i - 1}`)
        .join(', ')}]`,
    );
  t.throws(() => parse(flood.join('\n')), { instanceOf: ConfigError, message: /^configs\/x.yaml: must be plain YAML: / });
});

test('extends: paths are relative to each file, errors name the file that is wrong', (t) => {
  const dir = folder(t, {
    'base.yaml': 'data: { path: base.txt }\ntrain:\n  steps: 10\n  warmup: 2\n',
    'other.yaml': 'train: { steps: 20, batchSize: 3 }',
    'child.yaml': 'extends: [base.yaml, other.yaml]\ntrain: { batchSize: 4 }',
    'bad.yaml': 'extends: child.yaml\ntrain: { batchSize: x }',
    'badbase.yaml': 'extends: bad.yaml\nmodel: { layers: 2 }',
    'loop.yaml': 'name: l\nextends: loop2.yaml',
    'loop2.yaml': 'extends: ./loop.yaml',
    'lost.yaml': 'extends: nowhere.yaml',
    'number.yaml': 'extends: [3]',
  });
  const run = loadRunConfig(join(dir, 'child.yaml'));
  t.is(run.name, 'child');
  t.like(run.train, { steps: 20, batchSize: 4, warmup: 2 });
  t.is(run.data.path, join(dir, 'base.txt'));
  const message = (name: string) => t.throws(() => loadRunConfig(join(dir, name)))?.message.replaceAll(join(dir, '/'), '');
  t.is(message('badbase.yaml'), 'bad.yaml:2:21: train.batchSize must be a positive integer, got "x"');
  t.is(message('loop.yaml'), 'loop2.yaml:1:10: extends must not lead back to ./loop.yaml');
  t.is(message('number.yaml'), 'number.yaml:1:11: extends must be a file or a list of files, got 3');
  t.throws(() => loadRunConfig(join(dir, 'lost.yaml')), { instanceOf: FileError, message: /nowhere\.yaml: cannot be read: ENOENT/ });
});

test('extends: what many files extend is read once', (t) => {
  const files = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [`${i}.yaml`, i === 0 ? 'train: { steps: 7 }' : `extends: [${i - 1}.yaml, ${i - 1}.yaml]`]),
  );
  t.is(loadRunConfig(join(folder(t, files), '39.yaml')).train.steps, 7);
});

test('every config of the package loads, and its resolved form reads back to the same as YAML and as JSON', (t) => {
  const names = readdirSync(configs).filter((name) => name.endsWith('.yaml'));
  t.true(names.length >= 6);
  for (const name of names) {
    const run = loadRunConfig(join(configs, name));
    t.deepEqual(parseRunConfig(formatRunConfig(run), name), run, name);
    t.deepEqual(runConfigFromJSON(JSON.parse(JSON.stringify(run)), 'checkpoint.json'), run, name);
  }
});

test('char-cpu is the recipe of nanoGPT', (t) => {
  const run = loadRunConfig(join(configs, 'char-cpu.yaml'));
  t.like(run.model, { layers: 4, heads: 4, width: 128, contextLength: 64, bias: false, normBias: false, tiedHead: true });
  t.like(run.model, {
    activation: 'gelu_erf',
    norm: 'layernorm',
    normPosition: 'pre',
    finalNorm: true,
    scaledInit: true,
    positions: 'learned',
  });
  t.deepEqual(run.model.dropout, { embedding: 0, attention: 0, residual: 0 });
  t.like(run.train, { steps: 2000, batchSize: 12, gradientAccumulation: 1, contextLength: 64, learningRate: 1e-3, minLearningRate: 1e-4 });
  t.like(run.train, { schedule: 'cosine', warmup: 100, decaySteps: 2000, optimizer: 'adamw', epsilon: 1e-8, weightDecay: 0.1, clip: 1 });
  t.deepEqual(run.train.betas, [0.9, 0.99]);
  t.is(countParameters(modelConfig(run, 65)).total, 804_096);
  const gpu = loadRunConfig(join(configs, 'char-gpu.yaml'));
  t.like(gpu.model, { layers: 6, heads: 6, width: 384, contextLength: 256, headSize: 64 });
  t.like(gpu.train, { steps: 5000, decaySteps: 5000, batchSize: 64, contextLength: 256, learningRate: 1e-3 });
  t.is(gpu.model.dropout.residual, 0.2);
});

test('gpt2-124m: the published step', (t) => {
  const { train, model } = loadRunConfig(join(configs, 'gpt2-124m.yaml'));
  t.is(train.batchSize * train.gradientAccumulation * train.contextLength, 524_288);
  t.is(train.minLearningRate, 0);
  t.is(countParameters({ ...model, vocabSize: 50257 }).total, 124_439_808);
});

test('a short trial of a long recipe needs one override', (t) => {
  for (const schedule of ['cosine', 'linear', 'wsd', 'constant']) {
    t.notThrows(() => parse('train: { warmup: 100 }', ['train.steps=3', `train.schedule=${schedule}`]));
  }
});

test('an error in what a checkpoint holds names it', (t) => {
  t.throws(() => runConfigFromJSON({ train: { steps: -1 } }, 'checkpoint.json config'), {
    instanceOf: ConfigError,
    message: 'checkpoint.json config: train.steps must be a positive integer, got -1',
  });
  t.throws(() => runConfigFromJSON(3, 'checkpoint.json config'), { instanceOf: ConfigError, message: /must be an object, got 3/ });
});
