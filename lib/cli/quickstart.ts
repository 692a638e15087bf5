import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import type { DeviceInfo } from '../tensor/device.ts';
import type { RunConfig } from '../train/config.ts';
import { HeddleError } from '../util/errors.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { note, print, printJSON } from './output.ts';
import { TRAINING_OPTIONS, type TrainingValues } from './training.ts';

/** configs/ lies beside lib/ and dist/. */
const configFile = (name: string): string => fileURLToPath(new URL(`../../configs/${name}.yaml`, import.meta.url));

/** Which model fits the device, with what it computes in; `gpus`: those that there are. A simulated one is slower than the CPU. */
export function quickstartFor(device: string, gpus: readonly DeviceInfo[]): { file: string; set: string[] } {
  const works = gpus.filter(({ problem, simulated }) => problem === '' && !simulated);
  const name = device === 'cuda' ? 'cuda:0' : device;
  const gpu = name === 'auto' ? works[0] : works.find((g) => g.name === name);
  if (!gpu) return { file: configFile('quickstart'), set: [] };
  return { file: configFile('quickstart-gpu'), set: [`train.policy.compute=${gpu.capability >= 80 ? 'bf16' : 'f16'}`] };
}

/** Whether to go on with a run that is there: as the options say, or as the person at the terminal does. */
async function goesOn(run: RunConfig, values: TrainingValues): Promise<boolean> {
  if (values.fresh) return false;
  if (values.resume) return true;
  if (!existsSync(path.join(run.out, 'checkpoints'))) return false;
  const hint = 'Go on with it: npm start -- --resume\n  Start over:     npm start -- --fresh';
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new HeddleError('ERR_HEDDLE_RUN_EXISTS', `${run.out} already holds a run`, { hint });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${run.out} already holds a run. Go on with it? [Y/n] `);
  terminal.close();
  if (/^n/i.test(answer.trim())) throw new HeddleError('ERR_HEDDLE_RUN_EXISTS', 'nothing was changed', { hint });
  return true;
}

export const run = command(
  {
    name: 'quickstart',
    summary: 'from nothing to a model that writes, in minutes',
    options: TRAINING_OPTIONS,
    details: [
      'Prepares a text (Moby-Dick, or yours with --data), builds a GPT, pretrains it, finetunes it on a task made from the text,',
      'evaluates both and lets them write. Everything lands in runs/quickstart. On a GPU the model is larger.',
    ].join('\n'),
    examples: [
      ['heddle quickstart', 'all of it, on Moby-Dick'],
      ['heddle quickstart --data my-novel.txt --fresh', 'on your own text'],
      ['heddle quickstart --minutes 2 --json', 'training cut off after two minutes; the result as JSON'],
    ],
  },
  async ({ values }) => {
    if (values.resume && values.fresh) throw new UsageError('quickstart: --resume and --fresh contradict each other');
    const { loadConfig } = await import('./training.ts');
    const { gpus } = await import('../tensor/device.ts');
    const { file, set } = quickstartFor(values.device ?? 'auto', gpus());
    const config = await loadConfig(file, { ...values, set: [...set, ...(values.set ?? [])] });
    const resume = await goesOn(config, values);
    const { quickstart } = await import('./quickstart-steps.ts');
    return interruptible('Stopping after this step and saving a checkpoint.', async (signal) => {
      const result = await quickstart(config, { ...values, resume, signal });
      if (result === null) {
        note('Go on with: npm start -- --resume');
        return 130;
      }
      const say = values.json ? note : print;
      say(result.table);
      say(`\nTry next:\n${result.next.map((line) => `  ${line}`).join('\n')}`);
      if (values.json) printJSON(result.json);
      return 0;
    });
  },
);
