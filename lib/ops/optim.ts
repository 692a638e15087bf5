import { native } from '../native/addon.ts';
import { empty, full } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import type { Tensor } from '../tensor/tensor.ts';

export type OptimizerKind = Parameters<typeof native.optimizerStep>[0];

/** What an optimizer step read and found. */
export interface StepReport {
  /** Updates so far: t of Adam's bias correction. */
  updates: number;
  /** The gradients were not finite and the parameters stayed as they were. */
  skipped: boolean;
  learningRate: number;
  /** Factor that clipping put on the gradients. */
  clip: number;
  /** Global norm before clipping. */
  gradNorm: number;
}

/** The device memory that holds what changes every step (native/core/step_state.h). */
export function stepState(device: Device): Tensor {
  const state = full([16], 0, { dtype: 'i32', device });
  writeStepState(state, 0);
  return state;
}

/** Starts over at `updates` updates. */
export function writeStepState(state: Tensor, updates: number): void {
  const words = new Int32Array(16);
  const floats = new Float32Array(words.buffer);
  words[0] = updates;
  floats[3] = 1; // clip
  floats[5] = 1; // loss scale
  state.set(words);
}

export async function readStepState(state: Tensor): Promise<StepReport> {
  const words = (await state.data()) as Int32Array;
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const at = (i: number): number => floats[i] as number;
  return { updates: words[0] as number, skipped: words[1] !== 0, learningRate: at(2), clip: at(3), gradNorm: at(4) };
}

/** Sets the learning rate of the coming update and counts it; without `keepClip` forgets the last clip factor. */
export function stepBegin(state: Tensor, learningRate: number, keepClip: boolean): void {
  native.stepBegin(state.handle, learningRate, keepClip);
}

/** Global norm of the flat gradient, the clip factor for `maxNorm` (0: none) and whether all is finite, into the state. */
export function gradNorm(gradient: Tensor, state: Tensor, maxNorm: number): void {
  native.gradNorm(gradient.handle, state.handle, maxNorm);
}

export interface OptimizerStep {
  kind: OptimizerKind;
  /** Flat f32 buffers of one length. */
  values: Tensor;
  gradient: Tensor;
  m: Tensor | null;
  v: Tensor | null;
  state: Tensor;
  /** The first so many elements decay. */
  decayCount: number;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  dampening: number;
  nesterov: boolean;
}

/** One fused update of all parameters (formulas: OptimizerArgs in native/ops/backend.h). */
export function optimizerStep(s: OptimizerStep): void {
  native.optimizerStep(
    ...([
      s.kind,
      s.values.handle,
      s.gradient.handle,
      s.m?.handle ?? null,
      s.v?.handle ?? null,
      null,
      s.state.handle,
      s.decayCount,
    ] as const),
    ...([s.betas[0], s.betas[1], s.eps, s.weightDecay, s.dampening, s.nesterov] as const),
  );
}

/** Muon's momentum: m = β m + (1 - β) g; the result is m, or with Nesterov (1 - β) g + β m. */
export function muonMomentum(gradient: Tensor, m: Tensor, state: Tensor, beta: number, nesterov: boolean): Tensor {
  const x = empty(gradient.shape, { device: gradient.device });
  native.muonMomentum(gradient.handle, m.handle, x.handle, state.handle, beta, nesterov);
  return x;
}

/** p = p (1 - lr·wd) - lr · ratio · x. */
export function muonApply(values: Tensor, x: Tensor, state: Tensor, weightDecay: number, ratio: number): void {
  native.muonApply(values.handle, x.handle, null, state.handle, weightDecay, ratio);
}
