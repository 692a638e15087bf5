// The six steps of the quickstart: prepare, build, pretrain, finetune, evaluate, generate.
import path from 'node:path';
import { makeTask, ngramBitsPerByte, type SupervisedTask } from '../data/index.ts';
import { streamText } from '../generate/index.ts';
import { countParameters, type GPTConfig } from '../models/index.ts';
import { describeDevice } from '../tensor/device.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { RunConfig } from '../train/config.ts';
import { type ExactMatch, exactMatch } from '../train/exact_match.ts';
import { formatCount, formatDuration } from '../train/metrics/format.ts';
import { MetricsRecorder } from '../train/metrics/recorder.ts';
import { finetune, openModel, type PreparedRun, prepareRun, pretrain, type RunHooks, type RunResult } from '../train/session.ts';
import { ArgumentError } from '../util/errors.ts';
import { figure, marked, note, table } from './output.ts';
import { samplingOf } from './sample.ts';
import { RunView } from './view.ts';

export interface QuickstartOptions {
  readonly minutes: number | undefined;
  readonly resume: boolean;
  readonly signal: AbortSignal;
}

export interface QuickstartResult {
  readonly table: string;
  readonly next: readonly string[];
  readonly json: object;
}

/** Text that the n-gram baseline and the task look at, at most. */
const TEXT_BYTES = 32 << 20;

const STEPS = ['Prepare the text', 'Build a GPT', 'Pretrain it', 'Finetune it on a task', 'Evaluate', 'Generate'] as const;

function heading(step: (typeof STEPS)[number], started: number): void {
  note(`\n${STEPS.indexOf(step) + 1}/${STEPS.length} ${step}  (after ${formatDuration((performance.now() - started) / 1000)})`);
}

interface Prepared {
  readonly model: GPTConfig;
  readonly text: { train: string; validation: string };
  /** Bits per byte of a byte 4-gram on the same split; null without one. */
  readonly ngram: number | null;
}

async function prepareStep(run: RunConfig, hooks: RunHooks, view: RunView): Promise<Prepared> {
  const data: PreparedRun = await prepareRun(run, hooks);
  try {
    view.end();
    const [train, validation] = [await data.text('train', TEXT_BYTES), await data.text('validation', TEXT_BYTES)];
    const tokens = data.prepared.train.length + (data.prepared.validation?.length ?? 0);
    const bytes = train.length + validation.length;
    note(
      `${formatCount(bytes)} bytes, ${formatCount(tokens)} tokens of ${data.tokenizer.vocabSize} (${(bytes / tokens).toFixed(2)} bytes a token); the last ${Math.round((100 * validation.length) / bytes)} % are for validation`,
    );
    const ngram = validation.length > 0 ? ngramBitsPerByte(train, validation) : null;
    if (ngram !== null) note(`to beat: an interpolated byte 4-gram needs ${figure(ngram, 3)} bits per byte`);
    const decoder = new TextDecoder();
    return { model: data.model, text: { train: decoder.decode(train), validation: decoder.decode(validation) }, ngram };
  } finally {
    data.close();
  }
}

/** Hooks that show and record a training. */
function training(
  label: string,
  steps: number,
  folder: string,
  options: QuickstartOptions,
  contextLength?: number,
): { hooks: RunHooks; view: RunView; close: () => void } {
  const view = new RunView(label, steps);
  let recorder: MetricsRecorder | undefined;
  return {
    view,
    close() {
      view.end();
      recorder?.close();
    },
    hooks: {
      signal: options.signal,
      ...(options.minutes !== undefined && { minutes: options.minutes }),
      onMessage: (line) => view.say(line),
      onPrepare: (progress) => view.prepare(progress),
      onStart({ model }, from) {
        const device = describeDevice(model.device);
        recorder = new MetricsRecorder(folder, { resumeAt: from, model, ...(contextLength !== undefined && { contextLength }) });
        view.start(from, model.device === 'cpu' ? undefined : `computing on ${device} in ${model.compute}`);
      },
      beforeSave: () => recorder?.sync(),
      onEvent(event) {
        recorder?.record(event);
        view.event(event);
      },
    },
  };
}

function taskOf(run: RunConfig, text: { train: string; validation: string }): SupervisedTask | null {
  try {
    return makeTask(text, { seed: run.train.seed, valFraction: run.data.valFraction });
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    note(`no task could be made from this text, finetuning is left out: ${error.message}`);
    return null;
  }
}

interface Finetuned {
  readonly task: SupervisedTask;
  readonly before: ExactMatch;
  readonly result: RunResult;
}

