import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readMetrics } from '../../../lib/train/metrics/log.ts';
import { heddle, lastLine, tinyProject } from './support.ts';

const number = (value: unknown): number => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Error(`no finite number: ${value}`);
  return value;
};

test.serial('pretrain: one JSON line on stdout, progress on stderr, metrics and checkpoints in the folder', async (t) => {
  const cwd = tinyProject();
  const outcome = await heddle(['pretrain', 'tiny.yaml', '--json', '--seed', '3'], { cwd });
  t.is(outcome.code, 0, outcome.stderr);
  const result = lastLine(outcome);
  t.is(outcome.stdout.trimEnd().split('\n').length, 1);
  t.is(result.steps, 5);
  t.is(result.reason, 'steps');
  t.true(number(result.valLoss) < Math.log(257));
  t.true(number(result.bitsPerByte) < 8);
  t.true(number(result.tokensPerSecond) > 0);
  t.true(existsSync(join(cwd, result.checkpoint as string, 'model.safetensors')));
  t.regex(outcome.stderr, /^pretrain 1\/5 · loss 5\.\d+ · /m);
  t.regex(outcome.stderr, /^step 2: validation loss /m);
  t.false(outcome.stderr.includes('\r'), 'stderr is no terminal: plain lines');

  const rows = readMetrics(join(cwd, 'runs/tiny/metrics.jsonl'));
  t.deepEqual(
    rows.map((r) => [r.event, r.step]),
    [
      ['step', 1],
      ['step', 2],
      ['evaluation', 2],
      ['step', 3],
      ['step', 4],
      ['evaluation', 4],
      ['step', 5],
      ['evaluation', 5],
    ],
  );
  t.is(rows.at(-1)?.loss, result.valLoss as number);
  t.is(readdirSync(join(cwd, 'runs/tiny/tensorboard')).length, 1);

  const again = await heddle(['pretrain', 'tiny.yaml'], { cwd });
  t.is(again.code, 1);
  t.regex(again.stderr, /^heddle: runs\/tiny already holds a run of 5 steps\n {2}.*--resume.*--fresh/m);

  const measured = lastLine(await heddle(['evaluate', 'tiny.yaml', '--json'], { cwd }));
  t.true(Math.abs(number(measured.valLoss) - number(result.valLoss)) < 1e-4);
  t.is(measured.checkpoint, result.checkpoint);

  const other = lastLine(await heddle(['pretrain', 'tiny.yaml', '--json', '--seed', '4', '--fresh'], { cwd }));
  t.not(other.valLoss, result.valLoss);
});

test.serial('without --json: curve, table and what to try next on stdout', async (t) => {
  const cwd = tinyProject();
  const { code, stdout, stderr } = await heddle(['pretrain', 'tiny.yaml', '--set', 'train.sampleEvery=5'], { cwd });
  t.is(code, 0, stderr);
  for (const part of ['validation loss', 'bits per byte', 'checkpoint', 'heddle generate runs/tiny', 'step 1'])
    t.true(stdout.includes(part), part);
  t.regex(stderr, /^step 5, a sample:\n {2}│ The/m);
});

test.serial('a run that was resumed ends with the same bits, and logs no step twice', async (t) => {
  const cwd = tinyProject();
  const set = (...pairs: string[]) => pairs.flatMap((pair) => ['--set', pair]);
  t.is((await heddle(['pretrain', 'tiny.yaml', ...set('out=whole')], { cwd })).code, 0);
  // The schedule of five steps, cut short after three.
  const part = await heddle(
    ['pretrain', 'tiny.yaml', ...set('out=parts', 'train.steps=3', 'train.decaySteps=5', 'train.minLearningRate=6e-5')],
    { cwd },
  );
  t.is(part.code, 0, part.stderr);
  const rest = await heddle(['pretrain', 'tiny.yaml', ...set('out=parts', 'train.decaySteps=5'), '--resume', '--json'], { cwd });
  t.is(rest.code, 0, rest.stderr);
  t.regex(rest.stderr, /^going on after step 3$/m);
  for (const file of ['model.safetensors', 'optimizer.safetensors']) {
    const bytes = (out: string) => readFileSync(join(cwd, out, 'checkpoints/step-00000005', file));
    t.true(bytes('whole').equals(bytes('parts')), file);
  }
  const steps = readMetrics(join(cwd, 'parts/metrics.jsonl')).filter((r) => r.event === 'step');
  t.deepEqual(
    steps.map((r) => r.step),
    [1, 2, 3, 4, 5],
  );
});

