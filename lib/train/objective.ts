// What a training minimises. The trainer knows batches, steps and checkpoints; an objective knows what the loss is of.
import type { Batch, TokenData } from '../data/index.ts';
import type { GPT } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { type Device, type RandomSource, type Tensor, tensor } from '../tensor/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { TrainConfig } from './config.ts';
import { type Evaluation, evaluate } from './evaluate.ts';

/** Numbers of a batch on their way to the device: i32 or f32. */
export interface HostTensor {
  readonly data: Int32Array | Float32Array;
  readonly shape: readonly number[];
}

/** What a loss reads of a batch, by name; null: this batch has nothing of it. */
export type Inputs = Readonly<Record<string, HostTensor | null>>;

/** The same on the device. */
export type Placed<I extends Inputs> = {
  readonly [K in keyof I]: I[K] extends HostTensor ? Tensor : I[K] extends null ? null : Tensor | null;
};

/** What comes with a batch of a step. */
export interface LossContext {
  /** Draws dropout's masks. */
  random: RandomSource;
  /** One f32 for each term of the loss: the factor on its sum. */
  scales: readonly Tensor[];
}

/** Copies inputs to a device, into the current scope. */
export function placeInputs<I extends Inputs>(inputs: I, device: Device): Placed<I> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, x]) => [name, x && tensor(x.data, { shape: x.shape, device })]),
  ) as Placed<I>;
}

export interface Objective<B extends Batch = Batch, I extends Inputs = Inputs> {
  /** All that is trained and saved: the model, or what holds it. */
  readonly module: Module;
  /** Of how many items each term of a batch's loss is the sum. Each term is a mean over the items of the whole step. */
  counts(batch: B): readonly number[];
  /** What `loss` reads of a batch. */
  inputs(batch: B): I;
  /**
   * The sum of each term times its scale, added up: one element, f32. Runs in a scope. What it does follows from the shapes of the inputs alone:
   * on a GPU it is captured, and replayed with other numbers in them.
   */
  loss(inputs: Placed<I>, context: LossContext): Tensor;
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

/** Ids of a batch, (B, T). */
export const idsOf = ({ rows, length }: Batch, data: Int32Array): HostTensor => ({ data, shape: [rows, length] });

/** Rows of an evaluation's batch. */
export const evaluationRows = (length: number): number => Math.max(1, Math.min(32, Math.ceil(2048 / length)));

export interface LanguageModelInputs extends Inputs {
  /** Token ids (B, T), and those that come after each. */
  readonly inputs: HostTensor;
  readonly targets: HostTensor;
  /** (B, T): attention stays within equal numbers. */
  readonly documents: HostTensor | null;
}

/** Cross-entropy of the next token, where the batch has a target. */
export function languageModel(
  model: GPT,
  { train, validation, tokenizer, documents = false }: LanguageModelOptions,
): Objective<Batch, LanguageModelInputs> {
  const { labelSmoothing, zLoss, contextLength: length } = train;
  return {
    module: model,
    counts: (batch) => [batch.targetCount],
    inputs: (batch) => ({
      inputs: idsOf(batch, batch.inputs),
      targets: idsOf(batch, batch.targets),
      documents: batch.documents ? idsOf(batch, batch.documents) : null,
    }),
    loss: ({ inputs, targets, documents: separate }, { random, scales: [scale] }) =>
      model.loss(inputs, targets, { documents: separate, random, scale: scale as Tensor, labelSmoothing, zLoss }),
    ...(validation && {
      evaluate: (maxTokens: number) =>
        evaluate(model, validation, {
          ...{ length, maxTokens, batch: evaluationRows(length), documents },
          ...(tokenizer && { tokenizer }),
        }),
    }),
  };
}
