// Plain values: a configuration is read without the native addon.
export const COMPUTES = ['f32', 'tf32', 'bf16', 'f16', 'fp8'] as const;

/**
 * What a model computes with; its parameters are f32 always. `tf32`: f32 whose matrix products round their operands to TF32 where
 * the device can. `bf16`, `f16`: activations and a copy of the parameters in that type; sums, statistics and the gradients of
 * parameters stay f32. On the CPU `bf16` is f32 whose matrix products round their operands, where the processor multiplies bf16
 * (AMX, AVX-512 BF16) and the product has more than a few rows; other processors compute it in f32. `fp8`: as `bf16`, but the layers'
 * matrices are multiplied in 8 bits in the forward pass.
 */
export type Compute = (typeof COMPUTES)[number];

/** What of fp8 is not in 8 bits is in bf16. */
export function computesInBf16(compute: Compute): boolean {
  return compute === 'bf16' || compute === 'fp8';
}

export const RECOMPUTES = ['none', 'activation', 'block'] as const;

/**
 * What backward computes again instead of keeping it, for less memory and the same bits: `activation`, the output of the feed-forward part's
 * activation, (B, T, ffnWidth) a layer, for one pass over it (in 16 bits from its rounded input, so GELU's last bits differ); `block`, all of a
 * layer but its input, for one more forward.
 */
export type Recompute = (typeof RECOMPUTES)[number];

export const STORAGES = ['f32', 'bf16'] as const;

/**
 * What the optimizer keeps from step to step in: `bf16` takes half of the memory. It is rounded at random, up or down, so that on average
 * nothing is lost; to nearest, what changes by less than 1/512 in a step would stand still (`OptimizerArgs` in native/ops/backend.h).
 */
export type Storage = (typeof STORAGES)[number];

export const OFFLOADS = ['none', 'optimizer'] as const;

/**
 * What of a GPU's training lies in the host's memory, pinned: `optimizer`, the moments, which are read and written once a step, over the bus
 * (as ZeRO-Offload, Ren et al. 2021, keeps them there; here the GPU still computes the update, with the same bits).
 */
export type Offload = (typeof OFFLOADS)[number];

/** How a model is trained on a device: a value that is handed down. */
export interface Policy {
  readonly compute: Compute;
  /**
   * Gradients carry this factor until the optimizer divides by it, so that small ones do not vanish in f16. `dynamic`: halved
   * after gradients that overflowed, doubled after 2000 steps without.
   */
  readonly lossScale: number | 'dynamic';
  /** Default none. */
  readonly recompute?: Recompute;
  /**
   * The parts of a step are captured and replayed, a CUDA graph each, so that the host launches a step without enqueueing its ops one by one. The
   * same bits; a graph keeps the memory of its part. Default: on a GPU, and on the CPU where a micro-batch takes fewer than 2·10¹⁰ operations, so
   * that JavaScript's share is felt.
   */
  readonly graph?: boolean;
  /**
   * Rows of logits, (rows, V), that exist at a time; backward computes them again, for one more product of the head. 0: all, the default.
   */
  readonly headRows?: number;
  /** Of adamw, adam, lion and sgd: the moments m and v. Default f32. */
  readonly moments?: Storage;
  /**
   * The parameters themselves. `bf16`, with `compute: bf16` or `fp8`: no f32 master beside what forward passes use; what is frozen stays f32.
   * Default f32.
   */
  readonly weights?: Storage;
  /** Of adamw, adam, lion and sgd. On the CPU it changes nothing. Default none. */
  readonly offload?: Offload;
}

/** Nothing is computed again, what is kept is f32, and the loss scale is `dynamic` for f16 and 1 otherwise, unless given. */
export function fillPolicy(policy: {
  readonly compute?: Compute | undefined;
  readonly lossScale?: number | 'dynamic' | undefined;
  readonly recompute?: Recompute | undefined;
  readonly headRows?: number | undefined;
  readonly moments?: Storage | undefined;
  readonly weights?: Storage | undefined;
  readonly offload?: Offload | undefined;
  readonly graph?: boolean | undefined;
}): Policy {
  const { compute = 'f32', recompute = 'none', headRows = 0, moments = 'f32', weights = 'f32', offload = 'none', graph } = policy;
  const lossScale = policy.lossScale ?? (compute === 'f16' ? 'dynamic' : 1);
  return { compute, lossScale, recompute, headRows, moments, weights, offload, ...(graph !== undefined && { graph }) };
}
