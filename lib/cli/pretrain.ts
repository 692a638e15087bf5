import { join } from 'node:path';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { CONFIG, loadConfig, runTraining, TRAINING_OPTIONS } from './training.ts';

export const run = command(
  {
    name: 'pretrain',
    summary: 'train a model from scratch, as a configuration says',
    positionals: CONFIG,
    options: TRAINING_OPTIONS,
    details: [
      'Prepares the text where that is not done yet. All goes into the folder `out` of the configuration (runs/NAME): tokenizer/,',
      'data/, checkpoints/, metrics.jsonl, tensorboard/. Ctrl-C saves a checkpoint and stops (exit code 130), --resume goes on',
      'from there, to the same bits as a run that was never stopped.',
    ].join('\n'),
    examples: [
      ['heddle pretrain configs/quickstart.yaml', 'train two million parameters on Moby-Dick'],
      ['heddle pretrain configs/char-cpu.yaml --data input.txt --set train.steps=500', 'train on your own text, for fewer steps'],
      ['heddle pretrain configs/char-cpu.yaml --resume --json', 'go on with a stopped run; the result as JSON'],
    ],
  },
  async ({ values, positionals: [file = ''] }) => {
    if (values.resume && values.fresh) throw new UsageError('pretrain: --resume and --fresh contradict each other');
    const config = await loadConfig(file, values);
    const { pretrain } = await import('../train/session.ts');
    return runTraining({
      command: 'pretrain',
      run: config,
      values,
      steps: config.train.steps,
      sampleEvery: config.train.sampleEvery,
      metrics: config.out,
      work: (hooks) => pretrain(config, hooks),
      next: () => [
        `heddle generate ${config.out} --prompt "..."`,
        `heddle evaluate ${file}`,
        `tensorboard --logdir ${join(config.out, 'tensorboard')}`,
      ],
    });
  },
);
