// What llama.cpp calls the parts of a model: metadata of its architecture, and names of the tensors.
import { attentionOfLayer, biasesOf } from '../models/config.ts';
import type { GPTConfig } from '../models/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import type { GGUFValue } from './gguf-write.ts';
import { familyOf } from './pretrained-export.ts';

export const ARCHITECTURES = ['gpt2', 'llama', 'qwen2', 'qwen3'] as const;
export type GGUFArchitecture = (typeof ARCHITECTURES)[number];

/** The architecture of llama.cpp that computes a model. @throws ArgumentError naming the field that none has a place for */
export function architectureOf(c: GPTConfig): GGUFArchitecture {
  const family = familyOf(c);
  const need = (fits: boolean, field: keyof GPTConfig, expected: string): void => {
    if (!fits) throw new ArgumentError(`saveGGUF: ${field} must be ${expected} for llama.cpp's ${family}, got ${show(c[field])}`);
  };
  need(c.causal, 'causal', 'true');
  for (let i = 0; i < c.layers; i++)
    need((attentionOfLayer(c, i).window ?? Number.POSITIVE_INFINITY) >= c.contextLength, 'attention', 'without windows');
  need(c.normPosition === 'pre' && family !== 'openai-gpt', 'normPosition', 'pre');
  need(c.finalNorm, 'finalNorm', 'true');
  if (family === 'gpt2') {
    need(c.positions === 'learned', 'positions', 'learned');
    need(c.activation === 'gelu_tanh', 'activation', 'gelu_tanh');
    need(c.kvHeads === c.heads, 'kvHeads', `${c.heads}, the number of heads,`);
    need(c.headSize * c.heads === c.width, 'headSize', `${c.width / c.heads}, the width over the heads,`);
    need(!c.qkNorm, 'qkNorm', 'false');
    return 'gpt2';
  }
  need(c.positions === 'rotary', 'positions', 'rotary');
  need(c.activation === 'swiglu', 'activation', 'swiglu');
  need(c.rotaryFraction === 1 && !c.ropeInterleaved, 'rotaryFraction', '1');
  if (family === 'qwen3') need(c.bias === false, 'bias', 'false');
  if (family === 'llama') need(!biasesOf(c).mlp || c.bias === true, 'bias', 'not mlp alone');
  return family === 'mistral' || family === 'openai-gpt' ? 'llama' : family;
}

/** The metadata that names the sizes and constants of a model. */
export function architectureMetadata(architecture: GGUFArchitecture, c: GPTConfig): Map<string, GGUFValue> {
  const metadata = new Map<string, GGUFValue>();
  const count = (name: string, value: number): void => void metadata.set(`${architecture}.${name}`, { type: 'u32', value });
  const number = (name: string, value: number): void => void metadata.set(`${architecture}.${name}`, { type: 'f32', value });
  count('vocab_size', c.vocabSize);
  count('context_length', c.contextLength);
  count('embedding_length', c.width);
  count('block_count', c.layers);
  count('feed_forward_length', c.ffnWidth);
  count('attention.head_count', c.heads);
  if (architecture === 'gpt2') {
    number('attention.layer_norm_epsilon', c.normEps);
    return metadata;
  }
  count('attention.head_count_kv', c.kvHeads);
  count('attention.key_length', c.headSize);
  count('attention.value_length', c.headSize);
  count('rope.dimension_count', c.headSize);
  number('attention.layer_norm_rms_epsilon', c.normEps);
  number('rope.freq_base', c.ropeTheta);
  if (c.ropeScaling && c.ropeScaling.context === undefined) {
    metadata.set(`${architecture}.rope.scaling.type`, { type: 'string', value: 'linear' });
    number('rope.scaling.factor', c.ropeScaling.factor);
  }
  return metadata;
}

/** What the rotary frequencies are divided by (Llama 3.1), one for each pair; undefined where the metadata says it all. */
export function ropeFactors(c: Pick<GPTConfig, 'positions' | 'headSize' | 'ropeTheta' | 'ropeScaling'>): Float32Array | undefined {
  const { factor = 1, context, low = 0, high = 0 } = c.ropeScaling ?? {};
  if (c.positions !== 'rotary' || context === undefined) return undefined;
  return Float32Array.from({ length: c.headSize / 2 }, (_, i) => {
    const turns = (context * c.ropeTheta ** ((-2 * i) / c.headSize)) / (2 * Math.PI);
    if (turns < low) return factor;
    if (turns > high) return 1;
    const kept = (turns - low) / (high - low);
    return 1 / ((1 - kept) / factor + kept);
  });
}

