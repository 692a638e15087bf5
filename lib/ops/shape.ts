import { GradBuffer, record1 } from '../autograd/index.ts';
import { type Handle, native } from '../native/addon.ts';
import type { Device } from '../tensor/device.ts';
import { isFloat } from '../tensor/dtype.ts';
import { dimensionOf, elements, type Shape, shapeArgument, shapeText } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

/** Runs `use` on a view and lets go of the view. */
function through(view: Handle, use: (view: Handle) => void): void {
  use(view);
  native.dispose(view);
}

/** The same elements in another shape; one size may be -1. A view where strides allow, otherwise a copy. */
export function reshape(x: Tensor, ...shape: readonly (number | Shape)[]): Tensor {
  const wanted = shapeArgument(shape, 'reshape');
  return record1('reshape', native.reshape(x.handle, wanted), [x], [], (dy, [dx]) => {
    if (!dx) return;
    const view = new GradBuffer(native.reshape(dy.handle, dx.shape), false, dy);
    dx.pass(view);
    view.drop();
  });
}

/** The dimensions in another order: `permute(x, 0, 2, 1)`. A view. */
export function permute(x: Tensor, ...dims: readonly (number | Shape)[]): Tensor {
  const order = shapeArgument(dims, 'permute').map((d) => dimensionOf(d, x.rank, 'permute'));
  return record1('permute', native.permute(x.handle, order), [x], [], (dy, [dx]) => {
    const back = order.map((_, i) => order.indexOf(i));
    through(native.permute(dy.handle, back), (view) => dx?.give(native.cast(view, native.dtype(dy.handle))));
  });
}

/** Two dimensions exchanged. A view. */
export function transpose(x: Tensor, a = -2, b = -1): Tensor {
  const [i, j] = [dimensionOf(a, x.rank, 'transpose'), dimensionOf(b, x.rank, 'transpose')];
  const order = x.shape.map((_, d) => (d === i ? j : d === j ? i : d));
  return permute(x, order);
}

/** Elements `start` to `stop` (not included) of a dimension, every `step`-th; negative positions count from the end. A view. */
export function slice(
  x: Tensor,
  dim: number,
  start: number,
  stop = x.shape[dimensionOf(dim, x.rank, 'slice')] as number,
  step = 1,
): Tensor {
  const d = dimensionOf(dim, x.rank, 'slice');
  return record1('slice', native.slice(x.handle, d, start, stop, step), [x], [], (dy, [dx]) => {
    dx?.into((out, accumulate) => {
      if (!accumulate) native.fill(out, 0);
      through(native.slice(out, d, start, stop, step), (part) => {
        if (!accumulate) native.copyInto(part, dy.handle);
        else through(native.binary(part, dy.handle, 'add'), (sum) => native.copyInto(part, sum));
      });
    });
  });
}

/** The i-th entry of a dimension, which goes away. A view. */
export function select(x: Tensor, dim: number, index: number): Tensor {
  const d = dimensionOf(dim, x.rank, 'select');
  const n = x.shape[d] as number;
  if (!Number.isInteger(index) || index < -n || index >= n)
    throw new ArgumentError(`select: index must be from ${-n} to ${n - 1}, got ${index}`);
  const at = index < 0 ? index + n : index;
  return reshape(
    slice(x, d, at, at + 1),
    x.shape.filter((_, i) => i !== d),
  );
}

/** Equal parts along a dimension, in order: `const [q, k, v] = split(x, 3, -1)`. Views. */
export function split(x: Tensor, parts: number, dim = -1): Tensor[] {
  const d = dimensionOf(dim, x.rank, 'split');
  const n = x.shape[d] as number;
  if (!Number.isInteger(parts) || parts < 1 || n % parts !== 0)
    throw new ArgumentError(`split: parts must divide dimension ${d} of ${shapeText(x.shape)}, got ${parts}`);
  return Array.from({ length: parts }, (_, i) => slice(x, d, (i * n) / parts, ((i + 1) * n) / parts));
}

