// What a training minimises. The trainer knows batches, steps and checkpoints; an objective knows what the loss is of.
import type { Batch, TokenData } from '../data/index.ts';
import type { GPT } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import type { RandomSource, Tensor } from '../tensor/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { TrainConfig } from './config.ts';
import { type Evaluation, evaluate, toDevice } from './evaluate.ts';

/** What comes with a batch of a step. */
export interface LossContext {
  /** Draws dropout's masks. */
  random: RandomSource;
  /** One f32 for each term of the loss: the factor on its sum. */
  scales: readonly Tensor[];
}

export interface Objective<B extends Batch = Batch> {
  /** All that is trained and saved: the model, or what holds it. */
  readonly module: Module;
  /** Of how many items each term of a batch's loss is the sum. Each term is a mean over the items of the whole step. */
  counts(batch: B): readonly number[];
  /** The sum of each term times its scale, added up: one element. Runs in a scope. */
  loss(batch: B, context: LossContext): Tensor;
  /** On held-out data, of which about `maxTokens` are enough (0: all of it). Without it there is none. */
  evaluate?(maxTokens: number): Promise<Evaluation>;
}

export interface LanguageModelOptions {
  train: Pick<TrainConfig, 'labelSmoothing' | 'zLoss' | 'contextLength'>;
  validation?: TokenData | null;
  tokenizer?: Tokenizer;
  /** Attention stays within documents. */
  documents?: boolean;
}

/** Rows of an evaluation's batch. */
export const evaluationRows = (length: number): number => Math.max(1, Math.min(32, Math.ceil(2048 / length)));

/** Cross-entropy of the next token, where the batch has a target. */
export function languageModel(model: GPT, { train, validation, tokenizer, documents = false }: LanguageModelOptions): Objective {
  const { labelSmoothing, zLoss, contextLength: length } = train;
  return {
    module: model,
    counts: (batch) => [batch.targetCount],
    loss(batch, { random, scales: [scale] }) {
      const b = toDevice(batch, model.device);
      const separate = documents || batch.documents ? b.documents : null;
      return model.loss(b.inputs, b.targets, { documents: separate, random, scale: scale as Tensor, labelSmoothing, zLoss });
    },
    ...(validation && {
      evaluate: (maxTokens: number) =>
        evaluate(model, validation, {
          ...{ length, maxTokens, batch: evaluationRows(length), documents },
          ...(tokenizer && { tokenizer }),
        }),
    }),
  };
}
