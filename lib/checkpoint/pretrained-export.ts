// A GPTConfig as the config.json of the family that has a place for all of it.

import { biasesOf } from '../models/config.ts';
import type { GPTConfig } from '../models/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { GPT1_ACTIVATIONS, GPT2_ACTIVATIONS, type PretrainedType } from './pretrained-families.ts';

/** Our names of activations, with theirs that stands first. */
const ours = (theirs: Readonly<Record<string, string>>): Map<string, string> =>
  new Map(
    Object.entries(theirs)
      .toReversed()
      .map(([name, activation]) => [activation, name]),
  );

type Windows = 'none' | 'all layers' | 'some layers';

function windowsOf(c: GPTConfig): Windows {
  const banded = c.attention.filter((a) => a.window !== undefined && a.window < c.contextLength).length;
  return banded === 0 ? 'none' : banded === c.attention.length ? 'all layers' : 'some layers';
}

/** The family that a model is written as. */
export function familyOf(c: GPTConfig): PretrainedType {
  if (c.norm === 'layernorm') return c.normPosition === 'post' ? 'openai-gpt' : 'gpt2';
  if (c.qkNorm) return 'qwen3';
  if (c.bias === 'qkv') return 'qwen2';
  return windowsOf(c) === 'none' ? 'llama' : 'mistral';
}

type Need = (fits: boolean, field: keyof GPTConfig, expected: string) => void;

/** What GPT-1 and GPT-2 have no place for. */
function checkGPT(c: GPTConfig, need: Need, activations: ReadonlyMap<string, string>): void {
  need(c.positions === 'learned', 'positions', 'learned');
  need(activations.has(c.activation), 'activation', `one of ${[...activations.keys()].join(', ')}`);
  need(!c.qkNorm, 'qkNorm', 'false');
  need(c.kvHeads === c.heads, 'kvHeads', `${c.heads}, the number of heads,`);
  need(c.headSize * c.heads === c.width, 'headSize', `${c.width / c.heads}, the width over the heads,`);
  need(windowsOf(c) === 'none', 'attention', 'without windows');
}

/** What Llama and its kin have no place for. */
function checkLlama(c: GPTConfig, need: Need): void {
  need(c.normPosition === 'pre', 'normPosition', 'pre');
  need(c.finalNorm, 'finalNorm', 'true');
  need(c.positions === 'rotary', 'positions', 'rotary');
  need(c.activation === 'swiglu', 'activation', 'swiglu');
  need(!c.ropeInterleaved, 'ropeInterleaved', 'false');
  need(c.rotaryFraction === 1, 'rotaryFraction', '1');
}

function gptFields(c: GPTConfig): Record<string, unknown> {
  return {
    n_positions: c.contextLength,
    n_embd: c.width,
    n_layer: c.layers,
    n_head: c.heads,
    layer_norm_epsilon: c.normEps,
    embd_pdrop: c.dropout.embedding,
    attn_pdrop: c.dropout.attention,
    resid_pdrop: c.dropout.residual,
  };
}

function scalingOf(scaling: GPTConfig['ropeScaling']): Record<string, unknown> {
  if (scaling === null) return { rope_type: 'default' };
  const { factor, context, low, high } = scaling;
  if (context === undefined) return { rope_type: 'linear', factor };
  return { rope_type: 'llama3', factor, original_max_position_embeddings: context, low_freq_factor: low, high_freq_factor: high };
}

function llamaFields(c: GPTConfig): Record<string, unknown> {
  return {
    max_position_embeddings: c.contextLength,
    hidden_size: c.width,
    intermediate_size: c.ffnWidth,
    num_hidden_layers: c.layers,
    num_attention_heads: c.heads,
    num_key_value_heads: c.kvHeads,
    head_dim: c.headSize,
    hidden_act: 'silu',
    rms_norm_eps: c.normEps,
    attention_dropout: c.dropout.attention,
    rope_theta: c.ropeTheta, // transformers 4
    rope_scaling: c.ropeScaling && scalingOf(c.ropeScaling),
    rope_parameters: { ...scalingOf(c.ropeScaling), rope_theta: c.ropeTheta }, // transformers 5
  };
}

