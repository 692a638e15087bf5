import type { RopeScaling } from '../ops/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import { printable, show } from '../util/show.ts';
import { type PresetName, presetNames, presets } from './presets.ts';

export const NORMS = ['layernorm', 'rmsnorm'] as const;
export const NORM_POSITIONS = ['pre', 'post'] as const;
export const ACTIVATIONS = ['gelu_tanh', 'gelu_erf', 'relu', 'relu2', 'silu', 'swiglu'] as const;
export const POSITIONS = ['learned', 'sinusoidal', 'rotary', 'none'] as const;

/** Biases in some linear layers: in that to queries, keys and values (Qwen2), in both of the attention, in both of the feed-forward part. */
export const BIASES = ['qkv', 'attention', 'mlp'] as const;

export type PartialBias = (typeof BIASES)[number];
export type Norm = (typeof NORMS)[number];
export type NormPosition = (typeof NORM_POSITIONS)[number];
export type Activation = (typeof ACTIVATIONS)[number];
export type Positions = (typeof POSITIONS)[number];

/** Attention of one layer. Without a window each position sees all earlier ones; with one, itself and the `window - 1` before it. */
export interface AttentionPattern {
  readonly window?: number;
}

/** Probabilities in [0, 1) of the four places where GPT-2 drops: `residual` stands after both projections into the residual stream. */
export interface DropoutConfig {
  readonly embedding: number;
  readonly attention: number;
  readonly residual: number;
}

/**
 * Everything that fixes the shape and the arithmetic of a GPT: plain data that survives JSON unchanged.
 * Letters used in shapes: V vocabSize, T contextLength, L layers, H heads, C width, D headSize.
 */
export interface GPTConfig {
  /** V: the number of tokens that the tokenizer knows. */
  readonly vocabSize: number;
  /** The rows of the embedding are V rounded up to a multiple of this; the rows beyond V never receive a gradient. 1: no padding. */
  readonly paddedVocab: number;
  /** T: the longest sequence. */
  readonly contextLength: number;
  /** L: the number of blocks. */
  readonly layers: number;
  /** H: query heads of a layer. */
  readonly heads: number;
  /** Key and value heads; fewer than `heads` is grouped-query attention. Divides `heads`. */
  readonly kvHeads: number;
  /** C: the size of the residual stream. */
  readonly width: number;
  /** D: the size of one head, at most 256; H·D may differ from C. */
  readonly headSize: number;
  /** Hidden size of the feed-forward part. */
  readonly ffnWidth: number;
  readonly norm: Norm;
  readonly normEps: number;
  /** `pre`: x + f(norm(x)), as in GPT-2; `post`: norm(x + f(x)), as in GPT-1. */
  readonly normPosition: NormPosition;
  /** A norm between the last block and the head. */
  readonly finalNorm: boolean;
  /** Biases in the linear layers of the blocks: in all, in none, or in some (see `BIASES`); the head has none. */
  readonly bias: boolean | PartialBias;
  /** Biases in the LayerNorms; RMSNorm has none. */
  readonly normBias: boolean;
  readonly activation: Activation;
  readonly positions: Positions;
  /** Base of the rotary frequencies. */
  readonly ropeTheta: number;
  /**
   * Frequencies of a model whose context was stretched after training: divided by `factor`; with `context` only those that turn less than
   * `high` times within so many positions, those below `low` turns wholly (Llama 3.1). null: as they are.
   */
  readonly ropeScaling: RopeScaling | null;
  /** Rotate neighbours (0,1), (2,3), … instead of the two halves of a head. */
  readonly ropeInterleaved: boolean;
  /** The leading share of each head that is rotated, in (0, 1]. */
  readonly rotaryFraction: number;
  /** RMSNorm with a weight (D) on every query and key head, before the rotation. */
  readonly qkNorm: boolean;
  /** The head uses the token embedding. */
  readonly tiedHead: boolean;
  /** false: every position sees every other one. */
  readonly causal: boolean;
  /** Attention per layer; a shorter list repeats, so `[{}, { window: 256 }]` alternates dense and banded layers. */
  readonly attention: readonly AttentionPattern[];
  readonly dropout: DropoutConfig;
  /** Standard deviation of the initial weights. */
  readonly initStd: number;
  /** Divide the standard deviation of the projections into the residual stream by √(2L), as GPT-2 does. */
  readonly scaledInit: boolean;
}