async function finetuneStep(run: RunConfig, task: SupervisedTask, options: QuickstartOptions): Promise<Finetuned> {
  note(task.description);
  note(
    `${task.train.length} examples to learn from, ${task.test.length} held out; e.g. ${JSON.stringify(task.train[0]?.prompt)} → ${JSON.stringify(task.train[0]?.completion)}`,
  );
  const { model, tokenizer } = await openModel(run.out, { device: run.device });
  const before = await exactMatch(model, tokenizer as Tokenizer, task.test, { signal: options.signal });
  model.dispose();
  note(
    `before: ${percent(before.score)} of the held-out examples are answered rightly; always saying ${JSON.stringify(task.mostFrequentAnswer)} gets ${percent(task.mostFrequentShare)}`,
  );
  const { train } = run.finetune;
  const { hooks, close } = training('finetune', train.steps, path.join(run.out, 'finetune'), options);
  try {
    // A tenth of the training examples is for choosing the best checkpoint: the held-out ones stay unseen until the end.
    const cut = Math.floor(task.train.length * 0.95);
    const examples = { train: task.train.slice(0, cut), validation: task.train.slice(cut) };
    return { task, before, result: await finetune(run, { ...hooks, examples }) };
  } finally {
    close();
  }
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

async function generateStep(run: RunConfig, folder: string): Promise<void> {
  const { model, tokenizer } = await openModel(folder, { device: run.device });
  const { prompt } = run.generate;
  process.stderr.write(marked(prompt));
  for await (const piece of streamText(model, tokenizer as Tokenizer, prompt, samplingOf(run.generate))) process.stderr.write(piece);
  process.stderr.write('\n');
  model.dispose();
}

/** Runs all steps; null when the signal stopped it (a checkpoint was saved). */
export async function quickstart(run: RunConfig, options: QuickstartOptions): Promise<QuickstartResult | null> {
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  const first = training('pretrain', run.train.steps, run.out, options, run.train.contextLength);
  try {
    heading('Prepare the text', started);
    const { model, text, ngram } = await prepareStep(run, first.hooks, first.view);

    heading('Build a GPT', started);
    const size = countParameters(model);
    note(
      `${model.layers} layers of width ${model.width}, ${model.heads} heads, context ${model.contextLength}: ${formatCount(size.total)} parameters`,
    );

    heading('Pretrain it', started);
    const pretrained = await pretrain(run, { ...first.hooks, resume: options.resume, fresh: !options.resume });
    if (pretrained.reason === 'aborted') return null;
    const curve = first.view.curve();
    if (curve) note(`\n${curve}`);

    heading('Finetune it on a task', started);
    const task = taskOf(run, text);
    const finetuned = task && (await finetuneStep(run, task, options));
    if (finetuned?.result.reason === 'aborted') return null;

    heading('Evaluate', started);
    let after: ExactMatch | null = null;
    if (finetuned) {
      const opened = await openModel(path.join(run.out, 'finetune'), { device: run.device });
      after = await exactMatch(opened.model, opened.tokenizer as Tokenizer, finetuned.task.test, { signal: options.signal });
      opened.model.dispose();
      for (const [i, example] of finetuned.task.test.slice(0, 3).entries())
        note(`  ${JSON.stringify(example.prompt)} → ${JSON.stringify(after.said[i])}, should be ${JSON.stringify(example.completion)}`);
    }

    heading('Generate', started);
    await generateStep(run, run.out);
    return summary(run, { pretrained, finetuned, after, ngram, parameters: size.total, seconds: seconds() });
  } finally {
    first.close();
  }
}

interface Figures {
  readonly pretrained: RunResult;
  readonly finetuned: Finetuned | null;
  readonly after: ExactMatch | null;
  readonly ngram: number | null;
  readonly parameters: number;
  readonly seconds: number;
}

function summary(run: RunConfig, f: Figures): QuickstartResult {
  const { pretrained, finetuned, after, ngram } = f;
  const rows: [string, string][] = [
    ['parameters', formatCount(f.parameters)],
    ['device', pretrained.device],
    ['steps', `${pretrained.steps} of ${run.train.steps}`],
    ['validation loss', `${figure(pretrained.valLoss, 4)} nats per token`],
    ['bits per byte', `${figure(pretrained.bitsPerByte, 3)} (byte 4-gram: ${figure(ngram, 3)})`],
    ['tokens/s', formatCount(pretrained.tokensPerSecond)],
  ];
  if (finetuned && after) {
    rows.push(['task, untouched model', percent(finetuned.before.score)]);
    rows.push(['task, most frequent answer', percent(finetuned.task.mostFrequentShare)]);
    rows.push(['task, finetuned model', percent(after.score)]);
  }
  rows.push(['time', formatDuration(f.seconds)], ['everything is in', run.out]);
  return {
    table: table('What was reached', rows),
    next: [
      `npx heddle generate ${run.out} --prompt "Call me" --temperature 0.7`,
      'npm start -- --data my-text.txt --fresh',
      'npx heddle pretrain configs/char-cpu.yaml',
    ],
    json: {
      command: 'quickstart',
      run: run.name,
      out: run.out,
      valLoss: pretrained.valLoss,
      bitsPerByte: pretrained.bitsPerByte,
      ngramBitsPerByte: ngram,
      steps: pretrained.steps,
      tokensPerSecond: pretrained.tokensPerSecond,
      checkpoint: pretrained.checkpoint,
      device: pretrained.device,
      parameters: f.parameters,
      finetune: finetuned &&
        after && {
          exactMatch: after.score,
          exactMatchBefore: finetuned.before.score,
          mostFrequentAnswer: finetuned.task.mostFrequentShare,
          checkpoint: finetuned.result.checkpoint,
        },
      seconds: f.seconds,
    },
  };
}
