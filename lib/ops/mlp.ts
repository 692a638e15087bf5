import { record1, tracks } from '../autograd/index.ts';
import { atomically, type Handle, native } from '../native/addon.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import type { Activation, Precision } from './matmul.ts';

export interface MlpOptions {
  activation: Exclude<Activation, 'none'>;
  /** (hidden). */
  upBias?: Tensor | null;
  /** (out). */
  downBias?: Tensor | null;
  /** Added to the result; of its shape. */
  residual?: Tensor | null;
  /**
   * Keeps only the activation's input for backward, where its output is computed again: less memory, by (..., hidden), for one pass over
   * it. Default false.
   */
  recompute?: boolean;
  /** Default full. */
  precision?: Precision;
}

/**
 * The feed-forward part of a Transformer, activation(x upᵀ + upBias) downᵀ + downBias + residual: x (..., in), up (hidden, in), down
 * (out, hidden), result (..., out). The same bits as two `linear`s; in backward the activation's derivative is part of a product.
 * @throws when shapes or devices disagree, naming the argument
 */
export function mlp(x: Tensor, up: Tensor, down: Tensor, options: MlpOptions): Tensor {
  const { activation, upBias = null, downBias = null, residual = null, recompute = false, precision = 'full' } = options;
  if (up.shape.length === 2 && !(down.shape.length === 2 && down.shape[1] === up.shape[0]))
    throw new ArgumentError(`mlp: down must be (out, ${up.shape[0]}) for up (${up.shape.join(', ')}), got (${down.shape.join(', ')})`);
  const tracked = tracks(x, up, down, upBias, downBias);
  const [hidden, pre, y] = atomically(() => {
    const [h, before] = native.linear(x.handle, up.handle, upBias?.handle ?? null, null, activation, false, tracked, precision);
    const [out] = native.linear(h, down.handle, downBias?.handle ?? null, residual?.handle ?? null, 'none', false, false, precision);
    return [h, before, out];
  });
  // What a matrix was multiplied by is for its own gradient alone: nothing of it is kept beside a frozen one.
  const keep = tracked && !recompute && down.requiresGrad;
  if (!keep) native.dispose(hidden);
  const own = up.requiresGrad ? [x] : [];
  const save = [up, down, ...(pre ? [pre] : []), ...(keep ? [hidden] : []), ...own];
  return record1('mlp', y, [x, up, down, upBias, downBias, residual], save, (dy, [dx, dUp, dDown, dUpBias, dDownBias, dr], saved) => {
    const [toUp, toDown, before] = saved as [Handle, Handle, Handle];
    const kept = keep ? (saved[3] as Handle) : null;
    const input = own.length > 0 ? (saved.at(-1) as Handle) : null;
    dr?.pass(dy);
    const backward = (dz: Handle, of: Handle | null, w: Handle, ...[toX, toW, toB]: (typeof dx)[]): void => {
      const [gx, gw, gb] = [toX?.open(), toW?.open(), toB?.open()];
      const place = (to: typeof gx) => [to?.out ?? null, to?.accumulate ?? false] as const;
      native.linearBackward(dz, false, of, w, null, 'none', false, ...place(gx), ...place(gw), ...place(gb), precision);
    };
    if (dDown || dDownBias) {
      const activated = kept ?? (dDown ? native.unary(before, activation) : null);
      backward(dy.handle, activated, toDown, null, dDown, dDownBias);
      if (activated && !kept) native.dispose(activated);
    }
    if (!dx && !dUp && !dUpBias) return;
    const dBefore = native.matmulDerivative(dy.handle, toDown, false, before, activation, precision);
    backward(dBefore, input, toUp, dx, dUp, dUpBias);
    native.dispose(dBefore);
  });
}
