// Memory that the system refuses, and what `heddle pretrain` makes of memory that runs out: in processes of their own.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { heddle, LIBRARY, LOADER, lastLine, tinyProject } from '../cli/support.ts';

/** A test that limits address space, where that can be done. */
function limitedTest(title: string, body: (t: ExecutionContext) => Promise<void> | void): void {
  if (process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0) test.serial(title, body);
  else
    test.serial(`${title} (not tested: needs Linux and prlimit, apt-get install util-linux)`, (t) => {
      t.pass();
    });
}

interface Failure {
  code?: string;
  message: string;
}

interface Seen {
  reading: Failure;
  readingSync: Failure;
  writing: Failure;
  step: Failure;
  before: object;
  after: object;
  small: string;
  large: string;
  expected: { small: string; large: string };
}

limitedTest('the system gives no more address space: the same error, the state intact, and the run goes on', (t) => {
  const child = fileURLToPath(new URL('./child/limited.ts', import.meta.url));
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, ['--import=tsx', child], { encoding: 'utf8' });
  t.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' });
  const seen = JSON.parse(stdout) as Seen;
  for (const error of [seen.reading, seen.readingSync, seen.writing, seen.step])
    t.is(error.code, 'ERR_HEDDLE_OUT_OF_MEMORY', error.message);
  t.is(seen.reading.message, 'read: out of memory: the system has no 200.0 MiB for the copy');
  t.is(seen.readingSync.message, 'readSync: out of memory: the system has no 200.0 MiB for the copy');
  t.regex(seen.writing.message, /^(?:empty|write): out of memory: /); // on either side of the copy
  const parts = /^\w+: out of memory: asked for \d+\.\d MiB, \d+\.\d MiB in use and the system gives no more, (\d+\.\d) [KM]iB free/;
  t.true(Number(parts.exec(seen.step.message)?.[1]) < 120, `of the address space, not of the machine: ${seen.step.message}`);
  t.regex(seen.step.message, /\n {2}Held by: parameters .*saved for backward \d+\.\d MiB/);
  t.deepEqual(seen.after, seen.before);
  t.is(seen.small, seen.expected.small, 'with a smaller batch');
  t.is(seen.large, seen.expected.large, 'with the same batch, once there is memory again');
});

limitedTest('heddle pretrain without enough address space: one error, exit code 1', async (t) => {
  const cwd = tinyProject();
  // What a process that does nothing else takes, and room for all but the step.
  const load = `await import(${JSON.stringify(LIBRARY)}); console.log(/VmPeak:\\s+(\\d+)/.exec((await import('node:fs')).readFileSync('/proc/self/status'))[1])`;
  const measured = spawnSync(process.execPath, [...LOADER, '--input-type=module', '-e', load], { encoding: 'utf8' });
  const room = Number(measured.stdout) * 1024 + 500 * 2 ** 20;
  const preload = join(cwd, 'limit.mjs');
  writeFileSync(
    preload,
    `import { spawnSync } from 'node:child_process'; spawnSync('prlimit', ['--pid', String(process.pid), '--as=${room}:']);`,
  );
  const outcome = await heddle(['pretrain', 'tiny.yaml', '--set', 'train.batchSize=40000'], {
    cwd,
    env: { NODE_OPTIONS: `--import=${preload}` },
  });
  t.is(outcome.code, 1, outcome.stderr);
  t.is(outcome.stderr.match(/^heddle: \w+: out of memory: .* the system gives no more/gm)?.length, 1, outcome.stderr);
  t.regex(outcome.stderr, /^ {2}Held by: parameters /m);
  t.notRegex(outcome.stderr, /at .*\.ts:\d+/);
});

test.serial('heddle pretrain at the limit: one error, exit code 1, the last checkpoint stays, and --resume goes on from it', async (t) => {
  const cwd = tinyProject();
  const args = ['pretrain', 'tiny.yaml', '--json', '--set', 'train.steps=20', '--set', 'train.saveEvery=2', '--set', 'train.evalEvery=0'];
  // As a program would that trains with the library; the command has no option for it.
  const preload = join(cwd, 'limit.mjs');
  writeFileSync(
    preload,
    `import { readdirSync, existsSync } from 'node:fs';
     let heddle;
     const timer = setInterval(async () => {
       if (!existsSync('runs/tiny')) return;
       heddle ??= await import(${JSON.stringify(LIBRARY)}); // before the first step: it takes a while
       if (!existsSync('runs/tiny/checkpoints') || !readdirSync('runs/tiny/checkpoints').includes('step-00000002')) return;
       clearInterval(timer);
       heddle.setMemoryLimit(1, 'cpu');
     }, 1);
     timer.unref();`,
  );
  // Steps of some milliseconds, so that the limit comes before the end, and op by op: a replay allocates nothing.
  const slow = ['--set', 'train.batchSize=256', '--set', 'train.policy.graph=false'];
  const outcome = await heddle([...args, ...slow], { cwd, env: { NODE_OPTIONS: `--import=${preload}` } });
  t.is(outcome.code, 1, outcome.stderr);
  t.is(outcome.stderr.match(/^heddle: \w+: out of memory: .* of a limit of 0\.0 KiB/gm)?.length, 1, outcome.stderr);
  t.regex(outcome.stderr, /^ {2}Held by: parameters /m);
  t.is(outcome.stdout, '');
  const names = readdirSync(join(cwd, 'runs/tiny/checkpoints'));
  t.true(names.includes('step-00000002') && names.every((name) => name.startsWith('step-')), names.join());
  t.false(existsSync(join(cwd, 'runs/tiny/checkpoints/step-00000020')));
  const resumed = await heddle([...args, ...slow, '--resume'], { cwd });
  t.is(resumed.code, 0, resumed.stderr);
  const whole = await heddle([...args, ...slow, '--set', 'out=whole'], { cwd });
  t.is(lastLine(resumed).valLoss, lastLine(whole).valLoss);
});
