import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { figure, print, table } from './output.ts';
import { CONFIG, loadConfig, printResult, RUN_OPTIONS } from './training.ts';
import { RunView } from './view.ts';

export const run = command(
  {
    name: 'evaluate',
    summary: "measure a run's model on its whole validation text",
    positionals: CONFIG,
    options: {
      ...RUN_OPTIONS,
      checkpoint: {
        kind: 'text',
        value: 'MODEL',
        help: "a checkpoint, run, Hugging Face folder or id of the hub, in place of the run's own best one",
      },
      stride: {
        kind: 'integer',
        value: 'N',
        min: 1,
        help: 'windows overlap: each begins N tokens after the one before and counts only what is new; default: no overlap',
      },
    },
    examples: [
      ['heddle evaluate configs/quickstart.yaml', "the best checkpoint of the quickstart's run"],
      ['heddle evaluate configs/quickstart.yaml --checkpoint runs/quickstart/checkpoints/step-00001500 --json', 'a checkpoint, as JSON'],
      ['heddle evaluate configs/quickstart.yaml --stride 64', 'every token with more of the text before it: slower, lower perplexity'],
    ],
  },
  async ({ values, positionals: [file = ''] }) => {
    const config = await loadConfig(file, values);
    const { evaluateRun } = await import('../train/session.ts');
    const { formatCount } = await import('../train/metrics/format.ts');
    const view = new RunView('evaluate', 0);
    const result = await interruptible('Stopping.', (signal) =>
      evaluateRun(config, {
        signal,
        ...(values.checkpoint !== undefined && { checkpoint: values.checkpoint }),
        ...(values.stride !== undefined && { stride: values.stride }),
        onMessage: (line) => view.say(line),
        onPrepare: (progress) => view.prepare(progress),
        onDownload: (progress) => view.download(progress),
        onEvaluate: (batches, of) => view.evaluate(batches, of),
      }),
    ).finally(() => view.end());
    if (values.json) {
      printResult('evaluate', config, { ...result, perplexity: Math.exp(result.valLoss) });
      return 0;
    }
    print(
      table(`evaluate ${config.name}`, [
        ['device', result.device],
        ['checkpoint', result.checkpoint ?? 'none'],
        ['trained for', `${result.steps} steps`],
        ['validation loss', `${figure(result.valLoss, 4)} nats per token`],
        ['perplexity', figure(Math.exp(result.valLoss), 2)],
        ['bits per byte', figure(result.bitsPerByte, 4)],
        ['tokens/s', formatCount(result.tokensPerSecond)],
      ]),
    );
    return 0;
  },
);