/** A tensor of the file: rows of one of our parameters. */
export interface GGUFPiece {
  readonly name: string;
  readonly parameter: string;
  readonly start: number;
  readonly rows: number;
  /** A vector has none. */
  readonly columns: number | undefined;
  /** Heads whose rows change their order: llama.cpp's llama turns neighbours, not the halves of a head. */
  readonly permuted: number | undefined;
}

/** Rows of a head in the order in which neighbours turn, 0, D/2, 1, D/2 + 1, ...: f(from, to) for each row. */
function eachTurned(values: Float32Array, heads: number, columns: number, visit: (half: number, turned: number) => void): void {
  const half = values.length / columns / heads / 2;
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < half; i++) for (const part of [0, 1]) visit((h * 2 + part) * half + i, h * 2 * half + 2 * i + part);
}

/** Rows of heads whose halves turn, as llama.cpp's llama has them. */
export function permuteRows(values: Float32Array, heads: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  eachTurned(values, heads, columns, (from, to) => out.set(values.subarray(from * columns, (from + 1) * columns), to * columns));
  return out;
}

/** And back. */
export function unpermuteRows(values: Float32Array, heads: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  eachTurned(values, heads, columns, (to, from) => out.set(values.subarray(from * columns, (from + 1) * columns), to * columns));
  return out;
}

export function* ggufPieces(architecture: GGUFArchitecture, c: GPTConfig): Generator<GGUFPiece> {
  const gpt2 = architecture === 'gpt2';
  const biases = gpt2 ? { qkv: true, proj: true, mlp: true } : biasesOf(c);
  const [q, kv] = [c.heads * c.headSize, c.kvHeads * c.headSize];
  const piece = (name: string, parameter: string, rows: number, columns?: number, start = 0, permuted?: number): GGUFPiece => ({
    name,
    parameter,
    start,
    rows,
    columns,
    permuted,
  });
  function* norm(name: string, parameter: string): Generator<GGUFPiece> {
    yield piece(`${name}.weight`, `${parameter}.weight`, c.width);
    if (gpt2) yield piece(`${name}.bias`, `${parameter}.bias`, c.width);
  }
  function* linear(
    name: string,
    parameter: string,
    rows: number,
    columns: number,
    bias: boolean,
    start = 0,
    permuted?: number,
  ): Generator<GGUFPiece> {
    yield piece(`${name}.weight`, `${parameter}.weight`, rows, columns, start, permuted);
    if (bias) yield piece(`${name}.bias`, `${parameter}.bias`, rows, undefined, start, permuted);
  }
  yield piece('token_embd.weight', 'tokens.weight', c.vocabSize, c.width);
  if (gpt2) yield piece('position_embd.weight', 'positions', c.contextLength, c.width);
  for (let i = 0; i < c.layers; i++) {
    const [theirs, ours] = [`blk.${i}`, `blocks.${i}`];
    yield* norm(`${theirs}.attn_norm`, `${ours}.norm1`);
    if (gpt2) yield* linear(`${theirs}.attn_qkv`, `${ours}.attn.qkv`, 3 * c.width, c.width, true);
    else {
      const turned = architecture === 'llama' ? [c.heads, c.kvHeads] : [];
      yield* linear(`${theirs}.attn_q`, `${ours}.attn.qkv`, q, c.width, biases.qkv, 0, turned[0]);
      yield* linear(`${theirs}.attn_k`, `${ours}.attn.qkv`, kv, c.width, biases.qkv, q, turned[1]);
      yield* linear(`${theirs}.attn_v`, `${ours}.attn.qkv`, kv, c.width, biases.qkv, q + kv);
    }
    if (c.qkNorm) {
      yield piece(`${theirs}.attn_q_norm.weight`, `${ours}.attn.qNorm.weight`, c.headSize);
      yield piece(`${theirs}.attn_k_norm.weight`, `${ours}.attn.kNorm.weight`, c.headSize);
    }
    yield* linear(`${theirs}.attn_output`, `${ours}.attn.proj`, c.width, q, biases.proj);
    yield* norm(`${theirs}.ffn_norm`, `${ours}.norm2`);
    if (!gpt2) yield* linear(`${theirs}.ffn_gate`, `${ours}.mlp.up`, c.ffnWidth, c.width, biases.mlp);
    yield* linear(`${theirs}.ffn_up`, `${ours}.mlp.up`, c.ffnWidth, c.width, biases.mlp, gpt2 ? 0 : c.ffnWidth);
    yield* linear(`${theirs}.ffn_down`, `${ours}.mlp.down`, c.width, c.ffnWidth, biases.mlp);
  }
  yield* norm('output_norm', 'norm');
  if (!c.tiedHead) yield piece('output.weight', 'head.weight', c.vocabSize, c.width);
}