/** What a caller may give: any field may be missing, dropout in part too. One number as dropout stands for all its places. */
export type GPTConfigInput = Partial<Omit<GPTConfig, 'dropout'>> & { readonly dropout?: number | Partial<DropoutConfig> };

/** A field that does not hold what it should; `field` is a path such as `attention.1.window`. */
export interface ConfigProblem {
  readonly field: string;
  readonly expected: string;
  readonly got: unknown;
}

const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 1;

function checkScaling(scaling: RopeScaling, bad: (field: string, expected: string, got: unknown) => void): void {
  if (typeof scaling !== 'object') {
    bad('ropeScaling', 'null or { factor }, { factor, context, low, high }', scaling);
    return;
  }
  const isPositive = (x: unknown): boolean => Number.isFinite(x) && (x as number) > 0;
  const { factor, context, low, high, ...rest } = scaling;
  for (const [name, value] of Object.entries(rest)) bad(`ropeScaling.${name}`, 'absent', value);
  if (!isPositive(factor)) bad('ropeScaling.factor', 'a positive number', factor);
  if (context === undefined) {
    for (const [name, value] of Object.entries({ low, high }))
      if (value !== undefined) bad(`ropeScaling.${name}`, 'absent without ropeScaling.context', value);
    return;
  }
  if (!isCount(context)) bad('ropeScaling.context', 'a positive integer', context);
  if (!isPositive(low)) bad('ropeScaling.low', 'a positive number', low);
  if (!(isPositive(high) && (high as number) > (low as number))) bad('ropeScaling.high', 'a number above ropeScaling.low', high);
}

/** Calls `bad` for every field whose own value, looked at alone, is wrong. */
function checkFields(c: GPTConfig, bad: (field: string, expected: string, got: unknown) => void): void {
  const record = c as unknown as Record<string, unknown>;
  const counts = ['vocabSize', 'paddedVocab', 'contextLength', 'layers', 'heads', 'kvHeads', 'width', 'headSize', 'ffnWidth'];
  for (const field of counts) if (!isCount(record[field])) bad(field, 'a positive integer', record[field]);
  if (typeof c.bias !== 'boolean' && !(BIASES as readonly unknown[]).includes(c.bias))
    bad('bias', `true, false or one of ${BIASES.join(', ')}`, c.bias);
  for (const field of ['finalNorm', 'normBias', 'ropeInterleaved', 'qkNorm', 'tiedHead', 'causal', 'scaledInit']) {
    if (typeof record[field] !== 'boolean') bad(field, 'true or false', record[field]);
  }
  for (const field of ['normEps', 'ropeTheta', 'initStd']) {
    if (!(Number.isFinite(record[field]) && (record[field] as number) > 0)) bad(field, 'a positive number', record[field]);
  }
  const choices = { norm: NORMS, normPosition: NORM_POSITIONS, activation: ACTIVATIONS, positions: POSITIONS };
  for (const [field, names] of Object.entries(choices)) {
    if (!(names as readonly unknown[]).includes(record[field])) bad(field, `one of ${names.join(', ')}`, record[field]);
  }
  if (c.ropeScaling !== null) checkScaling(c.ropeScaling, bad);
  if (!(c.rotaryFraction > 0 && c.rotaryFraction <= 1)) bad('rotaryFraction', 'above 0 and at most 1', c.rotaryFraction);
  for (const place of ['embedding', 'attention', 'residual'] as const) {
    const p = c.dropout[place];
    if (!(typeof p === 'number' && p >= 0 && p < 1)) bad(`dropout.${place}`, 'at least 0 and below 1', p);
  }
  if (!Array.isArray(c.attention) || c.attention.length === 0) {
    bad('attention', 'a list of one pattern or more, such as [{}, { window: 256 }]', c.attention);
    return;
  }
  for (const [i, pattern] of c.attention.entries()) {
    if (typeof pattern !== 'object' || pattern === null) bad(`attention.${i}`, '{} or { window: N }', pattern);
    else if (pattern.window !== undefined && !isCount(pattern.window)) bad(`attention.${i}.window`, 'a positive integer', pattern.window);
  }
}

