import { atomically, type Handle, native } from '../native/addon.ts';
import { ArgumentError } from '../util/errors.ts';
import { type Device, getDefaultDevice } from './device.ts';
import { checkDType, type DType, hostArray, hostType, type TensorData } from './dtype.ts';
import { nextSeed } from './random.ts';
import { elements, type Shape, shapeArgument, shapeText } from './shape.ts';
import { Tensor } from './tensor.ts';

export interface TensorOptions {
  /** Default f32. */
  dtype?: DType;
  /** Default: see `setDefaultDevice`. */
  device?: Device;
  requiresGrad?: boolean;
}

/** Numbers, nested to any depth; all rows of a dimension have one length. */
export type NestedNumbers = number | readonly NestedNumbers[];

function made(handle: Handle, options: TensorOptions): Tensor {
  const t = new Tensor(handle);
  if (options.requiresGrad) t.requiresGrad = true;
  return t;
}

/** A tensor that `fill` fills in one type and that is then converted to another. */
function filled(device: Device, host: DType, shape: Shape, options: TensorOptions, dtype: DType, fill: (staged: Handle) => void): Tensor {
  const handle = atomically(() => {
    const staged = native.empty(device, host, shape);
    fill(staged);
    if (host === dtype) return staged;
    const cast = native.cast(staged, dtype);
    native.dispose(staged);
    return cast;
  });
  return made(handle, options);
}

function flatten(data: NestedNumbers): { shape: number[]; values: number[] } {
  const shape: number[] = [];
  for (let level: NestedNumbers | undefined = data; Array.isArray(level); level = level[0]) shape.push(level.length);
  const values: number[] = [];
  const walk = (item: NestedNumbers, dim: number): void => {
    if (typeof item === 'number' && dim === shape.length) values.push(item);
    else if (Array.isArray(item) && dim < shape.length && item.length === shape[dim]) for (const x of item) walk(x, dim + 1);
    else throw new ArgumentError(`tensor: data must be numbers nested evenly, like ${shapeText(shape)}, got an uneven row`);
  };
  walk(data, 0);
  return { shape, values };
}

/**
 * A tensor of the given numbers: nested arrays, or a typed array with `shape` (default: one dimension). Int32Array gives i32,
 * Uint8Array u8, everything else f32, unless `dtype` says otherwise.
 */
export function tensor(data: NestedNumbers | TensorData, options: TensorOptions & { shape?: Shape } = {}): Tensor {
  const typed = ArrayBuffer.isView(data);
  const flat = typed ? { shape: [data.length], values: data } : flatten(data);
  const shape = options.shape ?? flat.shape;
  if (elements(shape) !== flat.values.length)
    throw new ArgumentError(`tensor: data must have ${elements(shape)} elements for shape ${shapeText(shape)}, got ${flat.values.length}`);
  const natural: DType = data instanceof Int32Array ? 'i32' : data instanceof Uint8Array ? 'u8' : 'f32';
  const dtype = checkDType(options.dtype ?? natural, 'tensor');
  const host = hostType(dtype);
  return filled(options.device ?? getDefaultDevice(), dtype === 'bool' ? 'u8' : host, shape, options, dtype, (staged) =>
    native.write(staged, hostArray(dtype, flat.values)),
  );
}

/** A tensor of undefined contents. */
export function empty(shape: Shape, options: TensorOptions = {}): Tensor {
  const dtype = checkDType(options.dtype ?? 'f32', 'empty');
  return made(native.empty(options.device ?? getDefaultDevice(), dtype, shapeArgument([shape], 'empty')), options);
}

/**
 * The same in the host's memory, pinned, where a GPU's kernels reach it over the bus: for what is read once in a long while. On the CPU, as
 * any other.
 */
export function emptyOnHost(shape: Shape, options: TensorOptions = {}): Tensor {
  const dtype = checkDType(options.dtype ?? 'f32', 'emptyOnHost');
  return made(native.emptyOnHost(options.device ?? getDefaultDevice(), dtype, shapeArgument([shape], 'emptyOnHost')), options);
}

/** A tensor of one value. */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  const t = empty(shape, options);
  native.fill(t.handle, value);
  return t;
}

export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options);
}

export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

/** `start`, `start + step`, ... below `stop`; i32 when start and step are integers, unless `dtype` says otherwise. */
export function arange(start: number, stop: number, step = 1, options: TensorOptions = {}): Tensor {
  if (!(step !== 0 && Number.isFinite(step))) throw new ArgumentError(`arange: step must be a number other than 0, got ${step}`);
  const n = Math.max(0, Math.ceil((stop - start) / step));
  const values = Float64Array.from({ length: n }, (_, i) => start + i * step);
  const dtype = Number.isInteger(start) && Number.isInteger(step) ? 'i32' : 'f32';
  return tensor(Array.from(values), { dtype, ...options, shape: [n] });
}

function random(shape: Shape, kind: 'uniform' | 'normal', a: number, b: number, options: TensorOptions & { seed?: number }): Tensor {
  const { dtype = 'f32', ...rest } = options;
  const seed = options.seed ?? nextSeed();
  return filled(options.device ?? getDefaultDevice(), 'f32', shapeArgument([shape], kind), rest, checkDType(dtype, kind), (staged) =>
    native.random(staged, kind, a, b, seed, 0),
  );
}

/** Normal with mean 0 and deviation 1, from `seed` or the sequence that `manualSeed` starts. */
export function randn(shape: Shape, options: TensorOptions & { seed?: number } = {}): Tensor {
  return random(shape, 'normal', 0, 1, options);
}

/** Uniform in [0, 1). */
export function rand(shape: Shape, options: TensorOptions & { seed?: number } = {}): Tensor {
  return random(shape, 'uniform', 0, 1, options);
}

/** Normal with the given mean and standard deviation. */
export function normal(shape: Shape, mean: number, std: number, options: TensorOptions & { seed?: number } = {}): Tensor {
  return random(shape, 'normal', mean, std, options);
}
