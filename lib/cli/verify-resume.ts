import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { marked, print } from './output.ts';
import { CONFIG, loadConfig, printResult, RUN_OPTIONS } from './training.ts';
import { RunView } from './view.ts';

const DEFAULT_STEPS = 10;

export const run = command(
  {
    name: 'verify-resume',
    summary: 'prove that a run stopped and resumed is equal, bit for bit, to one never stopped',
    positionals: CONFIG,
    options: {
      ...RUN_OPTIONS,
      steps: { kind: 'integer', value: 'N', min: 2, help: `steps of each of the two runs; default ${DEFAULT_STEPS}` },
    },
    details: [
      'Trains with your own configuration: once straight on, once with a stop, a checkpoint and a new start in the middle. Compares',
      "all losses, parameters and the optimizer's state. Exit code 1 where anything differs. The run's own checkpoints are left alone.",
    ].join('\n'),
    examples: [['heddle verify-resume configs/char-cpu.yaml --steps 20', 'twenty steps straight, and ten and ten']],
  },
  async ({ values, positionals: [file = ''] }) => {
    const config = await loadConfig(file, values);
    const { verifyResume } = await import('../train/session.ts');
    const { describeDevice } = await import('../tensor/device.ts');
    const steps = values.steps ?? DEFAULT_STEPS;
    const view = new RunView('verify-resume', 2 * steps);
    let [done, rates, device] = [0, 0, ''];
    const verdict = await interruptible('Stopping.', (signal) =>
      verifyResume(config, {
        ...{ signal, steps },
        onMessage: (line) => view.say(line),
        onPrepare: (progress) => view.prepare(progress),
        onEvent(event, { model }) {
          signal.throwIfAborted();
          if (event.type !== 'step') return;
          if (done === 0) view.start(0);
          device = describeDevice(model.device);
          rates += event.tokensPerSecond;
          view.event({ ...event, step: ++done });
        },
      }),
    ).finally(() => view.end());
    if (values.json) printResult('verify-resume', config, { ...verdict, tokensPerSecond: rates / done, device });
    else if (verdict.equal)
      print(marked(`Equal bit for bit: ${steps} steps, and ${Math.floor(steps / 2)} with the rest after a new start.`));
    else print(marked(`Not equal: ${verdict.firstDifference} differs after ${steps} steps.`));
    return verdict.equal ? 0 : 1;
  },
);
