// What the commands that take a run's configuration share. The library itself is loaded only when one of them runs.
import type { RunConfig } from '../train/config.ts';
import type { MetricsRecorder } from '../train/metrics/recorder.ts';
import type { RunHooks, RunResult } from '../train/pretrain.ts';
import type { OptionTable, Positional } from './args.ts';
import { interruptible } from './interrupt.ts';
import { figure, markLines, note, print, printJSON, table } from './output.ts';
import { sampler } from './sample.ts';
import { RunView } from './view.ts';

export const CONFIG: readonly Positional[] = [{ name: 'CONFIG.yaml', help: "the run's configuration" }];

/** Options of every command that takes a configuration. */
export const RUN_OPTIONS = {
  data: { kind: 'text', value: 'FILE|FOLDER', help: 'the text, in place of the one that the configuration names' },
  device: { kind: 'text', value: 'D', help: 'where to compute: cpu, cuda, cuda:N or auto, in place of the configured device' },
  seed: { kind: 'integer', value: 'N', min: 0, help: 'train.seed' },
  set: { kind: 'text', value: 'KEY=VALUE', multiple: true, help: 'any key of the configuration, such as train.steps=500' },
  json: { kind: 'flag', help: 'the last line of stdout is the result as one JSON object, and the only one' },
} as const satisfies OptionTable;

/** Options of the commands that train. */
export const TRAINING_OPTIONS = {
  ...RUN_OPTIONS,
  minutes: { kind: 'number', value: 'N', above: 0, help: 'save and stop after so many minutes' },
  resume: { kind: 'flag', help: "go on from the run's newest checkpoint" },
  fresh: { kind: 'flag', help: 'start over where the run has checkpoints already' },
} as const satisfies OptionTable;

export interface RunValues {
  readonly data: string | undefined;
  readonly device: string | undefined;
  readonly seed: number | undefined;
  readonly set: readonly string[];
  readonly json: boolean;
}

export interface TrainingValues extends RunValues {
  readonly minutes: number | undefined;
  readonly resume: boolean;
  readonly fresh: boolean;
}

/** The configuration that a command line names, with what it lays over it. */
export async function loadConfig(
  file: string,
  { data, device, seed, set }: Pick<RunValues, 'data' | 'seed' | 'set'> & { readonly device?: string | undefined },
): Promise<RunConfig> {
  const { loadRunConfig } = await import('../train/config.ts');
  const over = { ...(data !== undefined && { data }), ...(device !== undefined && { device }), ...(seed !== undefined && { seed }) };
  const run = loadRunConfig(file, { set, ...over });
  await markSimulated(run.device);
  return run;
}

/** Marks what is said of a run when a simulated card computes it; `auto` never chooses one. */
export async function markSimulated(device: string): Promise<void> {
  if (!device.startsWith('cuda')) return; // what needs no native addon does without
  const { gpuInfo } = await import('../tensor/device.ts');
  if (gpuInfo(device)?.simulated) markLines('simulated');
}

/** Every figure that a result has by contract; null where a command has none. */
const FIGURES = { valLoss: null, bitsPerByte: null, steps: null, tokensPerSecond: null, checkpoint: null };

/** The JSON line of a command's result. */
export function printResult(command: string, run: RunConfig, result: object): void {
  printJSON({ command, run: run.name, out: run.out, ...FIGURES, ...result });
}

export interface TrainingTask {
  readonly command: 'pretrain' | 'finetune';
  readonly run: RunConfig;
  readonly values: TrainingValues;
  /** Steps at the end. */
  readonly steps: number;
  readonly sampleEvery: number;
  /** Where metrics.jsonl and tensorboard/ go. */
  readonly metrics: string;
  work(hooks: RunHooks & { resume: boolean; fresh: boolean }): Promise<RunResult>;
  /** Command lines to try next. */
  next(result: RunResult): readonly string[];
}

