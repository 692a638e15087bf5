import { existsSync } from 'node:fs';
import type { ExampleName } from '../train/finetune-tasks.ts';
import { HeddleError } from '../util/errors.ts';
import { interruptible } from './interrupt.ts';
import { figure, note, print, printJSON, table } from './output.ts';
import { markSimulated, type TrainingValues } from './training.ts';
import { RunView } from './view.ts';

/** What `npm start` leaves. */
const QUICKSTART = 'runs/quickstart';

const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;

/** Finetunes a model on one of the examples and says what it reaches beside itself untouched and simple baselines. */
export async function finetuneExample(name: ExampleName, values: TrainingValues, from: string | undefined): Promise<number> {
  if (from === undefined && !existsSync(QUICKSTART))
    throw new HeddleError('ERR_HEDDLE_FILE', `${QUICKSTART}: no such folder`, {
      hint: 'Train that model first: npm start. Or name another one with --from.',
    });
  await markSimulated(values.device ?? 'auto');
  const { runExample } = await import('../train/examples.ts');
  let view = new RunView(name, 0);
  const started = performance.now();
  return interruptible('Stopping after this step and saving a checkpoint.', async (signal) => {
    const result = await runExample(name, {
      from: from ?? QUICKSTART,
      signal,
      set: values.set,
      ...(values.device !== undefined && { device: values.device }),
      ...(values.seed !== undefined && { seed: values.seed }),
      ...(values.minutes !== undefined && { minutes: values.minutes }),
      onMessage: note,
      onDownload: (progress) => view.download(progress),
      onConfig(run) {
        view = new RunView(name, run.finetune.train.steps);
      },
      onStart: (_, at) => view.start(at),
      onEvent: (event) => view.event(event),
    }).finally(() => view.end());
    if (result.run.reason === 'aborted') return 130;
    const { contestants, run } = result;
    const seconds = (performance.now() - started) / 1000;
    const say = values.json ? note : print;
    say(
      table(`${name}: ${result.heldOut} held-out records`, [
        ...contestants.map(({ name: who, score }) => [who, percent(score)] as const),
        ['steps', String(run.steps)],
        ['tokens/s', figure(run.tokensPerSecond, 0)],
        ['time', `${seconds.toFixed(0)} s`],
        ['checkpoint', run.checkpoint ?? 'none'],
      ]),
    );
    if (values.json) printJSON({ command: 'finetune', ...result, seconds });
    return 0;
  });
}
