// A head on the model's hidden states: classes of texts, or the right one of several answers. GPT-1's loss: that of the head, and `lmWeight`
// times the cross-entropy of the text's own tokens.
import { noGrad } from '../../autograd/index.ts';
import {
  encodeScored,
  type GroupsBatch,
  GroupsLoader,
  groupsOnce,
  LABELLED_TEXT,
  type LabelledText,
  MULTIPLE_CHOICE,
  type MultipleChoice,
  type TokenData,
} from '../../data/index.ts';
import { GPTForMultipleChoice, GPTForSequenceClassification, type ScoredGPT } from '../../models/index.ts';
import { add, crossEntropy, linearCrossEntropy, mul, reshape } from '../../ops/index.ts';
import { type RandomSource, scope, type Tensor, tensor } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import { ArgumentError } from '../../util/errors.ts';
import type { HeadSection, RunConfig } from '../config.ts';
import { type Evaluation, toDevice } from '../evaluate.ts';
import { evaluationRows, type HostTensor, type Inputs, idsOf, type Objective } from '../objective.ts';
import { readFiles } from './read.ts';
import type { PreparedTask, Task, TaskContext } from './task.ts';

/** Texts in groups of `size`, and of each group which score is the right one. */
export interface ScoredData {
  readonly tokens: TokenData;
  readonly size: number;
  readonly answers: Int32Array;
}

/** Logits (groups, classes or answers): of a batch's hidden states (B, T, C), read at its `ends` i32 (B). */
function logitsOf(module: ScoredGPT, hidden: Tensor, ends: Tensor, groups: number, random: RandomSource | null): Tensor {
  const scores = module.scores(hidden, ends, { random });
  return module instanceof GPTForMultipleChoice ? reshape(scores, groups, ends.size / groups) : scores;
}

export interface HeadObjectiveOptions {
  readonly train: ScoredData;
  readonly validation: ScoredData | null;
  /** λ: of the cross-entropy of the texts' tokens. 0: none. */
  readonly lmWeight: number;
  /** T at most. */
  readonly length: number;
}

const answersOf = ({ groups }: GroupsBatch, { answers }: ScoredData): Int32Array => groups.map((group) => answers[group] as number);

export interface HeadInputs extends Inputs {
  /** Token ids (B, T), and those that come after each. */
  readonly inputs: HostTensor;
  readonly targets: HostTensor;
  /** (B): the place of each row's last input among all B · T. */
  readonly ends: HostTensor;
  /** (groups): the right class or answer. */
  readonly answers: HostTensor;
}

/** Cross-entropy of the right class or answer, plus λ times that of the texts' tokens. */
export function headObjective(
  module: ScoredGPT,
  { train, validation, lmWeight, length }: HeadObjectiveOptions,
): Objective<GroupsBatch, HeadInputs> {
  const { gpt } = module;
  return {
    module,
    counts: (batch) => [batch.groups.length, batch.targetCount],
    inputs: (batch) => ({
      inputs: idsOf(batch, batch.inputs),
      targets: idsOf(batch, batch.targets),
      ends: { data: batch.ends, shape: [batch.ends.length] },
      answers: { data: answersOf(batch, train), shape: [batch.groups.length] },
    }),
    loss({ inputs, targets, ends, answers }, { random, scales: [perAnswer, perToken] }) {
      const hidden = gpt.forward(inputs, { random });
      const own = crossEntropy(logitsOf(module, hidden, ends, answers.size, random), answers, { scale: perAnswer as Tensor });
      if (lmWeight === 0) return own;
      const { vocabSize: validColumns } = gpt.config;
      const settings = { validColumns, scale: mul(perToken as Tensor, lmWeight) };
      return add(own, linearCrossEntropy(hidden, gpt.headWeight.compute, targets, settings));
    },
    ...(validation && { evaluate: (maxTokens: number) => evaluateHead(module, validation, { length, maxTokens }) }),
  };
}

/** Logits of every group, in order, batch by batch. */
async function* logitsOnce(
  module: ScoredGPT,
  { tokens, size }: Pick<ScoredData, 'tokens' | 'size'>,
  length: number,
): AsyncGenerator<{ batch: GroupsBatch; logits: Float32Array }> {
  const training = module.training;
  module.eval();
  try {
    for (const batch of groupsOnce(tokens, { size, batch: Math.max(1, Math.floor(evaluationRows(length) / size)), length })) {
      const logits = noGrad(() =>
        scope(() => {
          const ends = tensor(batch.ends, { shape: [batch.ends.length], device: module.device });
          return logitsOf(module, module.gpt.forward(toDevice(batch, module.device).inputs), ends, batch.groups.length, null).keep();
        }),
      );
      try {
        yield { batch, logits: (await logits.data()) as Float32Array };
      } finally {
        logits.dispose();
      }
    }
  } finally {
    module.train(training);
  }
}

