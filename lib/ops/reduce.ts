import { record1 } from '../autograd/index.ts';
import { type Handle, native } from '../native/addon.ts';
import { dimensionOf, elements, type Shape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

export interface ReduceOptions {
  /** Dimensions to reduce; default, and for an empty list, all. */
  dim?: number | readonly number[];
  /** Keep reduced dimensions with size 1. */
  keepDims?: boolean;
}

function dimensions(x: Tensor, options: ReduceOptions, op: string): number[] {
  const { dim } = options;
  const dims = (typeof dim === 'number' ? [dim] : (dim ?? [])).map((d) => dimensionOf(d, x.rank, op));
  if (new Set(dims).size !== dims.length) throw new ArgumentError(`${op}: dim must name each dimension once, got ${JSON.stringify(dim)}`);
  return dims.length === 0 ? x.shape.map((_, i) => i) : dims;
}

/** dy with the reduced dimensions back, of size 1: it broadcasts to x. */
function widened(dy: Handle, shape: Shape, dims: readonly number[]): Handle {
  return native.reshape(
    dy,
    shape.map((n, i) => (dims.includes(i) ? 1 : n)),
  );
}

function total(kind: 'sum' | 'mean', x: Tensor, options: ReduceOptions): Tensor {
  const dims = dimensions(x, options, kind);
  const y = native.reduce(x.handle, kind, dims, options.keepDims ?? false);
  const scale = kind === 'mean' ? 1 / elements(dims.map((d) => x.shape[d] as number)) : 1;
  return record1(kind, y, [x], [], (dy, [dx]) => {
    if (!dx) return;
    const wide = widened(dy.handle, dx.shape, dims);
    const factor = native.empty(native.device(dy.handle), 'f32', []);
    native.fill(factor, scale);
    dx.into((out, accumulate) => native.binaryInto(wide, factor, 'mul', out, accumulate));
    native.dispose(wide);
    native.dispose(factor);
  });
}

export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => total('sum', x, options);
export const mean = (x: Tensor, options: ReduceOptions = {}): Tensor => total('mean', x, options);

function extreme(kind: 'max' | 'min', x: Tensor, options: ReduceOptions): Tensor {
  const dims = dimensions(x, options, kind);
  const y = native.reduce(x.handle, kind, dims, options.keepDims ?? false);
  return record1(kind, y, [x], [x, native.alias(y)], (dy, [dx], [saved, best]) => {
    if (!dx) return;
    // Shared evenly among equal entries, as PyTorch's amax does.
    const wide = widened(best as Handle, dx.shape, dims);
    const equal = native.binary(saved as Handle, wide, 'eq');
    const mask = native.cast(equal, 'f32');
    const count = native.reduce(mask, 'sum', dims, true);
    const gradient = widened(dy.handle, dx.shape, dims);
    const share = native.binary(gradient, count, 'div');
    dx.into((out, accumulate) => native.binaryInto(mask, share, 'mul', out, accumulate));
    for (const h of [wide, equal, mask, count, gradient, share]) native.dispose(h);
  });
}

/** The largest value; NaN wins. The gradient is shared among equal entries. */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => extreme('max', x, options);
/** The smallest value; NaN wins. */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => extreme('min', x, options);

function position(kind: 'argmax' | 'argmin', x: Tensor, dim: number, keepDims: boolean): Tensor {
  return new Tensor(native.reduce(x.handle, kind, [dimensionOf(dim, x.rank, kind)], keepDims));
}

/** Index (i32) of the largest value along a dimension; the lowest of equal ones. */
export const argmax = (x: Tensor, dim = -1, keepDims = false): Tensor => position('argmax', x, dim, keepDims);
export const argmin = (x: Tensor, dim = -1, keepDims = false): Tensor => position('argmin', x, dim, keepDims);

function normalised(x: Tensor, isLog: boolean): Tensor {
  const y = native.softmax(x.handle, isLog);
  return record1(isLog ? 'logSoftmax' : 'softmax', y, [x], [native.alias(y)], (dy, [dx], [saved]) => {
    dx?.into((out, accumulate) => native.softmaxBackward(saved as Handle, dy.handle, isLog, out, accumulate));
  });
}

/** e^x / Σ e^x over the last dimension; entries of -inf give 0. */
export const softmax = (x: Tensor): Tensor => normalised(x, false);
/** x - log Σ e^x over the last dimension. */
export const logSoftmax = (x: Tensor): Tensor => normalised(x, true);