/** x repeated along dimensions of size 1 (and new leading ones) to the given shape. A view. */
export function expand(x: Tensor, ...shape: readonly (number | Shape)[]): Tensor {
  const wanted = shapeArgument(shape, 'expand');
  return record1('expand', native.expand(x.handle, wanted), [x], [], (dy, [dx]) => {
    dx?.into((out, accumulate) => native.sumInto(dy.handle, out, accumulate));
  });
}

/** A new dimension of size 1 before `dim`. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = dimensionOf(dim, x.rank + 1, 'unsqueeze');
  return reshape(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
}

/** Without a dimension of size 1 (all of them when none is named). */
export function squeeze(x: Tensor, dim?: number): Tensor {
  const d = dim === undefined ? undefined : dimensionOf(dim, x.rank, 'squeeze');
  if (d !== undefined && x.shape[d] !== 1) throw new ArgumentError(`squeeze: dimension ${d} must be of size 1, got ${shapeText(x.shape)}`);
  return reshape(
    x,
    x.shape.filter((n, i) => (d === undefined ? n !== 1 : i !== d)),
  );
}

/** Dimensions `from` to `to` as one. */
export function flatten(x: Tensor, from = 0, to = -1): Tensor {
  if (x.rank === 0) return reshape(x, 1);
  const [i, j] = [dimensionOf(from, x.rank, 'flatten'), dimensionOf(to, x.rank, 'flatten')];
  if (i > j) throw new ArgumentError(`flatten: from must not be behind to, got ${from} and ${to}`);
  return reshape(x, [...x.shape.slice(0, i), elements(x.shape.slice(i, j + 1)), ...x.shape.slice(j + 1)]);
}

/** Tensors joined along a dimension; types and other sizes must agree. */
export function concat(tensors: readonly Tensor[], dim = 0): Tensor {
  if (tensors.length === 0) throw new ArgumentError('concat: tensors must be at least one, got none');
  const d = dimensionOf(dim, (tensors[0] as Tensor).rank, 'concat');
  const sizes = tensors.map((t) => t.shape[d] as number);
  const y = native.concat(
    tensors.map((t) => t.handle),
    d,
  );
  return record1('concat', y, tensors, [], (dy, sinks) => {
    let at = 0;
    sinks.forEach((sink, i) => {
      const n = sizes[i] as number;
      if (sink) through(native.slice(dy.handle, d, at, at + n, 1), (part) => sink.give(native.cast(part, native.dtype(dy.handle))));
      at += n;
    });
  });
}

/** Tensors of one shape along a new dimension. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return concat(
    tensors.map((t) => unsqueeze(t, dim)),
    dim,
  );
}

/** `out[i][j][k] = x[i][index[i][j][k]][k]` for dim 1: picks along a dimension. The index is i32, of x's sizes but for `dim`. */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = dimensionOf(dim, x.rank, 'gather');
  return record1('gather', native.gather(x.handle, d, index.handle), [x], [index], (dy, [dx], [picks]) => {
    dx?.into((out, accumulate) => native.gatherBackward(dy.handle, d, picks as Handle, out, accumulate));
  });
}

/** x in another type. Among floats the gradient goes back; from and to integers there is none. */
export function cast(x: Tensor, dtype: Tensor['dtype']): Tensor {
  const y = native.cast(x.handle, dtype);
  const differentiable = isFloat(dtype) && isFloat(x.dtype);
  return record1('cast', y, differentiable ? [x] : [null], [], (dy, [dx]) => dx?.pass(dy));
}

/** x on another device: a dense copy; on its own device a view. The gradient goes back to where x is. */
export function toDevice(x: Tensor, device: Device): Tensor {
  const from = x.device;
  const y = native.toDevice(x.handle, device);
  return record1('toDevice', y, isFloat(x.dtype) ? [x] : [null], [], (dy, [dx]) => {
    if (native.device(dy.handle) === from) dx?.pass(dy);
    else dx?.give(native.toDevice(dy.handle, from));
  });
}

/** A dense copy. */
export function clone(x: Tensor): Tensor {
  return cast(x, x.dtype);
}
