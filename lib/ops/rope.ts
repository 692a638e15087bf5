import { record1 } from '../autograd/index.ts';
import { type Handle, native } from '../native/addon.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Frequencies of a model whose context was stretched after training. */
export interface RopeScaling {
  /** Frequencies are divided by this. */
  readonly factor: number;
  /** Only those that turn less than `high` times within so many positions; those below `low` turns wholly. Without it, all alike. */
  readonly context?: number;
  readonly low?: number;
  readonly high?: number;
}

export interface RopeOptions {
  /** Base of the frequencies; default 10000. */
  theta?: number;
  /** Position of the first time step. */
  first?: number;
  /** i32 (B, T): positions instead of first, first + 1, ... */
  positions?: Tensor | null;
  /** How much of D turns, an even number; default all. */
  rotary?: number;
  /** Pairs (2i, 2i + 1) as in the paper; default (i, i + rotary/2) as in Llama's files. */
  interleaved?: boolean;
  scaling?: RopeScaling | null;
}

/** Rotary position encoding (Su et al. 2021) of x (B, T, H, D). */
export function rope(x: Tensor, options: RopeOptions = {}): Tensor {
  const { theta = 10000, first = 0, positions = null, rotary = 0, interleaved = false, scaling } = options;
  const { factor = 1, low = 0, high = 0, context = 0 } = scaling ?? {};
  const y = native.rope(x.handle, positions?.handle ?? null, first, theta, rotary, interleaved, factor, low, high, context);
  return record1('rope', y, [x], positions ? [positions] : [], (dy, [dx], [saved]) => {
    dx?.into((out, accumulate) =>
      native.ropeBackward(
        dy.handle,
        (saved as Handle | undefined) ?? null,
        first,
        theta,
        rotary,
        interleaved,
        factor,
        low,
        high,
        context,
        out,
        accumulate,
      ),
    );
  });
}