/** Trains with progress, metrics and an orderly stop, and reports; gives the exit code: 130 after Ctrl-C. */
export async function runTraining(task: TrainingTask): Promise<number> {
  const { command, run, values, steps, metrics } = task;
  const metricsModule = await import('../train/metrics/recorder.ts');
  const { describeDevice } = await import('../tensor/device.ts');
  const view = new RunView(command, steps);
  const sample = sampler(run, task.sampleEvery);
  const started = performance.now();
  let recorder: MetricsRecorder | undefined;
  let saved: string | undefined;
  try {
    return await interruptible('Stopping after this step and saving a checkpoint.', async (signal) => {
      const result = await task.work({
        ...{ signal, resume: values.resume, fresh: values.fresh },
        ...(values.minutes !== undefined && { minutes: values.minutes }),
        onMessage: (line) => view.say(line),
        onPrepare: (progress) => view.prepare(progress),
        onDownload: (progress) => view.download(progress),
        onStart({ model, module }, from) {
          const device = describeDevice(model.device);
          const whole = command === 'pretrain' && { contextLength: run.train.contextLength };
          recorder = new metricsModule.MetricsRecorder(metrics, { resumeAt: from, model, ...whole });
          view.start(from, model.device === 'cpu' ? undefined : `computing on ${device} in ${model.compute}`);
          const [learned, all] = [module.trainableCount(), module.parameterCount()];
          if (learned < all) view.say(`training ${learned} of ${all} parameters (${((100 * learned) / all).toFixed(2)} %)`);
          if (values.resume && from === 0) view.say('no checkpoint to go on from: this is the first step');
        },
        beforeSave: () => recorder?.sync(),
        async onEvent(event, trainer) {
          recorder?.record(event);
          view.event(event);
          if (event.type === 'checkpoint') {
            saved = event.folder;
            if (signal.aborted) view.say(`saved ${saved}`);
          }
          const text = event.type === 'step' ? await sample(event.step, trainer) : undefined;
          if (text !== undefined) view.say(text);
        },
      });
      const seconds = (performance.now() - started) / 1000;
      await report(task, result, view, seconds);
      if (result.reason !== 'aborted') return 0;
      note(`Go on with the same command and --resume.`);
      return 130;
    });
  } finally {
    view.end();
    recorder?.close();
  }
}

/** Curve, table and what to try next, on stdout; with --json on stderr, and the JSON line on stdout. */
async function report(task: TrainingTask, result: RunResult, view: RunView, seconds: number): Promise<void> {
  const { formatCount, formatDuration } = await import('../train/metrics/format.ts');
  const { command, run, values } = task;
  const say = values.json ? note : print;
  const share = ((100 * result.trainable) / result.parameters).toFixed(2);
  const trainedRow: [string, string] = ['of them trained', `${formatCount(result.trainable)} (${share} %)`];
  const curve = view.curve();
  if (curve !== '') say(`\n${curve}\n`);
  say(
    table(`${command} ${run.name}`, [
      ['device', result.device],
      ['parameters', formatCount(result.parameters)],
      ...(result.trainable < result.parameters ? [trainedRow] : []),
      ['steps', `${result.steps} of ${task.steps}`],
      ['validation loss', `${figure(result.valLoss, 4)} nats${result.bitsPerByte === null ? '' : ' per token'}`],
      ['bits per byte', figure(result.bitsPerByte, 4)],
      ...Object.entries(result.metrics).map(([name, value]) => [name, figure(value, 4)] as [string, string]),
      ['tokens/s', formatCount(result.tokensPerSecond)],
      ['memory of tensors', `${figure(result.memory / 2 ** 20, 1)} MiB at most`],
      ['time', formatDuration(seconds)],
      ['checkpoint', result.checkpoint ?? 'none'],
      ...('exported' in result && result.exported ? [['exported', String(result.exported)] as [string, string]] : []),
    ]),
  );
  const next = task.next(result);
  if (next.length > 0) say(`Try next:\n${next.map((line) => `  ${line}`).join('\n')}`);
  if (values.json) printResult(command, run, { ...result, seconds });
}
