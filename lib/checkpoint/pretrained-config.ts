// config.json of a Hugging Face folder as a GPTConfig, and back. Fields that change the arithmetic in a way that a GPTConfig
// does not know are errors: a model that loads computes what its own library computes.
import { type GPTConfig, type GPTConfigInput, gptConfig } from '../models/index.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { isObject } from './json.ts';

export const PRETRAINED_TYPES = ['gpt2', 'llama'] as const;
export type PretrainedType = (typeof PRETRAINED_TYPES)[number];

/** The fields of a config.json, each checked when it is asked for. */
class Fields {
  readonly file: string;
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(file: string, fields: Readonly<Record<string, unknown>>, path = '') {
    this.file = file;
    this.#fields = fields;
    this.#path = path;
  }

  fail(name: string, expected: string): FileError {
    return new FileError(this.file, `${this.#path}${name} must be ${expected}, got ${show(this.#fields[name])}`);
  }

  /** null counts as absent, as it does in Python. */
  #get<T>(name: string, expected: string, is: (value: unknown) => value is T, fallback: T | undefined): T {
    const value = this.#fields[name] ?? fallback;
    if (!is(value)) throw this.fail(name, expected);
    return value;
  }

  /** A positive integer; required without a fallback. */
  count(name: string, fallback?: number): number {
    return this.#get(name, 'a positive integer', (x): x is number => Number.isSafeInteger(x) && (x as number) > 0, fallback);
  }

  number(name: string, fallback?: number): number {
    return this.#get(name, 'a number', (x): x is number => Number.isFinite(x), fallback);
  }

  flag(name: string, fallback: boolean): boolean {
    return this.#get(name, 'true or false', (x): x is boolean => typeof x === 'boolean', fallback);
  }

  choice<T>(name: string, choices: Readonly<Record<string, T>>, fallback: string): T {
    const expected = `one of ${Object.keys(choices).join(', ')}`;
    const key = this.#get(name, expected, (x): x is string => typeof x === 'string' && Object.hasOwn(choices, x), fallback);
    return choices[key] as T;
  }

  /** A field that must have this value, or be absent. */
  only(name: string, value: unknown): void {
    if ((this.#fields[name] ?? value) !== value) throw this.fail(name, `${JSON.stringify(value)}, the only value that is supported`);
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined && this.#fields[name] !== null;
  }

  object(name: string): Fields {
    const value = this.#get(name, 'an object', isObject, {});
    return new Fields(this.file, value, `${this.#path}${name}.`);
  }
}

/** Their names of the activations of GPT-2's feed-forward part. */
const ACTIVATIONS = {
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu: 'gelu_erf',
  relu: 'relu',
  relu2: 'relu2',
  silu: 'silu',
} as const;

function gpt2Fields(f: Fields): GPTConfigInput {
  f.only('scale_attn_weights', true);
  f.only('scale_attn_by_inverse_layer_idx', false);
  f.only('add_cross_attention', false);
  const width = f.count('n_embd');
  return {
    contextLength: f.count('n_positions', f.has('n_ctx') ? f.count('n_ctx') : 1024),
    layers: f.count('n_layer'),
    heads: f.count('n_head'),
    width,
    ffnWidth: f.count('n_inner', 4 * width),
    activation: f.choice('activation_function', ACTIVATIONS, 'gelu_new'),
    normEps: f.number('layer_norm_epsilon', 1e-5),
    dropout: { embedding: f.number('embd_pdrop', 0.1), attention: f.number('attn_pdrop', 0.1), residual: f.number('resid_pdrop', 0.1) },
    tiedHead: f.flag('tie_word_embeddings', true),
  };
}

/** Base of the rotary frequencies: `rope_theta`, or since transformers 5 `rope_parameters.rope_theta`. */
function ropeTheta(f: Fields): number {
  if (f.has('rope_scaling')) throw f.fail('rope_scaling', 'null: scaled rotary positions are not supported');
  f.only('partial_rotary_factor', 1);
  const parameters = f.object('rope_parameters');
  parameters.only('rope_type', 'default');
  parameters.only('partial_rotary_factor', 1);
  return parameters.has('rope_theta') ? parameters.number('rope_theta') : f.number('rope_theta', 10000);
}

function llamaFields(f: Fields): GPTConfigInput {
  const width = f.count('hidden_size');
  const heads = f.count('num_attention_heads');
  return {
    contextLength: f.count('max_position_embeddings', 2048),
    layers: f.count('num_hidden_layers'),
    heads,
    kvHeads: f.count('num_key_value_heads', heads),
    width,
    ...(f.has('head_dim') && { headSize: f.count('head_dim') }),
    ffnWidth: f.count('intermediate_size'),
    norm: 'rmsnorm',
    normBias: false,
    normEps: f.number('rms_norm_eps', 1e-6),
    activation: f.choice('hidden_act', { silu: 'swiglu' }, 'silu'),
    positions: 'rotary',
    ropeTheta: ropeTheta(f),
    // A GPTConfig knows one switch for all biases of a block: where the file has only some, the others begin at 0.
    bias: f.flag('attention_bias', false) || f.flag('mlp_bias', false),
    dropout: { embedding: 0, attention: f.number('attention_dropout', 0), residual: 0 },
    tiedHead: f.flag('tie_word_embeddings', false),
    scaledInit: false,
  };
}

export interface PretrainedConfig {
  readonly type: PretrainedType;
  readonly config: GPTConfig;
  /** Which linear layers have a bias in the file. */
  readonly biases: { readonly attention: boolean; readonly mlp: boolean };
}

/**
 * What a config.json says of the model. `overrides`: fields that do not touch the weights (dropout, padding of the vocabulary).
 * @throws FileError naming file and field: an unknown model_type, a missing field, a value that is not supported
 */
export function parsePretrainedConfig(file: string, json: unknown, overrides: GPTConfigInput = {}): PretrainedConfig {
  if (!isObject(json)) throw new FileError(file, `must hold a JSON object, got ${show(json)}`);
  const f = new Fields(file, json);
  const type = f.choice('model_type', { gpt2: 'gpt2', llama: 'llama' } as const, '');
  if (f.has('quantization_config')) throw f.fail('quantization_config', 'null: quantized weights are not supported');
  const fields = type === 'gpt2' ? gpt2Fields(f) : llamaFields(f);
  const biases =
    type === 'gpt2' ? { attention: true, mlp: true } : { attention: f.flag('attention_bias', false), mlp: f.flag('mlp_bias', false) };
  const common: GPTConfigInput = { vocabSize: f.count('vocab_size'), initStd: f.number('initializer_range', 0.02) };
  try {
    return { type, biases, config: gptConfig({ ...common, ...fields, ...overrides }) };
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new FileError(file, `its model is not supported: ${error.message}`, { cause: error });
  }
}

/** Their names of our activations; the first that stands for one. */
const ACTIVATION_NAMES = new Map(
  Object.entries(ACTIVATIONS)
    .toReversed()
    .map(([theirs, ours]) => [ours as string, theirs]),
);

/**
 * The config.json of a GPT that GPT-2's architecture can express. Missing biases are no obstacle: they are written as zeros.
 * @throws ArgumentError naming the first field that GPT-2 has no place for
 */
export function gpt2ConfigOf(c: GPTConfig, endOfText: number | null): Record<string, unknown> {
  const need = (fits: boolean, field: keyof GPTConfig, expected: string): void => {
    if (!fits)
      throw new ArgumentError(`savePretrained: ${field} must be ${expected} to be written as GPT-2, got ${JSON.stringify(c[field])}`);
  };
  need(c.norm === 'layernorm', 'norm', 'layernorm');
  need(c.normPosition === 'pre', 'normPosition', 'pre');
  need(c.finalNorm, 'finalNorm', 'true');
  need(c.positions === 'learned', 'positions', 'learned');
  need(c.activation !== 'swiglu', 'activation', `one of ${[...ACTIVATION_NAMES.keys()].join(', ')}`);
  need(!c.qkNorm, 'qkNorm', 'false');
  need(c.causal, 'causal', 'true');
  need(c.kvHeads === c.heads, 'kvHeads', `${c.heads}, the number of heads,`);
  need(c.headSize * c.heads === c.width, 'headSize', `${c.width / c.heads}, the width over the heads,`);
  need(
    c.attention.every((a) => a.window === undefined || a.window >= c.contextLength),
    'attention',
    'without windows',
  );
  return {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    vocab_size: c.vocabSize,
    n_positions: c.contextLength,
    n_embd: c.width,
    n_layer: c.layers,
    n_head: c.heads,
    n_inner: c.ffnWidth,
    activation_function: ACTIVATION_NAMES.get(c.activation),
    layer_norm_epsilon: c.normEps,
    embd_pdrop: c.dropout.embedding,
    attn_pdrop: c.dropout.attention,
    resid_pdrop: c.dropout.residual,
    initializer_range: c.initStd,
    tie_word_embeddings: c.tiedHead,
    bos_token_id: endOfText,
    eos_token_id: endOfText,
    torch_dtype: 'float32',
  };
}