/** Calls `bad` for fields that do not go with each other; every field alone is sound. */
function checkRelations(c: GPTConfig, bad: (field: string, expected: string, got: unknown) => void): void {
  if (c.headSize > 256) bad('headSize', 'at most 256', c.headSize);
  if (c.heads % c.kvHeads !== 0) bad('kvHeads', `a divisor of heads (${c.heads})`, c.kvHeads);
  if (c.attention.length > c.layers)
    bad('attention', `at most as long as there are layers (${c.layers})`, `${c.attention.length} patterns`);
  if (c.norm === 'rmsnorm' && c.normBias) bad('normBias', 'false for rmsnorm, which has no bias', true);
  if (c.positions === 'sinusoidal' && c.width % 2 !== 0) bad('width', 'even for sinusoidal positions', c.width);
  if (c.positions === 'rotary') {
    const rotated = c.headSize * c.rotaryFraction;
    if (!Number.isInteger(rotated) || rotated % 2 !== 0) {
      bad(
        'rotaryFraction',
        `such that an even number of the head's ${c.headSize} elements is rotated`,
        `${c.rotaryFraction} (${rotated} elements)`,
      );
    }
  }
}

/** All that is wrong with a complete configuration; empty when it is sound. */
export function gptConfigProblems(config: GPTConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const bad = (field: string, expected: string, got: unknown) => void problems.push({ field, expected, got });
  checkFields(config, bad);
  if (problems.length === 0) checkRelations(config, bad);
  return problems;
}

/** Rounds up to a multiple. */
const roundUp = (x: number, multiple: number): number => Math.ceil(x / multiple) * multiple;

/** Llama's rule for SwiGLU keeps the parameters of a plain 4·C layer: two thirds of it, rounded up to a multiple of 64. */
const defaultFfnWidth = (width: number, activation: Activation): number =>
  activation === 'swiglu' ? roundUp((8 * width) / 3, 64) : 4 * width;

