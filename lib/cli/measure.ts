import type { Figure, Item, Report, Sample, TaskName } from '../eval/index.ts';
import type { ReportWriter } from '../eval/report.ts';
import { ProgressLine } from '../train/metrics/progress.ts';
import { version } from '../util/version.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { MODEL, MODEL_OPTIONS, openForUse } from './model.ts';
import { marked, note, print, printJSON, table } from './output.ts';

const TASK_NAMES = ['hellaswag', 'arc', 'mmlu', 'lambada', 'text'] as const satisfies readonly TaskName[];

export const run = command(
  {
    name: 'measure',
    summary: 'measure a model on a benchmark',
    positionals: MODEL,
    options: {
      task: { kind: 'text', value: 'TASK', choices: TASK_NAMES, help: 'what the data are; needed' },
      data: { kind: 'text', value: 'FILE', help: "a .jsonl or .parquet with the data set's rows; for text also .txt or .md; needed" },
      limit: { kind: 'integer', value: 'N', min: 1, help: 'only the first N rows' },
      shots: { kind: 'integer', value: 'N', min: 0, help: 'solved examples before each question; default 0' },
      'shots-data': { kind: 'text', value: 'FILE', help: 'where those come from: the first N rows, with subjects the first N of the same' },
      stride: { kind: 'integer', value: 'N', min: 1, help: 'of documents longer than the context: tokens that each further window scores' },
      report: { kind: 'text', value: 'FOLDER', help: 'writes report.json, report.md, report.html and samples.jsonl there' },
      ...MODEL_OPTIONS,
      json: { kind: 'flag', help: 'the result as one JSON object' },
    },
    details: 'Prompts and figures are those of lm-evaluation-harness. Two reports on the same data: heddle compare.',
    examples: [
      [
        'heddle measure openai-community/gpt2 --task hellaswag --data hellaswag_val.jsonl --limit 500',
        'the share of endings that the model finds',
      ],
      ['heddle measure runs/quickstart --task text --data essays.jsonl --report reports/mine', 'bits per byte of documents, and a report'],
      [
        'heddle measure gpt2/ --task mmlu --data test.jsonl --shots 5 --shots-data dev.jsonl --json',
        'with five solved examples of the subject',
      ],
    ],
  },
  async ({ values, positionals: [path = ''] }) => {
    const { task, data, limit, shots = 0, stride } = values;
    if (task === undefined || data === undefined)
      throw new UsageError(`measure: --${task === undefined ? 'task' : 'data'} is missing`, 'heddle measure --help tells more.');
    if (shots > 0 && values['shots-data'] === undefined)
      throw new UsageError('measure: --shots needs --shots-data FILE', 'heddle measure --help tells more.');
    const { measure, readDataset, ReportWriter, TASKS } = await import('../eval/index.ts');
    const { figureText } = await import('../eval/report_text.ts');
    const opened = await openForUse('measure', path, values);
    const items: Item[] = [];
    if (shots > 0) for await (const fields of readDataset(values['shots-data'] ?? '')) items.push(TASKS[task as TaskName].item(fields));
    const progress = new ProgressLine({ label: marked('measure: example'), total: limit ?? 0 });
    const writer: ReportWriter | undefined = values.report === undefined ? undefined : new ReportWriter(values.report);
    const started = performance.now();
    try {
      const result = await interruptible('Stopping.', (signal) =>
        measure(opened.model, opened.tokenizer, task as TaskName, readDataset(data), {
          ...{ signal, shots: { count: shots, items } },
          ...(limit !== undefined && { limit }),
          ...(stride !== undefined && { stride }),
          onSample(sample: Sample) {
            writer?.add(sample);
            progress.update({ step: sample.index + 1 });
          },
        }),
      );
      progress.done();
      const report: Report = {
        format: 'heddle-report',
        version: 1,
        ...{ task, model: opened.checkpoint, data, shots, stride: stride ?? null },
        ...{ device: opened.device, compute: opened.model.compute, seconds: (performance.now() - started) / 1000, heddle: version },
        ...result,
      };
      writer?.finish(report);
      const rows = (figures: readonly Figure[]) => figures.map((figure): [string, string] => [figure.name, figureText(figure)]);
      if (values.json) printJSON({ command: 'measure', ...report });
      else
        print(
          table(`measure ${task}`, [
            ['model', opened.checkpoint],
            ['device', opened.device],
            ['examples', String(result.examples)],
            ...rows(result.figures),
            ...(result.calibration ? [['calibration error', result.calibration.error.toFixed(4)] as [string, string]] : []),
          ]),
        );
      if (writer) note(`report: ${values.report}/report.html`);
    } catch (error) {
      writer?.abandon();
      throw error;
    } finally {
      progress.done();
      opened.model.dispose();
    }
    return 0;
  },
);
