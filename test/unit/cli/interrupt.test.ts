import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { Interrupted, interruptible } from '../../../lib/cli/interrupt.ts';
import { heddle, lastLine, tinyProject } from './support.ts';

/** Sends SIGINT once, when stderr holds `text`. */
function interruptAt(text: string) {
  let sent = false;
  return (child: { kill(signal: NodeJS.Signals): boolean }, stderr: string): void => {
    if (sent || !stderr.includes(text)) return;
    sent = true;
    child.kill('SIGINT');
  };
}

const before = process.listenerCount('SIGINT');

test.serial('Ctrl-C saves and stops; the resumed run ends with the bits of one never stopped', async (t) => {
  const cwd = tinyProject();
  const long = ['--set', 'train.steps=300', '--set', 'train.evalEvery=0', '--set', 'train.saveEvery=0', '--json'];
  const stopped = await heddle(['pretrain', 'tiny.yaml', ...long], { cwd, onStderr: interruptAt('pretrain 1/300') });
  t.is(stopped.code, 130, stopped.stderr);
  t.regex(stopped.stderr, /^Stopping after this step and saving a checkpoint\. Ctrl-C again quits at once\.$/m);
  t.regex(stopped.stderr, /^saved runs\/tiny\/checkpoints\/step-/m);
  const { reason, steps } = lastLine(stopped);
  t.is(reason, 'aborted');
  t.true((steps as number) >= 1 && (steps as number) < 300, `${steps}`);

  const rest = await heddle(['pretrain', 'tiny.yaml', ...long, '--resume'], { cwd });
  t.is(rest.code, 0, rest.stderr);
  t.regex(rest.stderr, new RegExp(`^going on after step ${steps}$`, 'm'));
  const whole = await heddle(['pretrain', 'tiny.yaml', ...long, '--set', 'out=whole'], { cwd });
  t.is(whole.code, 0, whole.stderr);
  t.is(lastLine(rest).valLoss, lastLine(whole).valLoss);
  for (const file of ['model.safetensors', 'optimizer.safetensors']) {
    const bytes = (out: string) => readFileSync(join(cwd, out, 'checkpoints/step-00000300', file));
    t.true(bytes('runs/tiny').equals(bytes('whole')), file);
  }
});

test.serial('a second Ctrl-C quits at once; one that npm repeats is not a second one', async (t) => {
  const cwd = tinyProject();
  let second = 0;
  // A step that takes long. --resume says when training begins: there is nothing to go on from.
  const outcome = await heddle(
    ['pretrain', 'tiny.yaml', '--resume', '--set', 'train.batchSize=256', '--set', 'train.gradientAccumulation=80'],
    {
      cwd,
      onStderr(child, stderr) {
        if (second > 0 || !stderr.includes('this is the first step')) return;
        second = Number.POSITIVE_INFINITY;
        child.kill('SIGINT');
        setTimeout(() => child.kill('SIGINT'), 50); // npm's
        setTimeout(() => {
          second = child.exitCode === null ? performance.now() : Number.NaN;
          child.kill('SIGINT');
        }, 600);
      },
    },
  );
  t.is(outcome.code, 130, outcome.stderr);
  t.true(performance.now() - second < 5000, 'alive until the second signal, and ended by it');
  t.regex(outcome.stderr, /^Quit\.$/m);
  const checkpoints = join(cwd, 'runs/tiny/checkpoints');
  t.deepEqual(existsSync(checkpoints) ? readdirSync(checkpoints) : [], []);
});

test.serial('--minutes saves and stops', async (t) => {
  const cwd = tinyProject();
  const outcome = await heddle(['pretrain', 'tiny.yaml', '--minutes', '0.005', '--set', 'train.steps=1000000', '--json'], { cwd });
  t.is(outcome.code, 0, outcome.stderr);
  const { reason, checkpoint, valLoss } = lastLine(outcome);
  t.is(reason, 'time');
  t.true(Number.isFinite(valLoss));
  t.true(existsSync(join(cwd, checkpoint as string, 'checkpoint.json')));
});

test.serial('work that ends with an AbortError of its own was interrupted; other errors stay', async (t) => {
  const abort = async (signal: AbortSignal): Promise<never> => {
    process.emit('SIGINT', 'SIGINT');
    t.true(signal.aborted);
    throw new DOMException('aborted', 'AbortError');
  };
  const error = await t.throwsAsync(interruptible('Stopping.', abort), { instanceOf: Interrupted });
  t.is(error?.exitCode, 130);
  await t.throwsAsync(
    interruptible('Stopping.', () => Promise.reject(new Error('other'))),
    { message: 'other' },
  );
  t.is(process.listenerCount('SIGINT'), before);
});