/** `gptConfigProblems` after defaults are filled in, with the filled configuration. */
export function fillGPTConfig(input: GPTConfigInput, preset?: string): { config: GPTConfig; problems: ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  const base = preset === undefined ? {} : gptPreset(preset);
  const given: GPTConfigInput = { ...base, ...dropUndefined(input) };
  // A preset's derived sizes belong to its own width and heads: with another width or other heads they are derived anew.
  const inherited = (field: 'headSize' | 'ffnWidth' | 'kvHeads', parents: readonly (keyof GPTConfigInput)[]): number | undefined =>
    input[field] === undefined && parents.some((p) => input[p] !== undefined) ? undefined : given[field];

  const width = given.width ?? 768;
  const heads = given.heads ?? 12;
  const norm = given.norm ?? 'layernorm';
  const activation = given.activation ?? 'gelu_tanh';
  const normPosition = given.normPosition ?? 'pre';
  const bias = given.bias ?? true;
  let headSize = inherited('headSize', ['width', 'heads']);
  if (headSize === undefined) {
    headSize = width / heads;
    if (isCount(width) && isCount(heads) && !isCount(headSize)) {
      problems.push({ field: 'width', expected: `divisible by heads (${heads}) unless headSize is given`, got: width });
    }
  }
  const drop = given.dropout ?? 0;
  const baseDrop: GPTConfigInput['dropout'] = preset === undefined ? undefined : (base as GPTConfigInput).dropout;
  const all = typeof drop === 'number' ? drop : typeof baseDrop === 'number' ? baseDrop : 0;
  const dropout = { embedding: all, attention: all, residual: all };
  if (typeof drop !== 'number') Object.assign(dropout, typeof baseDrop === 'object' ? baseDrop : {}, dropUndefined(drop));

  const config: GPTConfig = {
    vocabSize: given.vocabSize ?? 50257,
    paddedVocab: given.paddedVocab ?? 1,
    contextLength: given.contextLength ?? 1024,
    layers: given.layers ?? 12,
    heads,
    kvHeads: inherited('kvHeads', ['heads']) ?? heads,
    width,
    headSize,
    ffnWidth: inherited('ffnWidth', ['width', 'activation']) ?? defaultFfnWidth(width, activation),
    norm,
    normEps: given.normEps ?? 1e-5,
    normPosition,
    finalNorm: given.finalNorm ?? normPosition === 'pre',
    bias,
    normBias: given.normBias ?? (norm === 'layernorm' && bias === true),
    activation,
    positions: given.positions ?? 'learned',
    ropeTheta: given.ropeTheta ?? 10000,
    ropeScaling: given.ropeScaling ?? null,
    ropeInterleaved: given.ropeInterleaved ?? false,
    rotaryFraction: given.rotaryFraction ?? 1,
    qkNorm: given.qkNorm ?? false,
    tiedHead: given.tiedHead ?? true,
    causal: given.causal ?? true,
    attention: given.attention ?? [{}],
    dropout,
    initStd: given.initStd ?? 0.02,
    scaledInit: given.scaledInit ?? true,
  };
  // A head size that could not be derived is already told as a problem of the width.
  for (const p of gptConfigProblems(config)) if (problems.length === 0 || p.field !== 'headSize') problems.push(p);
  return { config, problems };
}

/**
 * A complete, checked configuration: `input` over the preset's fields over the defaults (those of GPT-2 124M without dropout).
 * Sizes that follow from others (`headSize`, `kvHeads`, `ffnWidth`) follow when their parents are given.
 * @throws ArgumentError naming field, expected and got, for the first field that is wrong, or an unknown preset or field.
 */
export function gptConfig(input: GPTConfigInput = {}, preset?: PresetName | (string & {})): GPTConfig {
  const { config, problems } = fillGPTConfig(input, preset);
  for (const key of Object.keys(input)) {
    if (Object.hasOwn(config, key)) continue;
    const near = nearest(key, Object.keys(config));
    throw new ArgumentError(`gptConfig: ${printable(key, 80)} is not known${near === undefined ? '' : `; did you mean ${near}?`}`);
  }
  const first = problems[0];
  if (first !== undefined) {
    throw new ArgumentError(`gptConfig: ${first.field} must be ${first.expected}, got ${show(first.got)}`);
  }
  return config;
}

/** The fields that a preset fixes. @throws ArgumentError for an unknown name, with the nearest known one. */
export function gptPreset(name: string): GPTConfigInput {
  if (Object.hasOwn(presets, name)) return presets[name as PresetName];
  const near = nearest(name, presetNames);
  throw new ArgumentError(`gptConfig: preset must be one of ${presetNames.join(', ')}, got ${show(name)}`, {
    ...(near === undefined ? {} : { hint: `Did you mean ${near}?` }),
  });
}

/** The attention pattern of a layer (0-based): the list repeats. */
export function attentionOfLayer(config: GPTConfig, layer: number): AttentionPattern {
  return config.attention[layer % config.attention.length] ?? {};
}

/** Which linear layers of a block have a bias. */
export function biasesOf({ bias }: Pick<GPTConfig, 'bias'>): { readonly qkv: boolean; readonly proj: boolean; readonly mlp: boolean } {
  return {
    qkv: bias === true || bias === 'qkv' || bias === 'attention',
    proj: bias === true || bias === 'attention',
    mlp: bias === true || bias === 'mlp',
  };
}

/** Rows of the embedding in storage: V rounded up to a multiple of `paddedVocab`. */
export function paddedVocabSize(config: GPTConfig): number {
  return roundUp(config.vocabSize, config.paddedVocab);
}

function dropUndefined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}
