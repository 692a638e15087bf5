import { join } from 'node:path';
import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { print, table } from './output.ts';
import { CONFIG, loadConfig, printResult, RUN_OPTIONS } from './training.ts';
import { RunView } from './view.ts';

export const run = command(
  {
    name: 'prepare',
    summary: "turn a run's text into tokens: fetch it, train the tokenizer, write the shards",
    positionals: CONFIG,
    options: RUN_OPTIONS,
    details: 'What is there already and still fits is used as it is; pretrain does the same before it begins.',
    examples: [
      ['heddle prepare configs/quickstart.yaml', 'prepare Moby-Dick'],
      ['heddle prepare configs/tang-poems.yaml --data texts/', 'prepare the .txt, .md and .jsonl files of a folder'],
    ],
  },
  async ({ values, positionals: [file = ''] }) => {
    const config = await loadConfig(file, values);
    const { prepareRun } = await import('../train/session.ts');
    const { countParameters } = await import('../models/size.ts');
    const { formatCount } = await import('../train/metrics/format.ts');
    const view = new RunView('prepare', 100);
    const data = await interruptible('Stopping.', (signal) =>
      prepareRun(config, { signal, onMessage: (line) => view.say(line), onPrepare: (progress) => view.prepare(progress) }),
    ).finally(() => view.end());
    const { meta } = data.prepared;
    const parameters = countParameters(data.model).total;
    data.close();
    const folder = join(config.out, 'data');
    const { vocabSize, train, validation } = meta;
    if (values.json) {
      const figures = { folder, vocabSize, trainTokens: train.tokens, validationTokens: validation?.tokens ?? 0, parameters };
      printResult('prepare', config, { ...figures, trainBytes: train.textBytes, validationBytes: validation?.textBytes ?? 0 });
      return 0;
    }
    const part = (p: typeof validation) => (p === null ? 'none' : `${formatCount(p.tokens)} tokens of ${formatCount(p.textBytes)} bytes`);
    print(
      table(`prepare ${config.name}`, [
        ['training', part(train)],
        ['validation', part(validation)],
        ['vocabulary', `${vocabSize} tokens (${data.tokenizer.kind})`],
        ['model', `${formatCount(parameters)} parameters`],
        ['folder', folder],
      ]),
    );
    return 0;
  },
);
