// The families that are read and written, each as its transformers class understands its config.json, defaults included. Fields that
// change the arithmetic in a way that a GPTConfig does not know are errors: a model that loads computes what its own library computes.
import type { AttentionPattern, GPTConfigInput } from '../models/index.ts';
import type { Fields } from './pretrained-fields.ts';

/** Their names of the activations of GPT-2's feed-forward part; the first that stands for one of ours is written. */
export const GPT2_ACTIVATIONS = {
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu: 'gelu_erf',
  relu: 'relu',
  relu2: 'relu2',
  silu: 'silu',
  swish: 'silu',
} as const;

/** GPT-1's: its `gelu` is the approximation by tanh. */
export const GPT1_ACTIVATIONS = { gelu: 'gelu_tanh', relu: 'relu', silu: 'silu', swish: 'silu' } as const;

const dropout = (f: Fields): GPTConfigInput['dropout'] => ({
  embedding: f.number('embd_pdrop', 0.1),
  attention: f.number('attn_pdrop', 0.1),
  residual: f.number('resid_pdrop', 0.1),
});

function gpt2(f: Fields): GPTConfigInput {
  f.only('scale_attn_weights', true);
  f.only('scale_attn_by_inverse_layer_idx', false);
  const width = f.count('n_embd');
  return {
    contextLength: f.count('n_positions', f.has('n_ctx') ? f.count('n_ctx') : 1024),
    layers: f.count('n_layer'),
    heads: f.count('n_head'),
    width,
    ffnWidth: f.count('n_inner', 4 * width),
    activation: f.choice('activation_function', GPT2_ACTIVATIONS, 'gelu_new'),
    normEps: f.number('layer_norm_epsilon', 1e-5),
    dropout: dropout(f),
    tiedHead: f.flag('tie_word_embeddings', true),
  };
}

function openaiGPT(f: Fields): GPTConfigInput {
  return {
    contextLength: f.count('n_positions', 512),
    layers: f.count('n_layer'),
    heads: f.count('n_head'),
    width: f.count('n_embd'),
    activation: f.choice('afn', GPT1_ACTIVATIONS, 'gelu'),
    normEps: f.number('layer_norm_epsilon', 1e-5),
    normPosition: 'post',
    finalNorm: false,
    dropout: dropout(f),
    tiedHead: f.flag('tie_word_embeddings', true),
    scaledInit: false,
  };
}

type Rotary = Required<Pick<GPTConfigInput, 'ropeTheta' | 'ropeScaling'>>;

/** How frequencies are scaled, by their names. What the kinds of a context that grows (dynamic, yarn, longrope) need has no kernel here. */
const SCALINGS: Readonly<Record<string, (f: Fields) => Rotary['ropeScaling']>> = {
  default: () => null,
  linear: (f) => ({ factor: f.number('factor') }),
  llama3: (f) => ({
    factor: f.number('factor'),
    context: f.count('original_max_position_embeddings'),
    low: f.number('low_freq_factor'),
    high: f.number('high_freq_factor'),
  }),
};

/** Base and scaling of the rotary frequencies: `rope_theta` and `rope_scaling`, or since transformers 5 `rope_parameters` with both. */
function rotary(f: Fields): Rotary {
  f.only('partial_rotary_factor', 1);
  f.only('rope_interleaved', false);
  const older = f.number('rope_theta', 10000);
  const scaled = f.has('rope_scaling') ? f.object('rope_scaling') : undefined;
  const parameters = f.object('rope_parameters');
  const ropeTheta = parameters.number('rope_theta', scaled?.number('rope_theta', older) ?? older);
  for (const part of [parameters, scaled]) part?.only('partial_rotary_factor', 1);
  const given = scaled ?? parameters;
  const ropeScaling = given.choice(given.has('type') ? 'type' : 'rope_type', SCALINGS, 'default')(given);
  if (scaled) parameters.choice('rope_type', SCALINGS, 'default')(parameters.has('rope_type') ? parameters : scaled);
  return { ropeTheta, ropeScaling };
}

interface LlamaDefaults {
  readonly contextLength: number;
  /** Undefined: as many as heads. */
  readonly kvHeads?: number;
  /** Undefined: width over heads. */
  readonly headSize?: number;
}