function softmax(logits: Float32Array): number[] {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (x) => Math.exp(x - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((x) => x / sum);
}

/** Cross-entropy and accuracy on held-out data; `tokens` counts the answers. */
export async function evaluateHead(
  module: ScoredGPT,
  data: ScoredData,
  { length = module.gpt.config.contextLength, maxTokens = 0 }: { length?: number; maxTokens?: number } = {},
): Promise<Evaluation> {
  let [nats, right, seen, read] = [0, 0, 0, 0];
  for await (const { batch, logits } of logitsOnce(module, data, length)) {
    const answers = answersOf(batch, data);
    const n = logits.length / answers.length;
    for (const [i, answer] of answers.entries()) {
      const p = softmax(logits.subarray(i * n, (i + 1) * n));
      nats -= Math.log(p[answer] as number);
      if (p.every((x, k) => k === answer || x < (p[answer] as number))) right++;
    }
    seen += answers.length;
    read += batch.targetCount;
    if (maxTokens > 0 && read >= maxTokens) break;
  }
  const loss = nats / seen;
  return { loss, perplexity: Math.exp(loss), bitsPerByte: null, tokens: seen, bytes: 0, metrics: { accuracy: right / seen } };
}

/** Probabilities of the classes of each text, in the order of `labels`. */
export async function classify(model: GPTForSequenceClassification, tokenizer: Tokenizer, texts: readonly string[]): Promise<number[][]> {
  if (texts.length === 0) return [];
  return probabilities(model, { tokens: encodeScored(texts, tokenizer), size: 1 });
}

/** Probabilities of the answers to each prompt; each prompt must have as many. */
export async function chooseAnswers(
  model: GPTForMultipleChoice,
  tokenizer: Tokenizer,
  questions: readonly Pick<MultipleChoice, 'prompt' | 'choices'>[],
): Promise<number[][]> {
  if (questions.length === 0) return [];
  return probabilities(model, choiceData(questions, tokenizer));
}

async function probabilities(module: ScoredGPT, data: Pick<ScoredData, 'tokens' | 'size'>): Promise<number[][]> {
  const rows: number[][] = [];
  for await (const { batch, logits } of logitsOnce(module, data, module.gpt.config.contextLength)) {
    const n = logits.length / batch.groups.length;
    for (let i = 0; i < batch.groups.length; i++) rows.push(softmax(logits.subarray(i * n, (i + 1) * n)));
  }
  return rows;
}

function choiceData(
  questions: readonly Pick<MultipleChoice, 'prompt' | 'choices'>[],
  tokenizer: Tokenizer,
): Pick<ScoredData, 'tokens' | 'size'> {
  const size = questions[0]?.choices.length as number;
  const other = questions.findIndex(({ choices }) => choices.length !== size);
  if (other >= 0)
    throw new ArgumentError(`choices: every prompt must have ${size}, got ${questions[other]?.choices.length} in number ${other}`);
  const texts = questions.flatMap(({ prompt, choices }) => choices.map((choice) => prompt + choice));
  return { tokens: encodeScored(texts, tokenizer), size };
}

function labelledData(records: readonly LabelledText[], labels: readonly string[], tokenizer: Tokenizer): ScoredData {
  const answers = records.map(({ label }) => labels.indexOf(label));
  const unknown = answers.indexOf(-1);
  if (unknown >= 0)
    throw new ArgumentError(`labels: validation must have none but those of training, got ${JSON.stringify(records[unknown]?.label)}`);
  const tokens = encodeScored(
    records.map(({ text }) => text),
    tokenizer,
  );
  return { tokens, size: 1, answers: Int32Array.from(answers) };
}

const headOf = ({ finetune }: RunConfig): HeadSection => finetune.head as HeadSection;

function prepared(module: ScoredGPT, train: ScoredData, validation: ScoredData | null, { run }: TaskContext): PreparedTask {
  const { train: t, tooLong } = run.finetune;
  const { batchSize: batch, contextLength: length, seed } = t;
  const objective = headObjective(module, { train, validation, lmWeight: headOf(run).lmWeight, length });
  return { data: new GroupsLoader(train.tokens, { size: train.size, batch, length, seed, tooLong }), objective: objective as Objective };
}

export const classification: Task<LabelledText> = {
  read: async (files) => readFiles(files, LABELLED_TEXT, 'texts and labels'),
  prepare({ train, validation }, context) {
    const { model, tokenizer, run } = context;
    const labels = [...new Set(train.map(({ label }) => label))].sort();
    const module = new GPTForSequenceClassification(model, labels, { seed: run.finetune.train.seed, dropout: headOf(run).dropout });
    const data = (records: readonly LabelledText[]) => labelledData(records, labels, tokenizer);
    return prepared(module, data(train), validation.length > 0 ? data(validation) : null, context);
  },
};

export const choice: Task<MultipleChoice> = {
  read: async (files) => readFiles(files, MULTIPLE_CHOICE, 'prompts and choices'),
  prepare({ train, validation }, context) {
    const { model, tokenizer, run } = context;
    const data = (records: readonly MultipleChoice[]): ScoredData => {
      return { ...choiceData(records, tokenizer), answers: Int32Array.from(records, ({ answer }) => answer) };
    };
    const module = new GPTForMultipleChoice(model, { seed: run.finetune.train.seed, dropout: headOf(run).dropout });
    return prepared(module, data(train), validation.length > 0 ? data(validation) : null, context);
  },
};
