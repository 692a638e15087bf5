// Direct preference optimisation (Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", 2023):
// -log σ(β ((log π(chosen) - log π(rejected)) - (log π_ref(chosen) - log π_ref(rejected)))), where π_ref is the model before.
import { noGrad } from '../../autograd/index.ts';
import {
  encodeExamples,
  type GroupsBatch,
  GroupsLoader,
  groupsOnce,
  PREFERENCE,
  type Preference,
  type TokenData,
} from '../../data/index.ts';
import type { GPT } from '../../models/index.ts';
import { concat, crossEntropy, mul, reshape, slice, sub, sum } from '../../ops/index.ts';
import { full, type RandomSource, scope, type Tensor } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import type { DPOSection } from '../config.ts';
import { type Evaluation, toDevice } from '../evaluate.ts';
import { evaluationRows, type HostTensor, type Inputs, idsOf, type Objective } from '../objective.ts';
import { readFiles } from './read.ts';
import type { PreparedTask, Task } from './task.ts';

/** Pairs as documents, the chosen one first. */
export function encodePreferences(pairs: readonly Preference[], tokenizer: Tokenizer): TokenData {
  return encodeExamples(
    pairs.flatMap(({ prompt, chosen, rejected }) => [chosen, rejected].map((completion) => ({ prompt, completion }))),
    tokenizer,
  );
}

/** (pairs): log π(chosen) - log π(rejected), each summed over the completion's tokens. */
function margins(model: GPT, inputs: Tensor, targets: Tensor, random: RandomSource | null): Tensor {
  const pairs = (inputs.shape[0] as number) / 2;
  const losses = crossEntropy(model.logits(inputs, { random }), targets, { reduction: 'none' });
  const sums = reshape(sum(losses, { dim: -1 }), pairs, 2);
  return reshape(sub(slice(sums, 1, 1, 2), slice(sums, 1, 0, 1)), pairs);
}

/** The same of every pair of the data, in order, as the model is now: what a reference model said, asked once. */
export async function preferenceMargins(model: GPT, data: TokenData, length: number, maxTokens = 0): Promise<Float32Array> {
  const found: number[] = [];
  const training = model.training;
  model.eval();
  let read = 0;
  try {
    for (const batch of groupsOnce(data, { size: 2, batch: Math.max(1, evaluationRows(length) >> 1), length })) {
      const margin = noGrad(() =>
        scope(() => {
          const { inputs, targets } = toDevice(batch, model.device);
          return margins(model, inputs, targets, null).keep();
        }),
      );
      try {
        found.push(...((await margin.data()) as Float32Array));
      } finally {
        margin.dispose();
      }
      read += batch.targetCount;
      if (maxTokens > 0 && read >= maxTokens) break;
    }
  } finally {
    model.train(training);
  }
  return Float32Array.from(found);
}

/** Pairs, and what the reference model said of them. */
export interface ReferredPairs {
  readonly tokens: TokenData;
  readonly reference: Float32Array;
}

export interface DPOOptions {
  readonly train: ReferredPairs;
  readonly validation: ReferredPairs | null;
  /** How far the model may leave the reference: the smaller, the farther. */
  readonly beta: number;
  /** T at most. */
  readonly length: number;
}

/** log(1 + e^-x), which does not overflow. */
const softplusOfMinus = (x: number): number => (x > 0 ? Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x)) - x);

export interface DPOInputs extends Inputs {
  /** Token ids (2 pairs, T), and those that come after each. */
  readonly inputs: HostTensor;
  readonly targets: HostTensor;
  /** (pairs): the margins of the reference model. */
  readonly reference: HostTensor;
}

export function dpoObjective(model: GPT, { train, validation, beta, length }: DPOOptions): Objective<GroupsBatch, DPOInputs> {
  return {
    module: model,
    counts: (batch) => [batch.groups.length],
    inputs: (batch) => ({
      inputs: idsOf(batch, batch.inputs),
      targets: idsOf(batch, batch.targets),
      reference: {
        data: Float32Array.from(batch.groups, (group) => train.reference[group] as number),
        shape: [batch.groups.length],
      },
    }),
    loss({ inputs, targets, reference }, { random, scales: [scale] }) {
      const { device } = model;
      const n = reference.size;
      const reward = reshape(mul(sub(margins(model, inputs, targets, random), reference), beta), n, 1);
      // -log σ(x) is the cross-entropy of the logits (x, 0) against the first.
      const logits = concat([reward, full([n, 1], 0, { device })], 1);
      return crossEntropy(logits, full([n], 0, { dtype: 'i32', device }), { scale: scale as Tensor });
    },
    ...(validation && {
      async evaluate(maxTokens: number): Promise<Evaluation> {
        const now = await preferenceMargins(model, validation.tokens, length, maxTokens);
        const rewards = Array.from(now, (margin, i) => beta * (margin - (validation.reference[i] as number)));
        const mean = (of: (x: number) => number): number => rewards.reduce((total, x) => total + of(x), 0) / rewards.length;
        const loss = mean(softplusOfMinus);
        return {
          ...{ loss, perplexity: Math.exp(loss), bitsPerByte: null, tokens: rewards.length, bytes: 0 },
          metrics: { rewardMargin: mean((x) => x), rewardAccuracy: mean((x) => (x > 0 ? 1 : 0)) },
        };
      },
    }),
  };
}

export const dpo: Task<Preference> = {
  read: async (files) => readFiles(files, PREFERENCE, 'prompts with a chosen and a rejected answer'),
  async prepare({ train, validation }, { run, model, tokenizer, chatTemplate }): Promise<PreparedTask> {
    const { train: t, tooLong, dpo: section } = run.finetune;
    const { batchSize: batch, contextLength: length, seed } = t;
    const refer = async (pairs: readonly Preference[]): Promise<ReferredPairs> => {
      const tokens = encodePreferences(pairs, tokenizer);
      return { tokens, reference: await preferenceMargins(model, tokens, length) };
    };
    const tokens = encodePreferences(train, tokenizer);
    const data = new GroupsLoader(tokens, { size: 2, batch, length, seed, tooLong }); // checks lengths before anything is computed
    const objective = dpoObjective(model, {
      ...{ beta: (section as DPOSection).beta, length },
      train: { tokens, reference: await preferenceMargins(model, tokens, length) },
      validation: validation.length > 0 ? await refer(validation) : null,
    });
    return { data, objective: objective as Objective, chatTemplate };
  },
};
