import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  finetune,
  type GPT,
  loadLoRA,
  loraConfigOf,
  lorasOf,
  mergeLoRA,
  noGrad,
  openModel,
  parseRunConfig,
  pretrain,
  type RunConfig,
  scope,
  type TrainerEvent,
  tensor,
} from '../../../lib/index.ts';
import { sampleText } from '../data/support.ts';
import { temporaryFolder } from './run_support.ts';

function config(t: ExecutionContext, lora: string, more = ''): RunConfig {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'text.txt'), sampleText(3000));
  const yaml = `
out: ${join(folder, 'run')}
model: { layers: 2, heads: 2, width: 16, contextLength: 16 }
tokenizer: { kind: char }
data: { path: ${join(folder, 'text.txt')}, valFraction: 0.1 }
train: { steps: 60, batchSize: 4, learningRate: 0.01, evalEvery: 60 }
finetune: { lora: ${lora}, train: { steps: 20, batchSize: 4, learningRate: 0.1, evalEvery: 10${more} } }
`;
  return parseRunConfig(yaml, join(folder, 'run.yaml'));
}

const WORDS = ['sea', 'ship', 'old', 'man', 'deck', 'wind'];
const all = Array.from({ length: 48 }, (_, i) => ({ prompt: `${WORDS[i % 6]} `, completion: i % 2 ? 'was' : 'in' }));
const examples = { train: all, validation: all.slice(0, 6) };
const logits = (model: GPT): number[] =>
  scope(() => noGrad(() => [...model.logits(tensor(Int32Array.of(1, 5, 3, 2, 7, 4), { shape: [1, 6] })).dataSync()])) as number[];
const largest = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))));

