// `heddle finetune --example`: a pretrained model finetuned on a small task, beside the model as it was and beside simple baselines, all on the
// same held-out records.
import { join } from 'node:path';
import {
  type Conversation,
  comparisons,
  type Example,
  encodeScored,
  type LabelledText,
  manners,
  type Preference,
  type ToyRecords,
  talks,
  translations,
} from '../data/index.ts';
import { generateRows } from '../generate/index.ts';
import { GPTForSequenceClassification } from '../models/index.ts';
import { applyChatTemplate, defaultChatTemplate, type Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { type RunConfig, runConfigFromJSON } from './config.ts';
import { exactMatch } from './exact_match.ts';
import { finetune } from './finetune.ts';
import type { ExampleName, FinetuneTask } from './finetune-tasks.ts';
import { type OpenModel, openModel } from './open.ts';
import { hubOptions } from './prepare.ts';
import type { RunHooks, RunResult } from './pretrain.ts';
import { encodePreferences, preferenceMargins } from './tasks/dpo.ts';
import { evaluateHead } from './tasks/head.ts';
import type { FinetuneRecords } from './tasks/index.ts';

/** A way to answer, and the share of the held-out records that it answers rightly. */
export interface Contestant {
  readonly name: string;
  readonly score: number;
}

interface ExampleTask<R> {
  readonly task: FinetuneTask;
  /** What is to be done, and what counts. */
  readonly description: string;
  /** Over the defaults of `train`. */
  readonly train: object;
  records(seed: number): ToyRecords<R>;
  /** A record for people. */
  show(record: R): string;
  baselines(records: ToyRecords<R>): Contestant[];
  /** Of the model as it was, or as it is after finetuning. */
  score(opened: OpenModel & { tokenizer: Tokenizer }, records: ToyRecords<R>, seed: number): Promise<number>;
}

const share = (right: readonly boolean[]): number => right.filter(Boolean).length / right.length;

function mostFrequent(answers: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}

/** Words and pairs of words of a text. */
function grams(text: string): Set<string> {
  const words = text.match(/[\p{L}\p{N}]+/gu) ?? [];
  return new Set([...words, ...words.slice(1).map((word, i) => `${words[i]} ${word}`)]);
}

interface Asked {
  readonly text: string;
  readonly answer: string;
}

/** Always the most frequent answer; and the answer to the question of the training that has the most words and pairs of words in common. */
function answering(train: readonly Asked[], heldOut: readonly Asked[]): Contestant[] {
  const usual = mostFrequent(train.map(({ answer }) => answer));
  const known = train.map(({ text, answer }) => ({ grams: grams(text), answer }));
  const nearest = (text: string): string => {
    const own = [...grams(text)];
    let [best, most] = ['', -1];
    for (const { grams: theirs, answer } of known) {
      const common = own.filter((gram) => theirs.has(gram)).length / Math.sqrt(theirs.size);
      if (common > most) [best, most] = [answer, common];
    }
    return best;
  };
  return [
    { name: 'the most frequent answer', score: share(heldOut.map(({ answer }) => answer === usual)) },
    {
      name: 'the answer to the nearest question (1- and 2-grams)',
      score: share(heldOut.map(({ text, answer }) => nearest(text) === answer)),
    },
  ];
}

const classify: ExampleTask<LabelledText> = {
  task: 'classification',
  description: 'Is a comparison of two number words true? Counted: the right class.',
  train: {
    steps: 250,
    batchSize: 32,
    learningRate: 1e-3,
    schedule: 'linear',
    minLearningRate: 0,
    warmup: 10,
    betas: [0.9, 0.99],
    evalEvery: 50,
  },
  records: comparisons,
  show: ({ text, label }) => `${text} → ${label}`,
  baselines: ({ train, heldOut }) =>
    answering(
      train.map(({ text, label }) => ({ text, answer: label })),
      heldOut.map(({ text, label }) => ({ text, answer: label })),
    ),
  async score({ model, head, tokenizer }, { train, heldOut }, seed) {
    const labels = [...new Set(train.map(({ label }) => label))].sort();
    const own = head instanceof GPTForSequenceClassification ? head : new GPTForSequenceClassification(model, labels, { seed });
    const data = {
      tokens: encodeScored(
        heldOut.map(({ text }) => text),
        tokenizer,
      ),
      size: 1,
      answers: Int32Array.from(heldOut, ({ label }) => own.labels.indexOf(label)),
    };
    const { metrics } = await evaluateHead(own, data);
    if (own !== head) own.score.dispose();
    return metrics?.accuracy as number;
  },
};

const translate: ExampleTask<Example> = {
  task: 'completion',
  description: 'Translate English into a small language with other words and another order. Counted: whole sentences without a mistake.',
  train: { steps: 200, batchSize: 8, learningRate: 1.5e-3, warmup: 20, betas: [0.9, 0.99], evalEvery: 50 },
  records: translations,
  show: ({ prompt, completion }) => `${prompt.trim()} → ${completion.trim()}`,
  baselines: ({ train, heldOut }) =>
    answering(
      train.map(({ prompt, completion }) => ({ text: prompt, answer: completion })),
      heldOut.map(({ prompt, completion }) => ({ text: prompt, answer: completion })),
    ),
  async score({ model, tokenizer }, { heldOut }) {
    return (await exactMatch(model, tokenizer, heldOut)).score;
  },
};

/** Every answer of a conversation with what was said before it. */
function questionsOf(talk: Conversation): { before: Conversation['messages']; answer: string }[] {
  return talk.messages.flatMap(({ role, content }, i) =>
    role === 'assistant' ? [{ before: talk.messages.slice(0, i), answer: content }] : [],
  );
}

const chat: ExampleTask<Conversation> = {
  task: 'chat',
  description: 'Answer questions about sums, days and months, and a second question about the answer. Counted: each answer, to the letter.',
  train: { steps: 200, batchSize: 8, learningRate: 1.5e-3, warmup: 20, betas: [0.9, 0.99], evalEvery: 50 },
  records: talks,
  show: ({ messages }) => messages.map(({ content }) => content).join(' – '),
  baselines({ train, heldOut }) {
    const asked = (list: readonly Conversation[]): Asked[] =>
      list.flatMap(questionsOf).map(({ before, answer }) => ({ text: before.map(({ content }) => content).join(' '), answer }));
    return answering(asked(train), asked(heldOut));
  },
  async score({ model, tokenizer, chatTemplate }, { heldOut }) {
    const template = chatTemplate ?? defaultChatTemplate(tokenizer);
    const questions = heldOut.flatMap(questionsOf);
    const prompts = questions.map(({ before }) => applyChatTemplate(tokenizer, before, { template, addGenerationPrompt: true }));
    const longest = Math.max(...questions.map(({ answer }) => tokenizer.encode(answer).length));
    const rows = await generateRows(model, prompts, { maxTokens: longest + 1, temperature: 0, endOfText: tokenizer.endOfText ?? null });
    return share(questions.map(({ answer }, i) => tokenizer.decode(rows[i]?.tokens ?? []) === answer));
  },
};

const dpo: ExampleTask<Preference> = {
  task: 'dpo',
  description: 'Prefer kind answers to gruff ones. Counted: pairs of which the kind one is the likelier.',
  train: { steps: 40, batchSize: 8, learningRate: 1e-4, warmup: 5, betas: [0.9, 0.99], weightDecay: 0, evalEvery: 20 },
  records: manners,
  show: ({ prompt, chosen, rejected }) => `${prompt.trim()} → ${chosen.trim()} | ${rejected.trim()}`,
  baselines: ({ heldOut }) => [
    { name: 'the longer answer', score: share(heldOut.map(({ chosen, rejected }) => chosen.length > rejected.length)) },
  ],
  async score({ model, tokenizer }, { heldOut }) {
    const margins = await preferenceMargins(model, encodePreferences(heldOut, tokenizer), model.config.contextLength);
    return share([...margins].map((margin) => margin > 0));
  },
};

const TASKS: Readonly<Record<ExampleName, ExampleTask<never>>> = { classify, translate, chat, dpo } as never;

export interface ExampleOptions extends RunHooks {
  /** The model to finetune: a run, a checkpoint, a Hugging Face folder or a model of the hub. */
  from: string;
  /** Where the run goes. Default `runs/example-<name>`. */
  out?: string;
  /** Of the data and of the training. Default 1337. */
  seed?: number;
  /** Over the example's own configuration. */
  set?: readonly string[];
  /** Called with the configuration before anything is computed. */
  onConfig?: (run: RunConfig) => void;
}

export interface ExampleResult {
  readonly example: ExampleName;
  readonly description: string;
  readonly seed: number;
  readonly train: number;
  readonly heldOut: number;
  /** Untouched model, baselines, finetuned model. */
  readonly contestants: readonly Contestant[];
  readonly run: RunResult;
}

/** Finetunes a model on an example, and tells what it reaches beside the others. */
export async function runExample(name: ExampleName, options: ExampleOptions): Promise<ExampleResult> {
  const { from, out = join('runs', `example-${name}`), seed = 1337, set = [], onMessage } = options;
  const example = TASKS[name] as unknown as ExampleTask<unknown>;
  const records = example.records(seed);
  const hub = { device: options.device ?? 'auto', hub: hubOptions(options) };
  const scoreOf = async (path: string): Promise<{ score: number; opened: OpenModel }> => {
    const opened = await openModel(path, hub);
    try {
      const { tokenizer } = opened;
      if (!tokenizer) throw new ArgumentError(`example: ${path} holds no tokenizer`);
      return { score: await example.score({ ...opened, tokenizer }, records, seed), opened };
    } finally {
      (opened.head ?? opened.model).dispose();
    }
  };
  onMessage?.(example.description);
  onMessage?.(`${records.train.length} records to learn from, ${records.heldOut.length} held out; e.g. ${example.show(records.train[0])}`);
  const untouched = await scoreOf(from);
  const { contextLength } = untouched.opened.model.config;
  const run = runConfigFromJSON(
    { name: `example-${name}`, out, model: { contextLength }, finetune: { from, task: example.task, train: { ...example.train, seed } } },
    'the example',
    { set },
  );
  options.onConfig?.(run);
  const result = await finetune(run, {
    ...options,
    examples: { train: records.train, validation: records.validation } as FinetuneRecords,
    fresh: true,
  });
  const finetuned = await scoreOf(join(out, 'finetune'));
  return {
    ...{ example: name, description: example.description, seed, train: records.train.length, heldOut: records.heldOut.length },
    contestants: [
      { name: 'the model untouched', score: untouched.score },
      ...example.baselines(records),
      { name: 'the model finetuned', score: finetuned.score },
    ],
    run: result,
  };
}
