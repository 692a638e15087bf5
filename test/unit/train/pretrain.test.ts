import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  evaluateRun,
  findCheckpoint,
  finetune,
  memory,
  openModel,
  parseRunConfig,
  pretrain,
  type RunConfig,
  type TrainerEvent,
} from '../../../lib/index.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { sampleText } from '../data/support.ts';
import { temporaryFolder } from './run_support.ts';

function config(t: ExecutionContext, train = ''): RunConfig {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'text.txt'), sampleText(3000));
  const yaml = `
out: ${join(folder, 'run')}
model: { layers: 2, heads: 2, width: 16, contextLength: 16 }
tokenizer: { kind: char }
data: { path: ${join(folder, 'text.txt')}, valFraction: 0.1 }
train: { steps: 12, batchSize: 4, learningRate: 0.01, evalEvery: 5, saveEvery: 5${train} }
finetune: { train: { steps: 30, batchSize: 4, learningRate: 0.01 } }
`;
  return parseRunConfig(yaml, join(folder, 'run.yaml'));
}

test.serial('pretrain: trains, evaluates the whole split, saves; evaluateRun finds the same figure', async (t) => {
  const before = memory();
  const run = config(t);
  const events: TrainerEvent[] = [];
  const result = await pretrain(run, { onEvent: (event) => void events.push(event) });
  t.is(result.steps, 12);
  t.is(result.reason, 'steps');
  t.true(result.valLoss > 0 && result.valLoss < 3.2, String(result.valLoss));
  t.true(Math.abs((result.bitsPerByte as number) - result.valLoss / Math.LN2) < 1e-9, 'a character of this text is a byte');
  t.true(result.tokensPerSecond > 0 && result.parameters > 0);
  t.true(existsSync(join(result.checkpoint as string, 'model.safetensors')));
  t.is(events.at(-1)?.type, 'end');
  const best = Math.min(...events.flatMap((e) => (e.type === 'evaluation' ? [e.loss] : [])));
  const evaluated = await evaluateRun(run);
  t.true(Math.abs(evaluated.valLoss - best) < 1e-5);
  t.is(evaluated.checkpoint, result.checkpoint);
  const after = memory();
  t.is(after.used, before.used, 'models and optimizers are freed');
  t.is(after.tensors, before.tensors);
});

test.serial('a run that exists is resumed or begun anew, never overwritten in silence', async (t) => {
  const run = config(t);
  const whole: number[] = [];
  await pretrain(run, { onEvent: (e) => void (e.type === 'step' && whole.push(e.loss)) });
  await t.throwsAsync(() => pretrain(run), {
    code: 'ERR_HEDDLE_RUN_EXISTS',
    message: /already holds a run of 12 steps[\s\S]*--resume[\s\S]*--fresh/,
  });
  const stop = new AbortController();
  const losses: number[] = [];
  const record = (e: TrainerEvent): void => {
    if (e.type === 'step') losses.push(e.loss);
    if (e.type === 'step' && e.step === 7) stop.abort();
  };
  const stopped = await pretrain(run, { fresh: true, signal: stop.signal, onEvent: record });
  t.is(stopped.reason, 'aborted');
  t.is(stopped.steps, 7);
  let from = -1;
  const resumed = await pretrain(run, {
    resume: true,
    onEvent: record,
    onStart: (_, at) => {
      from = at;
    },
  });
  t.is(from, 7);
  t.is(resumed.steps, 12);
  t.deepEqual(losses, whole, 'the same losses as the run that was not stopped');
});

test.serial('finetune: begins at the best checkpoint, learns the answers, leaves the pretrained run as it was', async (t) => {
  const before = memory();
  const run = config(t);
  await pretrain(run);
  const pretrained = (await findCheckpoint(run.out)).folder;
  const words = ['sea', 'ship', 'old', 'man', 'deck', 'wind'];
  const examples = Array.from({ length: 48 }, (_, i) => ({ prompt: `${words[i % 6]} `, completion: i % 2 ? 'was' : 'in' }));
  const losses: number[] = [];
  const result = await finetune(run, {
    examples: { train: examples, validation: examples.slice(0, 6) },
    onEvent: (e) => void (e.type === 'step' && losses.push(e.loss)),
  });
  t.is(result.steps, 30);
  t.true((losses.at(-1) as number) < (losses[0] as number) / 2, `${losses[0]} to ${losses.at(-1)}`);
  t.true(result.valLoss < (losses[0] as number));
  t.true((result.checkpoint as string).startsWith(join(run.out, 'finetune')));
  t.is((await findCheckpoint(run.out)).folder, pretrained);
  const { model, tokenizer } = await openModel(join(run.out, 'finetune'));
  t.truthy(tokenizer);
  model.dispose();
  await t.throwsAsync(() => finetune(run), { code: 'ERR_HEDDLE_RUN_EXISTS' });
  t.is(memory().used, before.used);
});

test.serial('what is missing is named', async (t) => {
  const run = config(t);
  await t.throwsAsync(() => evaluateRun(run), { message: /no such file or folder/ });
  await t.throwsAsync(() => finetune(run), { message: /finetune\.path must name a JSONL file/ });
  await t.throwsAsync(() => openModel(run.out), { code: 'ERR_HEDDLE_FILE' });
});

test.serial('checkpoints that cannot be read are not removed unasked', async (t) => {
  const run = config(t);
  const folder = join(run.out, 'checkpoints');
  await pretrain(run);
  const names = readdirSync(folder).filter((name) => name.startsWith('step-'));
  for (const name of names) writeFileSync(join(folder, name, 'model.safetensors'), 'damaged');
  for (const resume of [false, true]) {
    await t.throwsAsync(pretrain(run, { resume }), {
      code: 'ERR_HEDDLE_RUN_EXISTS',
      message: /run holds no complete checkpoint, but step-00000012, step-\d+\n {2}Start over with --fresh, which removes them\.$/,
    });
    t.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('step-')),
      names,
    );
  }
  t.is((await pretrain(run, { fresh: true })).steps, 12);
  rmSync(folder, { recursive: true });
  writeFileSync(folder, 'mine'); // no folder
  await t.throwsAsync(pretrain(run, { resume: true }), { instanceOf: FileError, message: /checkpoints: cannot list: ENOTDIR/ });
  t.true(existsSync(folder));
});