test.serial('finetune and generate', async (t) => {
  const cwd = tinyProject();
  t.is((await heddle(['pretrain', 'tiny.yaml'], { cwd })).code, 0);
  const tuned = await heddle(['finetune', 'tiny.yaml', '--data', 'pairs.jsonl', '--json'], { cwd });
  t.is(tuned.code, 0, tuned.stderr);
  const result = lastLine(tuned);
  t.is(result.steps, 4);
  number(result.valLoss);
  t.is(result.checkpoint, 'runs/tiny/finetune/checkpoints/step-00000004');
  t.is(readMetrics(join(cwd, 'runs/tiny/metrics.jsonl')).at(-1)?.step, 5, 'the log of pretraining is left alone');
  t.is((await heddle(['finetune', 'tiny.yaml'], { cwd })).code, 1);
  const longer = lastLine(await heddle(['finetune', 'tiny.yaml', '--resume', '--set', 'finetune.train.steps=6', '--json'], { cwd }));
  t.is(longer.steps, 6);

  const streamed = await heddle(['generate', 'runs/tiny', '--seed', '1'], { cwd });
  t.is(streamed.code, 0, streamed.stderr);
  t.true(streamed.stdout.startsWith('The'), 'the prompt is that of the run');
  const { samples } = lastLine(await heddle(['generate', 'runs/tiny', '--seed', '1', '--json', '--samples', '2'], { cwd })) as {
    samples: { text: string; tokens: number[] }[];
  };
  t.is(samples.length, 2);
  t.is(samples[0]?.tokens.length, 8, 'maxTokens is that of the run');
  t.is(`The${samples[0]?.text}\n`, streamed.stdout);
  t.notDeepEqual(samples[0]?.tokens, samples[1]?.tokens);
  const greedy = await heddle(['generate', 'runs/tiny/finetune', '--temperature', '0', '--prompt', '-', '--max-tokens', '2'], {
    cwd,
    input: 'Is',
  });
  t.true(greedy.stdout.startsWith('Is'), greedy.stderr);
  const nothing = await heddle(['generate', 'nowhere'], { cwd });
  t.is(nothing.code, 1);
  t.regex(nothing.stderr, /^heddle: nowhere: no such file or folder/);
});

