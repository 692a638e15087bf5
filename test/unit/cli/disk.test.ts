import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { latestCheckpoint } from '../../../lib/checkpoint/index.ts';
import { findCheckpoint } from '../../../lib/train/open.ts';
import { filesOf, rowsOf } from '../../disk/run.ts';
import { smallDisk } from '../../disk/small_disk.ts';
import { heddle, type Outcome, tinyProject } from './support.ts';

const STEPS = 12;
const SET = [
  `train.steps=${STEPS}`,
  'train.saveEvery=2',
  'train.evalEvery=4',
  'train.keep=2',
  'train.logEvery=1',
  `train.decaySteps=${STEPS}`,
  'train.minLearningRate=6e-5',
];
const LAST = `checkpoints/step-000000${STEPS}`;

const pretrain = (cwd: string, out: string, more: readonly string[] = [], options = {}): Promise<Outcome> =>
  heddle(['pretrain', 'tiny.yaml', ...[...SET, `out=${out}`].flatMap((pair) => ['--set', pair]), ...more], { cwd, ...options });

/** One clear error, and an exit code that says so. */
function failedClearly(t: ExecutionContext, { code, stderr }: Outcome, folder: string, why: string): void {
  t.is(code, 1, stderr);
  const lines = stderr.split('\n').filter((line) => line.startsWith('heddle: '));
  t.is(lines.length, 1, stderr);
  t.true(lines[0]?.startsWith(`heddle: ${folder}/`) && lines[0].includes(why), stderr);
  t.notRegex(stderr, /^ +at /m);
}

/** Goes on and comes to what a run comes to that nothing befell. */
async function goesOn(t: ExecutionContext, cwd: string, out: string, whole: string): Promise<void> {
  const rest = await pretrain(cwd, out, ['--resume']);
  t.is(rest.code, 0, rest.stderr);
  for (const file of ['model.safetensors', 'optimizer.safetensors'])
    t.true(readFileSync(join(out, LAST, file)).equals(readFileSync(join(whole, LAST, file))), file);
  t.deepEqual(rowsOf(join(out, 'metrics.jsonl')), rowsOf(join(whole, 'metrics.jsonl')));
  t.deepEqual(
    Object.keys(filesOf(out)).filter((name) => name.includes('tmp')),
    [],
  );
}

/** The step of the newest checkpoint; all that looks like one is one. */
async function newest(t: ExecutionContext, out: string): Promise<number> {
  const { checkpoint, skipped } = await latestCheckpoint(join(out, 'checkpoints'));
  t.deepEqual(skipped, []);
  if (checkpoint) t.is(typeof (await findCheckpoint(out)).manifest.step, 'number');
  return checkpoint?.manifest.step ?? 0;
}

const cwd = tinyProject();
const whole = join(cwd, 'whole');

test.before('a run that nothing befalls', async (t) => {
  const { code, stderr } = await pretrain(cwd, whole);
  t.is(code, 0, stderr);
});

test.serial(
  'a disk that fills up: one clear error, the last checkpoint loads, and with more room the run comes to the same bits',
  async (t) => {
    const size = (paths: readonly string[]): number => paths.reduce((sum, path) => sum + statSync(join(whole, path)).size, 0);
    const names = Object.keys(filesOf(whole));
    const checkpoint = size(names.filter((name) => name.startsWith(LAST)));
    const prepared = size(names.filter((name) => /^(data|tokenizer)\//.test(name)));
    const disk = await smallDisk(prepared / 2);
    if (typeof disk === 'string') {
      console.log(`not run: a run on a disk that fills up (${disk}); needs Linux with root or user namespaces, and unshare of util-linux`);
      t.pass();
      return;
    }
    t.teardown(disk.remove);
    const out = join(disk.folder, 'run');
    const steps: number[] = [];
    // No room for the data, for the first checkpoint, for the third beside the two that are kept.
    for (const room of [prepared / 2, prepared + checkpoint / 2, prepared + 2.6 * checkpoint]) {
      await disk.resize(room + 32_768); // folders and pages that are not full
      failedClearly(t, await pretrain(cwd, out, ['--resume']), disk.folder, 'ENOSPC');
      steps.push(await newest(t, out));
    }
    t.is(steps[1], 0);
    t.true((steps[2] ?? 0) >= 2, `${steps}`);
    await disk.resize(prepared + 10 * checkpoint);
    await goesOn(t, cwd, out, whole);
  },
);

test.serial(
  'a limit on the size of files: one clear error, the last checkpoint loads, and without it the run comes to the same bits',
  async (t) => {
    if (process.platform === 'win32') {
      console.log('not run: a limit on the size of files (Windows has no ulimit)');
      t.pass();
      return;
    }
    const out = join(cwd, 'limited');
    const first = await pretrain(cwd, out, ['--set', 'train.steps=4']);
    t.is(first.code, 0, first.stderr);
    // 100 blocks of 512 bytes, or of 1024 where the shell is bash: less than the optimizer's file.
    const limited = { under: ['sh', '-c', 'ulimit -f 100; exec "$@"', 'sh'], env: { TSX_DISABLE_CACHE: '1' } };
    failedClearly(t, await pretrain(cwd, out, ['--resume'], limited), out, 'EFBIG');
    t.is(await newest(t, out), 4);
    await goesOn(t, cwd, out, whole);
  },
);