/** The window of all layers that have one, and which those are. */
function qwenWindows(c: GPTConfig, need: Need): Record<string, unknown> {
  if (windowsOf(c) === 'none') return { use_sliding_window: false, sliding_window: null };
  const windows = Array.from({ length: c.layers }, (_, i) => c.attention[i % c.attention.length]?.window);
  const sizes = new Set(windows.filter((w) => w !== undefined));
  need(sizes.size === 1, 'attention', 'windows of one size');
  const first = windows.findIndex((w) => w !== undefined);
  return {
    use_sliding_window: true,
    sliding_window: [...sizes][0],
    max_window_layers: first,
    layer_types: windows.map((w) => (w === undefined ? 'full_attention' : 'sliding_attention')),
  };
}

const WRITERS: Readonly<Record<PretrainedType, (c: GPTConfig, need: Need) => Record<string, unknown>>> = {
  gpt2(c, need) {
    const activations = ours(GPT2_ACTIVATIONS);
    checkGPT(c, need, activations);
    need(c.finalNorm, 'finalNorm', 'true');
    return {
      architectures: ['GPT2LMHeadModel'],
      ...gptFields(c),
      n_inner: c.ffnWidth,
      activation_function: activations.get(c.activation),
    };
  },
  'openai-gpt'(c, need) {
    const activations = ours(GPT1_ACTIVATIONS);
    checkGPT(c, need, activations);
    need(!c.finalNorm, 'finalNorm', 'false');
    need(c.ffnWidth === 4 * c.width, 'ffnWidth', `${4 * c.width}, four times the width,`);
    return { architectures: ['OpenAIGPTLMHeadModel'], ...gptFields(c), afn: activations.get(c.activation) };
  },
  llama(c, need) {
    checkLlama(c, need);
    const { qkv, mlp } = biasesOf(c);
    return { architectures: ['LlamaForCausalLM'], ...llamaFields(c), attention_bias: qkv, mlp_bias: mlp };
  },
  mistral(c, need) {
    checkLlama(c, need);
    need(c.bias === false, 'bias', 'false');
    need(windowsOf(c) === 'all layers' && new Set(c.attention.map((a) => a.window)).size === 1, 'attention', 'one window for all layers');
    return { architectures: ['MistralForCausalLM'], ...llamaFields(c), sliding_window: c.attention[0]?.window };
  },
  qwen2(c, need) {
    checkLlama(c, need);
    return { architectures: ['Qwen2ForCausalLM'], ...llamaFields(c), ...qwenWindows(c, need) };
  },
  qwen3(c, need) {
    checkLlama(c, need);
    need(c.bias === false || c.bias === 'attention', 'bias', 'false or attention');
    return { architectures: ['Qwen3ForCausalLM'], ...llamaFields(c), attention_bias: c.bias !== false, ...qwenWindows(c, need) };
  },
};

/**
 * The config.json of a model. Missing biases of GPT-1 and GPT-2 are no obstacle: they are written as zeros.
 * @throws ArgumentError naming the first field that its family has no place for
 */
export function pretrainedConfigOf(c: GPTConfig, endOfText: number | null): { type: PretrainedType; json: Record<string, unknown> } {
  const type = familyOf(c);
  const need: Need = (fits, field, expected) => {
    if (fits) return;
    throw new ArgumentError(`savePretrained: ${field} must be ${expected} to be written as ${type}, got ${show(c[field])}`);
  };
  need(c.causal, 'causal', 'true');
  const { architectures, ...fields } = WRITERS[type](c, need);
  const json = {
    architectures,
    model_type: type,
    vocab_size: c.vocabSize,
    ...fields,
    initializer_range: c.initStd,
    tie_word_embeddings: c.tiedHead,
    bos_token_id: endOfText,
    eos_token_id: endOfText,
    torch_dtype: 'float32',
  };
  return { type, json };
}
