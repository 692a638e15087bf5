import { biasesOf } from '../models/config.ts';
import type { GPTConfig } from '../models/index.ts';
import type { PretrainedConfig } from './pretrained-config.ts';
import { isGPT, type PretrainedType } from './pretrained-families.ts';

/** A tensor of a Hugging Face file: rows of one of our parameters, as they are or transposed. */
export interface Piece {
  /** Their name, without the prefix of the base model. */
  readonly name: string;
  /** The name of our parameter. */
  readonly parameter: string;
  /** The rows of the parameter that it is. */
  readonly start: number;
  readonly rows: number;
  /** Of the parameter; a vector has none. */
  readonly columns: number | undefined;
  /** Their matrix is (in, out), the layout of GPT-2's Conv1D; ours is (out, in). */
  readonly transposed: boolean;
}

/** What stands before the names of the base model in the file of a language model; the head has no prefix. */
export const prefixOf = (type: PretrainedType): string => (isGPT(type) ? 'transformer.' : 'model.');
export const HEAD = 'lm_head.weight';

/** Buffers of attention masks in old GPT files, and Llama's table of frequencies: no parameters. */
export function isBuffer(name: string): boolean {
  return /(^|\.)(attn\.(bias|masked_bias)|rotary_emb\.inv_freq|position_ids)$/.test(name);
}

type Add = (name: string, parameter: string, rows: number, columns?: number, start?: number, transposed?: boolean) => void;

function gptBlock(add: Add, c: GPTConfig, i: number): void {
  const [theirs, ours] = [`h.${i}`, `blocks.${i}`];
  const dense = (name: string, parameter: string, rows: number, columns: number): void => {
    add(`${theirs}.${name}.weight`, `${ours}.${parameter}.weight`, rows, columns, 0, true);
    add(`${theirs}.${name}.bias`, `${ours}.${parameter}.bias`, rows);
  };
  const norm = (name: string, parameter: string): void => {
    add(`${theirs}.${name}.weight`, `${ours}.${parameter}.weight`, c.width);
    add(`${theirs}.${name}.bias`, `${ours}.${parameter}.bias`, c.width);
  };
  norm('ln_1', 'norm1');
  dense('attn.c_attn', 'attn.qkv', 3 * c.width, c.width);
  dense('attn.c_proj', 'attn.proj', c.width, c.width);
  norm('ln_2', 'norm2');
  dense('mlp.c_fc', 'mlp.up', c.ffnWidth, c.width);
  dense('mlp.c_proj', 'mlp.down', c.width, c.ffnWidth);
}

function llamaBlock(add: Add, c: GPTConfig, i: number): void {
  const [theirs, ours] = [`layers.${i}`, `blocks.${i}`];
  const biases = biasesOf(c);
  /** Their matrices that lie one below the other in ours. */
  const rows = (names: readonly (readonly [string, number])[], parameter: string, columns: number, bias: boolean): void => {
    for (const kind of bias ? ['weight', 'bias'] : ['weight']) {
      let start = 0;
      for (const [name, n] of names) {
        add(`${theirs}.${name}.${kind}`, `${ours}.${parameter}.${kind}`, n, kind === 'weight' ? columns : undefined, start);
        start += n;
      }
    }
  };
  const [q, kv] = [c.heads * c.headSize, c.kvHeads * c.headSize];
  const [toQ, toK, toV] = [
    ['self_attn.q_proj', q],
    ['self_attn.k_proj', kv],
    ['self_attn.v_proj', kv],
  ] as const;
  add(`${theirs}.input_layernorm.weight`, `${ours}.norm1.weight`, c.width);
  rows([toQ, toK, toV], 'attn.qkv', c.width, biases.qkv);
  rows([['self_attn.o_proj', c.width]], 'attn.proj', q, biases.proj);
  if (c.qkNorm) {
    add(`${theirs}.self_attn.q_norm.weight`, `${ours}.attn.qNorm.weight`, c.headSize);
    add(`${theirs}.self_attn.k_norm.weight`, `${ours}.attn.kNorm.weight`, c.headSize);
  }
  add(`${theirs}.post_attention_layernorm.weight`, `${ours}.norm2.weight`, c.width);
  const [gate, up] = [
    ['mlp.gate_proj', c.ffnWidth],
    ['mlp.up_proj', c.ffnWidth],
  ] as const;
  rows([gate, up], 'mlp.up', c.width, biases.mlp);
  rows([['mlp.down_proj', c.width]], 'mlp.down', c.ffnWidth, biases.mlp);
}

/** Their names of what stands around the blocks. */
const OUTER = {
  gpt2: { tokens: 'wte', positions: 'wpe', norm: 'ln_f' },
  'openai-gpt': { tokens: 'tokens_embed', positions: 'positions_embed', norm: '' },
  llama: { tokens: 'embed_tokens', positions: '', norm: 'norm' },
} as const;

/**
 * Every tensor of a model in Hugging Face's names, and where it lies in ours. One block after the other: of what a config.json
 * claims, no more is listed than the reader finds in the file.
 */
export function* pretrainedPieces({ type, config: c }: PretrainedConfig): Generator<Piece> {
  const gpt = isGPT(type);
  const outer = OUTER[type === 'gpt2' || type === 'openai-gpt' ? type : 'llama'];
  let pieces: Piece[] = [];
  const add: Add = (name, parameter, rows, columns, start = 0, transposed = false) =>
    void pieces.push({ name, parameter, start, rows, columns, transposed });
  // Only the vocabulary's own rows: those that pad it are not in the file.
  add(`${outer.tokens}.weight`, 'tokens.weight', c.vocabSize, c.width);
  if (gpt) add(`${outer.positions}.weight`, 'positions', c.contextLength, c.width);
  for (let i = 0; i < c.layers; i++) {
    if (gpt) gptBlock(add, c, i);
    else llamaBlock(add, c, i);
    yield* pieces;
    pieces = [];
  }
  if (c.finalNorm) {
    add(`${outer.norm}.weight`, 'norm.weight', c.width);
    if (gpt) add(`${outer.norm}.bias`, 'norm.bias', c.width);
  }
  if (!c.tiedHead) add(HEAD, 'head.weight', c.vocabSize, c.width);
  yield* pieces;
}
