// LoRA on a GPT: its matrices freeze, and a change of low rank of each is learned.
import { noGrad } from '../autograd/index.ts';
import { type Linear, LoRA, type LoRAOptions, seedsFrom } from '../nn/index.ts';
import { copyInto } from '../ops/index.ts';
import { scope } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import type { GPTConfig } from './config.ts';
import type { GPT } from './gpt.ts';
import { LORA_TARGETS, type LoRATarget } from './lora-targets.ts';

export interface AddLoRAOptions extends Omit<LoRAOptions, 'device' | 'dora'> {
  /** DoRA: the lengths of the changed matrices' rows are learned apart from their directions. Default false. */
  dora?: boolean;
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
}

/** Seeds of the changes begin here: not with those of the model's own parameters. */
const FIRST_SEED = 0x8000;

function linearOf(model: GPT, block: number, target: LoRATarget): Linear {
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
export function* lorasOf(model: GPT): Generator<{ block: number; target: LoRATarget; linear: Linear; lora: LoRA }> {
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
  };
}

/** Numbers that the changes of a model consist of. */
export function countLoRA(c: GPTConfig, { rank, targets, dora }: Pick<LoRAConfig, 'rank' | 'targets' | 'dora'>): number {
  const inputs = { qkv: c.width, proj: c.heads * c.headSize, up: c.width, down: c.ffnWidth };
  const sizes = targets.map((target) => {
    const parts = loraParts(c, target);
    const rows = parts.reduce((sum, n) => sum + n, 0);
    return rank * (parts.length * inputs[target] + rows) + (dora ? rows : 0);
  });
  return c.layers * sizes.reduce((sum, size) => sum + size, 0);
}

/** @throws ArgumentError where a file of whole weights would leave the changes out */
export function requireNoLoRA(model: GPT, what: string): void {
  if (!lorasOf(model).next().done)
    throw new ArgumentError(`${what}: the model has changes (LoRA): mergeLoRA adds them, saveLoRA saves them alone`);
}

/**
 * Freezes the model and gives each block's matrices a change of rank r that is learned in their place. Made before the optimizer. Gives
 * the numbers of learned and of all parameters.
 * @throws ArgumentError when the model has changes already
 */
export function addLoRA(model: GPT, options: AddLoRAOptions): { learned: number; all: number } {
  const { targets = LORA_TARGETS, seed, dora = false, ...own } = options;
  const seeds = own.seeds ?? seedsFrom(seed, FIRST_SEED);
  for (const target of targets)
    if (!LORA_TARGETS.includes(target))
      throw new ArgumentError(`addLoRA: targets must be of ${LORA_TARGETS.join(', ')}, got ${JSON.stringify(target)}`);
  if (targets.length === 0) throw new ArgumentError('addLoRA: targets must name at least one matrix, got none');
  if (!lorasOf(model).next().done) throw new ArgumentError('addLoRA: the model has changes already: mergeLoRA or removeLoRA first');
  const frozen = model.parameters();
  const placed = frozen.find((p) => p.placed);
  if (placed) throw new ArgumentError('addLoRA: the model must not belong to an optimizer yet', { hint: 'Dispose of the trainer first.' });
  const made: { linear: Linear; lora: LoRA }[] = [];
  try {
    for (let block = 0; block < model.blocks.length; block++)
      for (const target of LORA_TARGETS) {
        if (!targets.includes(target)) continue;
        const linear = linearOf(model, block, target);
        const inFeatures = linear.weight.shape[1] as number;
        made.push({
          linear,
          lora: new LoRA(inFeatures, loraParts(model.config, target), {
            ...own,
            seeds,
            device: model.device,
            ...(dora && { dora: linear.weight }),
          }),
        });
      }
    for (const { linear, lora } of made) lora.computeIn(linear.compute);
  } catch (error) {
    for (const { lora } of made) lora.dispose();
    throw error;
  }
  for (const p of frozen) p.requiresGrad = false;
  for (const { linear, lora } of made) linear.lora = lora;
  const all = model.parameterCount();
  return { learned: model.trainableCount(), all };
}

/** Takes the changes away again; the model is as before, and learns itself. */
export function removeLoRA(model: GPT): void {
  for (const { linear, lora } of lorasOf(model)) {
    if (lora.parameters().some((p) => p.placed))
      throw new ArgumentError('removeLoRA: the changes must not belong to an optimizer any more', {
        hint: 'Dispose of the trainer first.',
      });
    linear.lora = null;
    lora.dispose();
  }
  for (const p of model.parameters()) p.requiresGrad = true;
}

/** Adds the changes to the matrices, W + (alpha / r) B A: a model like any other, which computes the same. */
export function mergeLoRA(model: GPT): void {
  noGrad(() => {
    for (const { linear, lora } of lorasOf(model)) {
      scope(() => copyInto(linear.weight, lora.merged(linear.weight)));
      linear.weight.refreshCompute();
    }
  });
  removeLoRA(model);
}
