import { GPT, type GPTConfig, type GPTConfigInput, gptConfig } from '../../../lib/models/index.ts';
import { tensor } from '../../../lib/tensor/create.ts';
import { scope, type Tensor } from '../../../lib/tensor/tensor.ts';

/** Llama's and Qwen's parts. */
export const modern: GPTConfigInput = {
  norm: 'rmsnorm',
  normEps: 1e-6,
  bias: false,
  activation: 'swiglu',
  positions: 'rotary',
  qkNorm: true,
  kvHeads: 2,
  ffnWidth: 64,
  tiedHead: false,
  scaledInit: false,
};

/** One of every kind of model, small. */
export const families: Readonly<Record<string, GPTConfigInput>> = {
  gpt2: {},
  gpt1: { normPosition: 'post' },
  'gpt3, banded': { attention: [{}, { window: 3 }] },
  modern,
  'modern, half of each head rotated, neighbours': { ...modern, qkNorm: false, rotaryFraction: 0.5, ropeInterleaved: true, tiedHead: true },
  'nano, sinusoidal': { bias: false, activation: 'gelu_erf', positions: 'sinusoidal' },
  'no positions, wide heads, padded vocabulary': { positions: 'none', headSize: 24, activation: 'relu2', paddedVocab: 16 },
};

/** 31 tokens, context 24, 2 layers of 4 heads, width 32; weights so large that everything shows in the logits. */
export function small(input: GPTConfigInput = {}): GPTConfig {
  return gptConfig({ vocabSize: 31, contextLength: 24, layers: 2, heads: 4, width: 32, initStd: 0.3, ...input });
}

export const build = (input: GPTConfigInput = {}, seed = 1): GPT => new GPT(small(input), { seed });

/** Rows of token ids as a tensor i32 (B, T). */
export const idsOf = (...rows: readonly (readonly number[])[]): Tensor =>
  tensor(Int32Array.from(rows.flat()), { shape: [rows.length, rows[0]?.length ?? 0] });

/** T ids below 31 that look like nothing in particular. */
export const someIds = (T: number, salt = 0): number[] => Array.from({ length: T }, (_, i) => ((i + 3) * (7 + salt) + ((i * i) % 11)) % 31);

/** Logits of one row, position by position. */
export function logitsOf(model: GPT, ids: readonly number[], documents?: readonly number[]): Float32Array[] {
  const flat = scope(() => model.logits(idsOf(ids), documents ? { documents: idsOf(documents) } : {}).dataSync<'f32'>());
  const V = flat.length / ids.length;
  return ids.map((_, i) => flat.subarray(i * V, (i + 1) * V));
}

/** The positions at which two lists of rows differ in any bit. */
export function changed(a: readonly Float32Array[], b: readonly Float32Array[]): number[] {
  return a.flatMap((row, i) => (row.every((x, j) => Object.is(x, b[i]?.[j])) ? [] : [i]));
}
