import type { GPTConfig } from '../models/index.ts';
import type { PretrainedConfig } from './pretrained-config.ts';

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
export const PREFIX = { gpt2: 'transformer.', llama: 'model.' } as const;
export const HEAD = 'lm_head.weight';

/** Buffers of attention masks in old GPT-2 files, and Llama's table of frequencies: no parameters. */
export function isBuffer(name: string): boolean {
  return /(^|\.)(attn\.(bias|masked_bias)|rotary_emb\.inv_freq)$/.test(name);
}

type Add = (name: string, parameter: string, rows: number, columns?: number, start?: number, transposed?: boolean) => void;

function gpt2Block(add: Add, c: GPTConfig, i: number): void {
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

function llamaBlock(add: Add, c: GPTConfig, i: number, biases: PretrainedConfig['biases']): void {
  const [theirs, ours] = [`layers.${i}`, `blocks.${i}`];
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
  add(`${theirs}.input_layernorm.weight`, `${ours}.norm1.weight`, c.width);
  rows(
    [
      ['self_attn.q_proj', q],
      ['self_attn.k_proj', kv],
      ['self_attn.v_proj', kv],
    ],
    'attn.qkv',
    c.width,
    biases.attention,
  );
  rows([['self_attn.o_proj', c.width]], 'attn.proj', q, biases.attention);
  add(`${theirs}.post_attention_layernorm.weight`, `${ours}.norm2.weight`, c.width);
  rows(
    [
      ['mlp.gate_proj', c.ffnWidth],
      ['mlp.up_proj', c.ffnWidth],
    ],
    'mlp.up',
    c.width,
    biases.mlp,
  );
  rows([['mlp.down_proj', c.width]], 'mlp.down', c.ffnWidth, biases.mlp);
}

/**
 * Every tensor of a model in Hugging Face's names, and where it lies in ours. One block after the other: of what a config.json
 * claims, no more is listed than the reader finds in the file.
 */
export function* pretrainedPieces({ type, config: c, biases }: PretrainedConfig): Generator<Piece> {
  let pieces: Piece[] = [];
  const add: Add = (name, parameter, rows, columns, start = 0, transposed = false) =>
    void pieces.push({ name, parameter, start, rows, columns, transposed });
  // Only the vocabulary's own rows: those that pad it are not in the file.
  add(type === 'gpt2' ? 'wte.weight' : 'embed_tokens.weight', 'tokens.weight', c.vocabSize, c.width);
  if (type === 'gpt2') add('wpe.weight', 'positions', c.contextLength, c.width);
  for (let i = 0; i < c.layers; i++) {
    type === 'gpt2' ? gpt2Block(add, c, i) : llamaBlock(add, c, i, biases);
    yield* pieces;
    pieces = [];
  }
  const norm = type === 'gpt2' ? 'ln_f' : 'norm';
  add(`${norm}.weight`, 'norm.weight', c.width);
  if (type === 'gpt2') add(`${norm}.bias`, 'norm.bias', c.width);
  if (!c.tiedHead) add(HEAD, 'head.weight', c.vocabSize, c.width);
  yield* pieces;
}
