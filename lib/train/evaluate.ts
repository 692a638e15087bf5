import { noGrad } from '../autograd/index.ts';
import { type Batch, examplesOnce, type TokenData, windowBatches, windows } from '../data/index.ts';
import type { GPT } from '../models/index.ts';
import { full, scope, type Tensor, tensor } from '../tensor/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';

/** A batch on the device. */
export interface DeviceBatch {
  inputs: Tensor;
  targets: Tensor;
  documents: Tensor | null;
}

/** Copies a batch to the model's device, into the current scope. */
export function toDevice(batch: Batch, device: string): DeviceBatch {
  const shape = [batch.rows, batch.length];
  const put = (ids: Int32Array): Tensor => tensor(ids, { shape, device });
  return { inputs: put(batch.inputs), targets: put(batch.targets), documents: batch.documents ? put(batch.documents) : null };
}

export interface EvaluateOptions {
  /** B: rows at a time; the result does not depend on it but for rounding. Default 16. */
  batch?: number;
  /** T; default the model's context. */
  length?: number;
  /**
   * Each window after the first one begins so many tokens after the one before and counts only what is new: every token then sees
   * at least T - stride tokens before it, as in Hugging Face's perplexity. From 1 to T; default T, no overlap. Costs T / stride times as
   * much. Not for prompts and completions, of which each is seen whole.
   */
  stride?: number;
  /** Attention stays within documents. */
  documents?: boolean;
  /** Only about so many tokens from the start; 0: all. */
  maxTokens?: number;
  /** Counts the bytes behind the targets, for bits per byte. */
  tokenizer?: Tokenizer;
  signal?: AbortSignal;
  /** Batches done, of how many (0: not known). */
  onProgress?: (done: number, of: number) => void;
}

export interface Evaluation {
  /** Mean cross-entropy of a token, in nats. */
  loss: number;
  /** e^loss. */
  perplexity: number;
  /** Cross-entropy of all tokens in bits over the bytes that they stand for; comparable across tokenizers. Needs the tokenizer. */
  bitsPerByte: number | null;
  tokens: number;
  bytes: number;
  /** What an objective measures besides, by name: `accuracy`, … */
  metrics?: Readonly<Record<string, number>>;
}

/** Bytes of every token; special tokens count none. */
function byteLengths(tokenizer: Tokenizer): Uint32Array {
  const lengths = new Uint32Array(tokenizer.vocabSize);
  for (let id = 0; id < lengths.length; id++) lengths[id] = tokenizer.tokenBytes(id).length;
  for (const id of tokenizer.specialTokens.values()) lengths[id] = 0;
  return lengths;
}

/**
 * The loss over all of the data, not over random batches: every token of a text once as a target, every example (prompt and
 * completion) once and whole. The event loop keeps running.
 */
export async function evaluate(model: GPT, data: TokenData, options: EvaluateOptions = {}): Promise<Evaluation> {
  const {
    batch: rows = 16,
    length = model.config.contextLength,
    stride = length,
    documents = false,
    maxTokens = 0,
    tokenizer,
    signal,
  } = options;
  const lengths = tokenizer ? byteLengths(tokenizer) : null;
  if (data.masked && stride !== length) throw new ArgumentError(`evaluate: stride is not for prompts and completions, got ${stride}`);
  const training = model.training;
  model.eval();
  const shape = { batch: rows, length };
  const batches = data.masked ? examplesOnce(data, shape) : windows(data, { ...shape, stride, documents });
  const total = data.masked ? 0 : windowBatches(data, rows, length, stride);
  let [nats, tokens, bytes, done] = [0, 0, 0, 0];
  const one = full([], 1, { device: model.device }).keep();
  try {
    for (const batch of batches) {
      signal?.throwIfAborted();
      const sum = noGrad(() =>
        scope(() => {
          const b = toDevice(batch, model.device);
          return model.loss(b.inputs, b.targets, { documents: b.documents, scale: one }).keep();
        }),
      );
      try {
        nats += await sum.item();
      } finally {
        sum.dispose();
      }
      tokens += batch.targetCount;
      if (lengths) for (const id of batch.targets) if (id >= 0) bytes += lengths[id] as number;
      options.onProgress?.(++done, total);
      if (maxTokens > 0 && tokens >= maxTokens) break;
    }
  } finally {
    one.dispose();
    model.train(training);
  }
  const loss = nats / tokens;
  return { loss, perplexity: Math.exp(loss), bitsPerByte: bytes > 0 ? nats / Math.LN2 / bytes : null, tokens, bytes };
}