test.serial('finetune --lora: says what is trained, writes an adapter, generates from the checkpoint', async (t) => {
  const cwd = tinyProject();
  t.is((await heddle(['pretrain', 'tiny.yaml'], { cwd })).code, 0);
  const tuned = await heddle(['finetune', 'tiny.yaml', '--lora', '--set', 'finetune.lora.rank=2'], { cwd });
  t.is(tuned.code, 0, tuned.stderr);
  t.regex(tuned.stderr, /^training 1024 of \d+ parameters \(\d\.\d\d %\)$/m);
  for (const part of [
    /of them trained +│ 1\.02k \(\d\.\d\d %\)/,
    /memory of tensors +│ \d+\.\d MiB at most/,
    /exported +│ runs\/tiny\/finetune\/adapter/,
  ])
    t.regex(tuned.stdout, part);
  t.is(JSON.parse(readFileSync(join(cwd, 'runs/tiny/finetune/adapter/adapter_config.json'), 'utf8')).r, 2);
  t.is((await heddle(['generate', 'runs/tiny/finetune'], { cwd })).code, 0);
  t.regex((await heddle(['finetune', 'tiny.yaml', '--resume'], { cwd })).stderr, /LoRA must be \{"rank":2,.* got null/);

  const quantized = await heddle(['finetune', 'tiny.yaml', '--qlora', '--fresh', '--set', 'finetune.lora.rank=2'], { cwd });
  t.is(quantized.code, 0, quantized.stderr);
  const trained = /^training 1024 of \d+ parameters/m;
  t.is(trained.exec(quantized.stderr)?.[0], trained.exec(tuned.stderr)?.[0], 'matrices in NF4 are counted');
  t.is((await heddle(['generate', 'runs/tiny/finetune'], { cwd })).code, 0);
});

test.serial('inspect batch: documents, what is learned, positions; colours only where they are wanted', async (t) => {
  const cwd = tinyProject();
  const plain = await heddle(['inspect', 'batch', 'tiny.yaml', '--rows', '1'], { cwd, env: { FORCE_COLOR: '1', NO_COLOR: '1' } });
  t.is(plain.code, 0, plain.stderr);
  const [head, , row, first] = plain.stdout.split('\n');
  t.is(head, 'batch 0: 4 rows of 32 tokens, 128 of them (100.0 %) learned');
  t.is(row, 'row 0');
  t.regex(first as string, /^ {4}0 {2}.«(.\|){31}.»$/, 'the first token is read alone, the last target stands behind the inputs');
  t.is((await heddle(['pretrain', 'tiny.yaml'], { cwd })).code, 0);
  const args = ['inspect', 'batch', 'tiny.yaml', '--finetune', '--rows', '2'];
  const tuned = await heddle(args, { cwd, env: { NO_COLOR: '', FORCE_COLOR: '1' } });
  t.is(tuned.code, 0, tuned.stderr);
  t.regex(tuned.stdout.replaceAll('\u001b', '^'), /\^\[36mI\^\[0m\|.*«\^\[1;4;36m[yn]\^\[0m/);
  const bare = await heddle(args, { cwd, env: { NO_COLOR: '', FORCE_COLOR: '' } });
  t.regex(bare.stdout, /^ {4}0 {2}I\|s\| (\|\d)+\| \|e\|v\|e\|n\|\?\| «(n\|o|y\|e\|s)\|<\|endoftext\|>»$/m);
  const json = lastLine(await heddle([...args, '--json'], { cwd })) as {
    targetCount: number;
    documents: { start: number; tokens: { id: number; learned: boolean; position: number | null }[] }[][];
  };
  const [one, two] = json.documents[0] as (typeof json.documents)[0];
  t.is(one?.start, 0);
  t.is(two?.start, (one?.tokens.length as number) - 1);
  t.deepEqual(one?.tokens.at(-1), { ...one?.tokens.at(-1), id: 256, learned: true, position: null } as never);
  const table = await heddle([...args, '--table'], { cwd });
  t.regex(table.stdout, /^ {7}0 {9}0 {6}73 {11}I$/m);
});

test.serial('inspect memory: the peak, who holds it, and what makes it fit', async (t) => {
  const cwd = tinyProject();
  const args = ['inspect', 'memory', 'tiny.yaml', '--capability', '80'];
  const plain = await heddle(args, { cwd });
  t.is(plain.code, 0, plain.stderr);
  t.regex(plain.stdout, /^\d+\.\d MiB at most, on a card of compute capability 8\.0\. Then they hold it:\n(.*\n)* {2}parameters +\d/);
  const { peak, holders } = lastLine(await heddle([...args, '--json'], { cwd })) as {
    peak: number;
    holders: { bytes: Record<string, number> };
  };
  t.true(number(peak) > number(holders.bytes['optimizer state']));
  const fitted = lastLine(await heddle([...args, '--limit', `${Math.round(0.8 * peak)}`, '--json'], { cwd }));
  t.true(Object.keys(fitted.changes as object).length > 0);
  const text = await heddle([...args, '--limit', '1TiB'], { cwd });
  t.regex(text.stdout, /\nTo fit into 1024\.0 GiB:\n {2}as configured +\d+\.\d MiB +fits\n\nIt fits as configured\.\n$/);
  t.regex(
    (await heddle([...args, '--limit', 'much'], { cwd })).stderr,
    /^heddle: inspect memory: --limit must be a size such as 16GiB or 800MB, got "much"/,
  );
});

test.serial('prepare and verify-resume', async (t) => {
  const cwd = tinyProject();
  const prepared = lastLine(await heddle(['prepare', 'tiny.yaml', '--json'], { cwd }));
  t.is(prepared.vocabSize, 257);
  t.true(number(prepared.validationTokens) > 0);
  t.is(prepared.valLoss, null);
  const verified = await heddle(['verify-resume', 'tiny.yaml', '--steps', '4', '--json'], { cwd });
  t.is(verified.code, 0, verified.stderr);
  const { equal, steps, firstDifference } = lastLine(verified);
  t.deepEqual({ equal, steps, firstDifference }, { equal: true, steps: 4, firstDifference: null });
  t.false(existsSync(join(cwd, 'runs/tiny/checkpoints')));
});

test.serial('a wrong device costs no checkpoint', async (t) => {
  const cwd = tinyProject();
  const { checkpoint } = lastLine(await heddle(['pretrain', 'tiny.yaml', '--json'], { cwd }));
  for (const [device, said] of [
    ['abacus', /^heddle: .*device must be cpu, cuda, cuda:N or auto, got "abacus"/m],
    ['cuda:99', /^heddle: .*(cuda:99|CUDA)/m],
  ] as const) {
    const wrong = await heddle(['pretrain', 'tiny.yaml', '--fresh', '--device', device], { cwd });
    t.is(wrong.code, 1);
    t.regex(wrong.stderr, said);
    t.true(existsSync(join(cwd, checkpoint as string, 'checkpoint.json')));
  }
});