function llamaStyle(f: Fields, defaults: LlamaDefaults): GPTConfigInput {
  const heads = f.count('num_attention_heads');
  const headSize = f.has('head_dim') ? f.count('head_dim') : defaults.headSize;
  return {
    contextLength: f.count('max_position_embeddings', defaults.contextLength),
    layers: f.count('num_hidden_layers'),
    heads,
    kvHeads: f.count('num_key_value_heads', f.isMissing('num_key_value_heads') ? (defaults.kvHeads ?? heads) : heads),
    width: f.count('hidden_size'),
    ...(headSize !== undefined && { headSize }),
    ffnWidth: f.count('intermediate_size'),
    norm: 'rmsnorm',
    normBias: false,
    normEps: f.number('rms_norm_eps', 1e-6),
    activation: f.choice('hidden_act', { silu: 'swiglu', swish: 'swiglu' }, 'silu'),
    positions: 'rotary',
    ...rotary(f),
    bias: false,
    dropout: { embedding: 0, attention: f.number('attention_dropout', 0), residual: 0 },
    tiedHead: f.flag('tie_word_embeddings', false),
    scaledInit: false,
  };
}

/** Attention of each layer: banded where `isBanded` or the file's `layer_types` say so; one pattern where all layers are alike. */
function patterns(f: Fields, window: number | undefined, isBanded: (layer: number) => boolean): readonly AttentionPattern[] {
  const layers = f.count('num_hidden_layers');
  const types = f.words('layer_types', ['full_attention', 'sliding_attention'], layers);
  // A configuration may claim any number of layers: without a band none is listed.
  if (types === undefined && (window === undefined || isBanded(0))) return [window === undefined ? {} : { window }];
  if (types?.includes('sliding_attention') && window === undefined)
    throw f.fail('layer_types', 'without sliding_attention, since there is no sliding_window in use');
  if (layers > MOST_LAYERS) throw f.fail('num_hidden_layers', `at most ${MOST_LAYERS}`);
  const banded = types ? types.map((type) => type === 'sliding_attention') : Array.from({ length: layers }, (_, i) => isBanded(i));
  const all = banded.map((is): AttentionPattern => (is && window !== undefined ? { window } : {}));
  return new Set(banded).size === 1 ? all.slice(0, 1) : all;
}

const MOST_LAYERS = 10_000;

function llama(f: Fields): GPTConfigInput {
  const [attention, mlp] = [f.flag('attention_bias', false), f.flag('mlp_bias', false)];
  return { ...llamaStyle(f, { contextLength: 2048 }), bias: attention && mlp ? true : attention ? 'attention' : mlp ? 'mlp' : false };
}

function mistral(f: Fields): GPTConfigInput {
  const window = f.has('sliding_window') ? f.count('sliding_window') : f.isMissing('sliding_window') ? 4096 : undefined;
  return { ...llamaStyle(f, { contextLength: 131072, kvHeads: 8 }), attention: patterns(f, window, () => true) };
}

/** Qwen's layers from `max_window_layers` on see a window, where it is in use at all. */
function qwenPatterns(f: Fields): readonly AttentionPattern[] {
  f.only('use_mrope', false);
  const inUse = f.flag('use_sliding_window', false);
  const window = f.isMissing('sliding_window') ? 4096 : f.has('sliding_window') ? f.count('sliding_window') : undefined;
  const first = f.number('max_window_layers', 28);
  return patterns(f, inUse ? window : undefined, (layer) => layer >= first);
}

function qwen2(f: Fields): GPTConfigInput {
  return { ...llamaStyle(f, { contextLength: 32768, kvHeads: 32 }), bias: 'qkv', attention: qwenPatterns(f) };
}

function qwen3(f: Fields): GPTConfigInput {
  const shape = llamaStyle(f, { contextLength: 32768, kvHeads: 32, headSize: 128 });
  return { ...shape, qkNorm: true, bias: f.flag('attention_bias', false) ? 'attention' : false, attention: qwenPatterns(f) };
}

export const FAMILIES = { gpt2, 'openai-gpt': openaiGPT, llama, mistral, qwen2, qwen3 } as const;

/** The model types that are read and written. */
export type PretrainedType = keyof typeof FAMILIES;

export const PRETRAINED_TYPES = Object.keys(FAMILIES) as readonly PretrainedType[];

/** Built like GPT-1 and GPT-2: packed projections of shape (in, out), LayerNorm. The others are built like Llama. */
export const isGPT = (type: PretrainedType): boolean => type === 'gpt2' || type === 'openai-gpt';
