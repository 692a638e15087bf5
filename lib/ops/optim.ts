import { type Handle, native } from '../native/addon.ts';
import { empty } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

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
  /** Factor that the gradients carried. */
  lossScale: number;
  /** What `noteLoss` put beside them. */
  loss: number;
}

/** Words of the state (native/core/step_state.h). */
const [UPDATES, SKIP, LR, CLIP, NORM, SCALE, LOSS, NEXT_LR, WORDS] = [0, 1, 2, 3, 4, 5, 6, 7, 16];

/** The device memory that holds what changes every step; f32, because most of its words are. */
export function stepState(device: Device): Tensor {
  const state = empty([WORDS], { device });
  writeStepState(state, 0);
  return state;
}

/** Starts over at `updates` updates. */
export function writeStepState(state: Tensor, updates: number, lossScale = 1): void {
  const floats = new Float32Array(WORDS);
  new Int32Array(floats.buffer)[UPDATES] = updates;
  floats[CLIP] = 1;
  floats[SCALE] = lossScale;
  native.write(state.handle, floats);
}

function withWord(state: Tensor, word: number, use: (view: Handle) => void): void {
  const view = native.slice(state.handle, 0, word, word + 1, 1);
  try {
    use(view);
  } finally {
    native.dispose(view);
  }
}

/** The factor that gradients carry from now on. */
export function writeLossScale(state: Tensor, lossScale: number): void {
  withWord(state, SCALE, (view) => native.write(view, Float32Array.of(lossScale)));
}

/** The learning rate of the next step. */
export function writeLearningRate(state: Tensor, learningRate: number): void {
  if (!(learningRate >= 0)) throw new ArgumentError(`step: lr must be at least 0, got ${learningRate}`);
  withWord(state, NEXT_LR, (view) => native.write(view, Float32Array.of(learningRate)));
}

/** Puts a loss of one element into the state, or adds it to what is there, so that one read gives all figures of a step. */
export function noteLoss(state: Tensor, loss: Tensor, add = false): void {
  withWord(state, LOSS, (view) => {
    if (add) native.binaryInto(view, loss.handle, 'add', view, false);
    else native.copyInto(view, loss.handle);
  });
}

export async function readStepState(state: Tensor): Promise<StepReport> {
  const bytes = await native.read(state.handle);
  const [words, floats] = [new Int32Array(bytes), new Float32Array(bytes)];
  const at = (i: number): number => floats[i] as number;
  return {
    ...{ updates: words[UPDATES] as number, skipped: words[SKIP] !== 0, learningRate: at(LR), clip: at(CLIP), gradNorm: at(NORM) },
    ...{ lossScale: at(SCALE), loss: at(LOSS) },
  };
}

/** Sets the learning rate of the coming update and counts it; without `keepClip` forgets the last clip factor. */
export function stepBegin(state: Tensor, learningRate: number | null, keepClip: boolean): void {
  if (learningRate !== null) writeLearningRate(state, learningRate);
  native.stepBegin(state.handle, keepClip);
}

/** Global norm of the flat gradient, the clip factor for `maxNorm` (0: none) and whether all is finite, into the state. */
export function gradNorm(gradient: Tensor, state: Tensor, maxNorm: number): void {
  native.gradNorm(gradient.handle, state.handle, maxNorm);
}

export interface OptimizerStep {
  kind: OptimizerKind;
  /** Flat buffers of one length; f32, or bf16 without a copy. */
  values: Tensor;
  /** f32. */
  gradient: Tensor;
  /** f32, or both bf16. */
  m: Tensor | null;
  v: Tensor | null;
  /** bf16 or f16: gets the values rounded. */
  copy?: Tensor | null;
  state: Tensor;
  /** The first so many elements decay. */
  decayCount: number;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  dampening: number;
  nesterov: boolean;
  /** Of the random bits that round what is kept in bf16. Default 0. */
  seed?: number;
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
      s.copy?.handle ?? null,
      s.state.handle,
      s.decayCount,
    ] as const),
    ...([s.betas[0], s.betas[1], s.eps, s.weightDecay, s.dampening, s.nesterov, s.seed ?? 0] as const),
  );
}

/** Muon's momentum: m = β m + (1 - β) g; the result, written to `x` where that is given, is m, or with Nesterov (1 - β) g + β m. */
export function muonMomentum(gradient: Tensor, m: Tensor, state: Tensor, beta: number, nesterov: boolean, x?: Tensor): Tensor {
  const result = x ?? empty(gradient.shape, { device: gradient.device });
  native.muonMomentum(gradient.handle, m.handle, result.handle, state.handle, beta, nesterov);
  return result;
}

/** p = p (1 - lr·wd) - lr · ratio · x; `copy` (bf16 or f16) gets p rounded. */
export function muonApply(values: Tensor, x: Tensor, state: Tensor, weightDecay: number, ratio: number, copy: Tensor | null = null): void {
  native.muonApply(values.handle, x.handle, copy?.handle ?? null, state.handle, weightDecay, ratio);
}