test('the section of a configuration: defaults of PEFT, errors with their place', (t) => {
  t.is(parseRunConfig('finetune: {}', 'x.yaml').finetune.lora, undefined);
  t.deepEqual(parseRunConfig('finetune: { lora: { alpha: 16, targets: [down, qkv] } }', 'x.yaml').finetune.lora, {
    ...{ rank: 8, alpha: 16, dropout: 0, targets: ['qkv', 'down'], dora: false, quantize: 'none', merge: false },
  });
  t.is(parseRunConfig('finetune: { lora: { quantize: nf4 } }', 'x.yaml').finetune.lora?.quantize, 'nf4');
  for (const [text, said] of [
    ['{ quantize: int8 }', 'finetune.lora.quantize must be one of none, nf4, got "int8"'],
    ['{ rank: 0 }', 'finetune.lora.rank must be a positive integer, got 0'],
    ['{ r: 8 }', 'finetune.lora.r is not known'],
    ['{ targets: [head] }', /finetune\.lora\.targets\.0 must be one of qkv, proj, up, down, got "?head/],
    ['{ targets: [] }', /finetune\.lora\.targets must be a list of at least one/],
    ['{ dropout: 1 }', 'finetune.lora.dropout must be at least 0 and below 1, got 1'],
  ] as const) {
    const { message = '' } = t.throws(() => parseRunConfig(`finetune: { lora: ${text} }`, 'x.yaml')) ?? {};
    if (typeof said === 'string') t.true(message.includes(said), message);
    else t.regex(message, said);
  }
});

test.serial('a checkpoint opens with its changes; the adapter on the model that it was made of computes the same', async (t) => {
  const run = config(t, '{ rank: 2, alpha: 8, targets: [qkv, up] }');
  await pretrain(run);
  const losses: number[] = [];
  const result = await finetune(run, { examples, onEvent: (e) => void (e.type === 'step' && losses.push(e.loss)) });
  t.true((losses.at(-1) as number) < 0.8 * (losses[0] as number), `${losses[0]} to ${losses.at(-1)}`);
  t.is(result.trainable, 2 * 2 * (16 + 48 + 16 + 64));
  t.true(result.memory > 0 && result.parameters > 2 * result.trainable);
  t.is(result.exported, join(run.out, 'finetune', 'adapter'));

  const opened = await openModel(join(run.out, 'finetune'));
  t.deepEqual(loraConfigOf(opened.model), { rank: 2, alpha: 8, dropout: 0, dora: false, targets: ['qkv', 'up'], quantize: 'none' });
  const base = await openModel(run.out);
  t.true(largest(logits(base.model), logits(opened.model)) > 0.1);
  await loadLoRA(base.model, result.exported as string);
  t.is(largest(logits(base.model), logits(opened.model)), 0);
  for (const { model } of [opened, base]) model.dispose();

  const again = await finetune(
    { ...run, finetune: { ...run.finetune, from: join(run.out, 'finetune'), train: { ...run.finetune.train, steps: 1 } } },
    { examples },
  );
  t.is(again.trainable, result.trainable, 'changes that a model comes with are merged before new ones');
});

for (const quantize of ['none', 'nf4'])
  test.serial(`merged, it is a checkpoint of the same model without changes; quantize: ${quantize}`, async (t) => {
    const run = config(t, `{ rank: 2, merge: true, quantize: ${quantize} }`);
    await pretrain(run);
    const { exported } = await finetune(run, { examples });
    const [apart, merged] = [await openModel(join(run.out, 'finetune')), await openModel(join(run.out, 'finetune', 'merged'))];
    t.true((exported as string).startsWith(join(run.out, 'finetune', 'merged')));
    t.is([...lorasOf(merged.model)].length, 0);
    t.truthy(merged.tokenizer);
    mergeLoRA(apart.model);
    t.is(largest(logits(merged.model), logits(apart.model)), 0);
    for (const { model } of [apart, merged]) model.dispose();
  });

for (const quantize of ['none', 'nf4'])
  test.serial(`stopped and resumed, with dropout, it has the same bits; another alpha is no resuming; quantize: ${quantize}`, async (t) => {
    const run = config(t, `{ rank: 2, dropout: 0.3, dora: true, quantize: ${quantize} }`);
    await pretrain(run);
    const whole: number[] = [];
    const { checkpoint } = await finetune(run, { examples, onEvent: (e) => void (e.type === 'step' && whole.push(e.loss)) });
    const files = ['model.safetensors', 'optimizer.safetensors'];
    const bytes = files.map((file) => readFileSync(join(run.out, 'finetune/checkpoints/step-00000020', file)));
    t.truthy(checkpoint);
    const stop = new AbortController();
    const losses: number[] = [];
    const record = (e: TrainerEvent): void => {
      if (e.type === 'step') losses.push(e.loss);
      if (e.type === 'step' && e.step === 7) stop.abort();
    };
    const stopped = await finetune(run, { examples, fresh: true, signal: stop.signal, onEvent: record });
    t.is(stopped.exported, null);
    const other = { ...run, finetune: { ...run.finetune, lora: { ...(run.finetune.lora as object), alpha: 3 } } } as RunConfig;
    await t.throwsAsync(() => finetune(other, { examples, resume: true }), {
      code: 'ERR_HEDDLE_RESUME',
      message: /LoRA must be \{"rank":2,"alpha":2,.*as in this run so far, got \{"rank":2,"alpha":3/,
    });
    await finetune(run, { examples, resume: true, onEvent: record });
    t.deepEqual(losses, whole);
    for (const [i, file] of files.entries())
      t.true(readFileSync(join(run.out, 'finetune/checkpoints/step-00000020', file)).equals(bytes[i] as Buffer), file);
  });

test.serial('what config.json claims of the changes is checked', async (t) => {
  const run = config(t, '{ rank: 2 }', ', saveEvery: 0');
  await pretrain(run);
  const { checkpoint } = await finetune(run, { examples });
  const file = join(checkpoint as string, 'config.json');
  const json = JSON.parse(readFileSync(file, 'utf8'));
  for (const [lora, said] of [
    [[], 'lora must be an object, got []'],
    [{ ...json.lora, rank: 1e9 }, /its model must have \d+ parameters as model\.safetensors holds, got \d+/],
    [{ ...json.lora, rank: -1 }, 'lora.rank must be a positive integer, got -1'],
    [{ ...json.lora, quantize: 'nf4' }, /its model must have \d+ parameters as model\.safetensors holds, got \d+/],
    [{ ...json.lora, quantize: 4 }, 'lora.quantize must be one of none, nf4, got 4'],
    [{ ...json.lora, alpha: null }, 'lora.alpha must be a positive number, got null'],
    [{ ...json.lora, targets: ['qkv', 'qkv'] }, /lora\.targets must be a list of different ones/],
  ] as const) {
    const text = JSON.stringify({ ...json, lora });
    const { readModel } = await import('../../../lib/train/saved-model.ts');
    const fake = {
      path: (name: string) => join(checkpoint as string, name),
      readBytes: async () => new TextEncoder().encode(text),
    };
    const { message = '' } = (await t.throwsAsync(() => readModel(fake as never), { code: 'ERR_HEDDLE_FILE' })) ?? {};
    if (typeof said === 'string') t.is(message, `${file}: ${said}`);
    else t.regex(message, said);
  }
});
