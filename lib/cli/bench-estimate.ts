// What a preset would take to train here, worked out from what was measured: time from the nearest measured training step, memory from sizes.
import type { GPTConfig } from '../models/config.ts';
import { gptConfig } from '../models/config.ts';
import { presetNames } from '../models/presets.ts';
import { countParameters, flopsPerToken } from '../models/size.ts';

/** Tokens of training for each parameter (Hoffmann et al. 2022, "Chinchilla"). */
export const TOKENS_PER_PARAMETER = 20;

/** Longer contexts are trained in sequences of this length. */
const LONGEST = 2048;

/** Longer than this on one processor or card is no plan. */
const PATIENCE_SECONDS = 30 * 86_400;

/** A training step as it was measured. */
export interface Measured {
  readonly preset: string;
  readonly parameters: number;
  readonly tokensPerSecond: number;
  /** Floating-point operations of the model per second, by `flopsPerToken`. */
  readonly flops: number;
}

export interface Estimate {
  readonly preset: string;
  readonly parameters: number;
  /** T: tokens of a sequence. */
  readonly length: number;
  /** Tokens of the whole training. */
  readonly tokens: number;
  /** Bytes to train on one sequence at a time. */
  readonly memory: number;
  readonly fits: boolean;
  readonly seconds: number;
  /** The preset whose measured step the time is worked out from. */
  readonly from: string;
  /** The time is out of reach here: it takes a GPU, or on a GPU several. */
  readonly outOfReach: boolean;
}

/**
 * Bytes to train on B sequences of T tokens: parameters, gradients and AdamW's two moments in f32, with 16-bit copies of the parameters where
 * `half`, and what backward reads of every layer, the logits and a layer's temporaries.
 */
export function trainingMemory(c: GPTConfig, B: number, T: number, half = false): number {
  const { total, padding } = countParameters(c);
  const stored = total + padding;
  const queries = c.heads * c.headSize;
  const packed = queries + 2 * c.kvHeads * c.headSize;
  const separate = c.positions === 'rotary' || c.qkNorm ? 2 * packed : 0; // q and k, normalised and turned
  const ffn = (c.activation === 'swiglu' ? 3 : 2) * c.ffnWidth;
  const layer = 4 * c.width + packed + separate + queries + c.heads + ffn;
  const logits = c.vocabSize + (c.paddedVocab > 1 ? c.paddedVocab : 0);
  const activations = B * T * (c.layers * layer + 2 * layer + logits) * (half ? 2 : 4);
  return stored * (half ? 18 : 16) + activations;
}

/** The measured step of the preset itself, or of the one nearest in size. */
function nearest(parameters: number, preset: string, measured: readonly Measured[]): Measured | undefined {
  const distance = (m: Measured) => (m.preset === preset ? -1 : Math.abs(Math.log(m.parameters / parameters)));
  return measured.toSorted((a, b) => distance(a) - distance(b))[0];
}

/** Every preset, by size. `memory`: bytes there are for training. Empty where nothing was measured. */
export function estimatePresets(measured: readonly Measured[], memory: number, half = false): Estimate[] {
  return presetNames
    .flatMap((preset): Estimate[] => {
      const config = gptConfig({}, preset);
      const { total: parameters } = countParameters(config);
      const from = nearest(parameters, preset, measured);
      if (from === undefined) return [];
      const length = Math.min(config.contextLength, LONGEST);
      const tokens = TOKENS_PER_PARAMETER * parameters;
      const bytes = trainingMemory(config, 1, length, half);
      const seconds = (tokens * flopsPerToken(config, length)) / from.flops;
      const outOfReach = seconds > PATIENCE_SECONDS;
      return [{ preset, parameters, length, tokens, memory: bytes, fits: bytes <= memory, seconds, from: from.preset, outOfReach }];
    })
    .toSorted((a, b) => a.parameters - b.parameters);
}
