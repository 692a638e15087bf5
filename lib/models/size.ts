import { ArgumentError } from '../util/errors.ts';
import type { GPTConfig } from './config.ts';
import { biasesOf, paddedVocabSize } from './config.ts';

/** Numbers of parameters; `total` is the sum of `embedding`, `positions`, `layers · perLayer`, `finalNorm` and `head`. */
export interface ParameterCount {
  /** All of them, each tied one once, without the rows that only pad the vocabulary: the published figure. */
  readonly total: number;
  /** Token embedding (V, C). */
  readonly embedding: number;
  /** Learned positions (T, C); 0 for other kinds. */
  readonly positions: number;
  /** One block. */
  readonly perLayer: number;
  readonly finalNorm: number;
  /** The head (V, C) where it is not tied; else 0. */
  readonly head: number;
  /** Blocks and final norm: neither embeddings nor an untied head (the N of the scaling laws). */
  readonly nonEmbedding: number;
  /** What the padding of the vocabulary adds in storage; not in `total`. */
  readonly padding: number;
}

/** Counts the parameters of a GPT exactly. */
export function countParameters(c: GPTConfig): ParameterCount {
  const biases = biasesOf(c);
  const bias = (has: boolean): number => (has ? 1 : 0);
  const queries = c.heads * c.headSize;
  const keysAndValues = 2 * c.kvHeads * c.headSize;
  const projection = queries * c.width + bias(biases.proj) * c.width;
  const attention = (queries + keysAndValues) * (c.width + bias(biases.qkv)) + projection + (c.qkNorm ? 2 * c.headSize : 0);
  const into = c.activation === 'swiglu' ? 2 : 1; // gate and value
  const ffn = into * c.ffnWidth * (c.width + bias(biases.mlp)) + c.width * (c.ffnWidth + bias(biases.mlp));
  const norm = c.width * (c.normBias ? 2 : 1);

  const perLayer = attention + ffn + 2 * norm;
  const embedding = c.vocabSize * c.width;
  const positions = c.positions === 'learned' ? c.contextLength * c.width : 0;
  const finalNorm = c.finalNorm ? norm : 0;
  const head = c.tiedHead ? 0 : embedding;
  const nonEmbedding = c.layers * perLayer + finalNorm;
  const padding = (paddedVocabSize(c) - c.vocabSize) * c.width * (c.tiedHead ? 1 : 2);
  return { total: embedding + positions + nonEmbedding + head, embedding, positions, perLayer, finalNorm, head, nonEmbedding, padding };
}

/**
 * Floating-point operations to train on one token at sequence length T (a multiply and an add are two), for MFU:
 * - `palm` (nanoGPT, PaLM): F = 6·N + 12·L·C·T;
 * - `llmc` (llm.c): F = 6·N + 6·L·C·T, half the attention term, because a causal mask leaves half the pairs.
 *
 * N counts all parameters but position embeddings; C is heads · headSize. Windows do not lower either formula. Print the
 * formula's name beside any figure made with it.
 */
export function flopsPerToken(config: GPTConfig, T: number, formula: 'palm' | 'llmc' = 'palm'): number {
  if (!(Number.isSafeInteger(T) && T >= 1)) throw new ArgumentError(`flopsPerToken: T must be a positive integer, got ${T}`);
  const { total, positions } = countParameters(config);
  const perPair = formula === 'palm' ? 12 : 6;
  return 6 * (total - positions) + perPair * config.layers * config.heads * config.headSize * T;
}
