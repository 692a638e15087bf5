import { GradBuffer, record } from '../autograd/index.ts';
import { type Handle, native } from '../native/addon.ts';
import { Tensor } from '../tensor/tensor.ts';

export interface NormOptions {
  /** (C); default: no scale. */
  weight?: Tensor | null;
  /** (C), LayerNorm only. */
  bias?: Tensor | null;
  /** Default 1e-5. */
  eps?: number;
}

/** h = x + residual (x itself without) and the norm of h, in one pass. */
function normalise(rms: boolean, x: Tensor, residual: Tensor | null, options: NormOptions): { h: Tensor; y: Tensor } {
  const { weight = null, bias = null, eps = 1e-5 } = options;
  const [sum, y, mean, rstd] = native.norm(x.handle, residual?.handle ?? null, weight?.handle ?? null, bias?.handle ?? null, rms, eps);
  // Without a residual the first value is x again; the second tensor is then just another owner of it.
  const h = new Tensor(native.alias(sum));
  const save = [h, ...(weight ? [weight] : []), rstd, ...(mean === null ? [] : [mean])];
  const outputs = record(
    rms ? 'rmsNorm' : 'layerNorm',
    residual ? [sum, y] : [y],
    [x, residual, weight, bias],
    save,
    (dys, [dx, dr, dw, db], saved) => {
      const rest = [...saved];
      const input = rest.shift() as Handle;
      const w = weight ? (rest.shift() as Handle) : null;
      const scale = rest.shift() as Handle;
      const centre = rest.shift() ?? null;
      const dy = residual ? dys[1] : dys[0];
      const dh = residual ? dys[0] : null;
      if (!dy) {
        // Only the sum was used.
        if (dh) for (const sink of [dx, dr]) sink?.pass(dh);
        return;
      }
      const run = (out: Handle | null, accumulate: boolean, weights: boolean): void => {
        const [forW, forB] = [weights ? dw : null, weights ? db : null];
        const write = (toW: Handle | null, addW: boolean, toB: Handle | null, addB: boolean): void =>
          native.normBackward(input, w, centre, scale, dy.handle, rms, out, accumulate, toW, addW, toB, addB);
        if (forW && forB) forW.into((toW, addW) => forB.into((toB, addB) => write(toW, addW, toB, addB)));
        else if (forW) forW.into((toW, addW) => write(toW, addW, null, false));
        else if (forB) forB.into((toB, addB) => write(null, false, toB, addB));
        else write(null, false, null, false);
      };
      if (!residual || (!dx && !dr)) {
        if (dh) dx?.pass(dh);
        if (dx) dx.into((out, accumulate) => run(out, accumulate, true));
        else run(null, false, true);
        return;
      }
      // The gradient of the sum: what came along the residual stream plus what came through the norm, for both operands.
      // Where nobody else holds the stream's gradient it is added to in place.
      const type = native.dtype(dy.handle);
      const gradient = dh?.exclusive
        ? dh.share()
        : new GradBuffer(dh ? native.cast(dh.handle, type) : native.empty(native.device(dy.handle), type, native.shape(dy.handle)));
      run(gradient.handle, dh !== null && dh !== undefined, true);
      dx?.pass(gradient);
      dr?.pass(gradient);
      gradient.drop();
    },
  );
  h.dispose();
  if (!residual) {
    native.dispose(sum);
    return { h: x, y: outputs[0] as Tensor };
  }
  return { h: outputs[0] as Tensor, y: outputs[1] as Tensor };
}

/** (x - mean) / sqrt(variance + eps) · weight + bias over the last dimension (Ba et al. 2016). */
export function layerNorm(x: Tensor, options: NormOptions = {}): Tensor {
  return normalise(false, x, null, options).y;
}

/** x / sqrt(mean(x²) + eps) · weight over the last dimension (Zhang & Sennrich 2019). */
export function rmsNorm(x: Tensor, options: Omit<NormOptions, 'bias'> = {}): Tensor {
  return normalise(true, x, null, options).y;
}

/** h = x + residual and its LayerNorm y, in one pass over memory. */
export function addLayerNorm(x: Tensor, residual: Tensor, options: NormOptions = {}): { h: Tensor; y: Tensor } {
  return normalise(false, x, residual, options);
}

/** h = x + residual and its RMSNorm y, in one pass over memory. */
export function addRmsNorm(x: Tensor, residual: Tensor, options: Omit<NormOptions, 'bias'> = {}): { h: Tensor; y: Tensor } {
  return normalise(true, x, residual, options);
}
