// LoRA on a GPT: its matrices freeze, and a change of low rank of each is learned.
import { noGrad } from '../autograd/index.ts';
import { computeType, LoRA, type LoRAOptions, NF4Matrix, nf4Elements, Parameter, seedsFrom } from '../nn/index.ts';
import { cast, copyInto } from '../ops/index.ts';
import { allOrNone, scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import type { BlockLinear } from './block.ts';
import type { GPTConfig } from './config.ts';
import type { GPT } from './gpt.ts';
import { LORA_TARGETS, type LoRATarget, QUANTIZATIONS, type Quantization } from './lora-targets.ts';

export interface AddLoRAOptions extends Omit<LoRAOptions, 'device' | 'dora'> {
  /** DoRA: the lengths of the changed matrices' rows are learned apart from their directions. Default false. */
  dora?: boolean;
  /** `nf4`: the changed matrices are kept in 4 bits (QLoRA), which changes what the model computes a little. Default none. */
  quantize?: Quantization;
  /** Default: all four. */
  targets?: readonly LoRATarget[];
  /** The same seed gives the same initial changes. Default: the sequence that `manualSeed` starts. */
  seed?: number;
}

/** What makes the changes of a model again, but for their values. */
export interface LoRAConfig {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targets: readonly LoRATarget[];
  readonly dora: boolean;
  readonly quantize: Quantization;
}

/** Seeds of the changes begin here: not with those of the model's own parameters. */
const FIRST_SEED = 0x8000;

function linearOf(model: GPT, block: number, target: LoRATarget): BlockLinear {
  const { attn, mlp } = model.blocks[block] as GPT['blocks'][number];
  return target === 'qkv' || target === 'proj' ? attn[target] : mlp[target];
}

/** Rows of the matrices that one of ours holds. Models with SwiGLU have files in which q, k and v, gate and up are apart; GPT's are not. */
export function loraParts(c: GPTConfig, target: LoRATarget): number[] {
  const [q, kv] = [c.heads * c.headSize, c.kvHeads * c.headSize];
  const apart = c.activation === 'swiglu';
  switch (target) {
    case 'qkv':
      return apart ? [q, kv, kv] : [q + 2 * kv];
    case 'up':
      return apart ? [c.ffnWidth, c.ffnWidth] : [c.ffnWidth];
    default:
      return [c.width];
  }
}

/** The changes that a model has, by block and matrix. */
export function* lorasOf(model: GPT): Generator<{ block: number; target: LoRATarget; linear: BlockLinear; lora: LoRA }> {
  for (let block = 0; block < model.blocks.length; block++)
    for (const target of LORA_TARGETS) {
      const linear = linearOf(model, block, target);
      if (linear.lora) yield { block, target, linear, lora: linear.lora };
    }
}

/** The changes that a model has; null: none. */
export function loraConfigOf(model: GPT): LoRAConfig | null {
  const loras = [...lorasOf(model)];
  const [first] = loras;
  if (!first) return null;
  const { rank, alpha, dropout, magnitude } = first.lora;
  return {
    rank,
    alpha,
    dropout,
    dora: magnitude !== null,
    targets: LORA_TARGETS.filter((target) => loras.some((l) => l.target === target)),
    quantize: first.linear.weight instanceof NF4Matrix ? 'nf4' : 'none',
  };
}

/** Columns of the matrices. */
const inputsOf = (c: GPTConfig): Record<LoRATarget, number> => ({
  qkv: c.width,
  proj: c.heads * c.headSize,
  up: c.width,
  down: c.ffnWidth,
});

/** Numbers that the changes of a model consist of. */
export function countLoRA(c: GPTConfig, { rank, targets, dora }: Pick<LoRAConfig, 'rank' | 'targets' | 'dora'>): number {
  const inputs = inputsOf(c);
  const sizes = targets.map((target) => {
    const parts = loraParts(c, target);
    const rows = parts.reduce((sum, n) => sum + n, 0);
    return rank * (parts.length * inputs[target] + rows) + (dora ? rows : 0);
  });
  return c.layers * sizes.reduce((sum, size) => sum + size, 0);
}

/** How many tensor elements fewer (or more) a model has that keeps the changed matrices in NF4. */
export function quantizedElements(c: GPTConfig, { targets, quantize }: Pick<LoRAConfig, 'targets' | 'quantize'>): number {
  if (quantize === 'none') return 0;
  const inputs = inputsOf(c);
  const sizes = targets.map((target) => inputs[target] * loraParts(c, target).reduce((sum, n) => sum + n, 0));
  return c.layers * sizes.reduce((sum, n) => sum + nf4Elements(n) - n, 0);
}

/** @throws ArgumentError where a file of whole weights would leave the changes out */
export function requireNoLoRA(model: GPT, what: string): void {
  if (!lorasOf(model).next().done)
    throw new ArgumentError(`${what}: the model has changes (LoRA): mergeLoRA adds them, saveLoRA saves them alone`);
}

/**
 * Freezes the model and gives each block's matrices a change of rank r that is learned in their place; with `quantize` these matrices
 * are from then on kept in NF4. Made before the optimizer. Gives the numbers of learned and of all parameters.
 * @throws ArgumentError when the model has changes already
 */
export function addLoRA(model: GPT, options: AddLoRAOptions): { learned: number; all: number } {
  const { targets = LORA_TARGETS, seed, dora = false, quantize = 'none', ...own } = options;
  const seeds = own.seeds ?? seedsFrom(seed, FIRST_SEED);
  for (const target of targets)
    if (!LORA_TARGETS.includes(target))
      throw new ArgumentError(`addLoRA: targets must be of ${LORA_TARGETS.join(', ')}, got ${JSON.stringify(target)}`);
  if (!QUANTIZATIONS.includes(quantize))
    throw new ArgumentError(`addLoRA: quantize must be one of ${QUANTIZATIONS.join(', ')}, got ${JSON.stringify(quantize)}`);
  if (targets.length === 0) throw new ArgumentError('addLoRA: targets must name at least one matrix, got none');
  if (!lorasOf(model).next().done) throw new ArgumentError('addLoRA: the model has changes already: mergeLoRA or removeLoRA first');
  const frozen = model.parameters();
  const placed = frozen.find((p) => p.placed);
  if (placed) throw new ArgumentError('addLoRA: the model must not belong to an optimizer yet', { hint: 'Dispose of the trainer first.' });
  const made: { linear: BlockLinear; lora: LoRA }[] = [];
  try {
    for (let block = 0; block < model.blocks.length; block++)
      for (const target of LORA_TARGETS) {
        if (!targets.includes(target)) continue;
        const linear = linearOf(model, block, target);
        const { weight, lora } = allOrNone(() => {
          const weight = quantize === 'nf4' ? quantized(linear) : linear.weight;
          const lora = new LoRA(weight.shape[1] as number, loraParts(model.config, target), {
            ...{ ...own, seeds, device: model.device },
            ...(dora && { dora: weight }),
          });
          return { weight, lora: lora.computeIn(linear.compute) };
        });
        made.push({ linear, lora });
        replaceWeight(linear, weight); // at once: the next matrix finds the memory that this one gave back
      }
  } catch (error) {
    for (const { linear, lora } of made) {
      lora.dispose();
      takeOut(linear);
    }
    throw error;
  }
  for (const p of frozen) p.requiresGrad = false;
  for (const { linear, lora } of made) linear.lora = lora;
  const all = model.parameterCount();
  return { learned: model.trainableCount(), all };
}

function replaceWeight(linear: BlockLinear, weight: BlockLinear['weight']): void {
  if (linear.weight === weight) return;
  linear.weight.dispose();
  linear.weight = weight;
}

/** The weight in NF4. */
const quantized = ({ weight }: BlockLinear): NF4Matrix => (weight instanceof NF4Matrix ? weight : new NF4Matrix(weight));

/** A weight in NF4 as a parameter again. */
function takeOut(linear: BlockLinear): void {
  if (linear.weight instanceof NF4Matrix) replaceWeight(linear, parameterOf(linear.weight.values(), linear));
}

/** Keeps the matrices that have changes in NF4 from now on: QLoRA. */
export function quantizeLoRA(model: GPT): void {
  for (const { linear } of lorasOf(model)) replaceWeight(linear, quantized(linear));
}

/** Takes the changes away again; the model is as before, and learns itself. What was kept in NF4 stays rounded to it. */
export function removeLoRA(model: GPT): void {
  for (const { linear, lora } of lorasOf(model)) {
    if (lora.parameters().some((p) => p.placed))
      throw new ArgumentError('removeLoRA: the changes must not belong to an optimizer any more', {
        hint: 'Dispose of the trainer first.',
      });
    takeOut(linear);
    linear.lora = null;
    lora.dispose();
  }
  for (const p of model.parameters()) p.requiresGrad = true;
}

/** A matrix's values as a parameter that computes as its layer does. */
function parameterOf(values: Tensor, linear: BlockLinear): Parameter {
  const parameter = new Parameter(values);
  const type = computeType(linear.compute, parameter.device);
  if (type !== 'f32') parameter.computeWith(noGrad(() => cast(parameter, type)));
  return parameter;
}

/**
 * Adds the changes to the matrices, W + (alpha / r) B A: a model like any other, which computes the same. Matrices in NF4 are taken out of
 * it, for W.
 */
export function mergeLoRA(model: GPT): void {
  noGrad(() => {
    for (const { linear, lora } of lorasOf(model)) {
      const { weight } = linear;
      if (weight instanceof NF4Matrix) {
        replaceWeight(linear, parameterOf(lora.merged(weight), linear));
        continue;
      }
      scope(() => copyInto(weight, lora.merged(weight)));
      weight.refreshCompute();
    }
  });
  removeLoRA(model);
}
