import { gradientType, record1, type Sink, tracks } from '../autograd/index.ts';
import { atomically, type Handle, native } from '../native/addon.ts';
import { full } from '../tensor/create.ts';
import { elements, shapeText } from '../tensor/shape.ts';
import { isTensor, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import type { Precision } from './matmul.ts';

export interface CrossEntropyOptions {
  /** Targets of this value cost nothing and get no gradient. Default -100. */
  ignoreIndex?: number;
  /** Share of the target that is spread evenly over the vocabulary. */
  labelSmoothing?: number;
  /** Weight of the squared log-partition (PaLM's z-loss). */
  zLoss?: number;
  /** Columns from here on are padding of the vocabulary. Default: none. */
  validColumns?: number;
  /** `'mean'` over the targets that count, `'sum'`, or `'none'` (a loss for each target). Default `'mean'`. */
  reduction?: 'mean' | 'sum' | 'none';
  /**
   * Instead of a reduction: one f32 that the sum is multiplied by. 1 / target tokens of the whole step makes accumulated
   * micro-batches equal the full batch.
   */
  scale?: Tensor | null;
}

interface Settings {
  valid: number;
  ignore: number;
  smoothing: number;
  z: number;
}

function settingsOf(o: CrossEntropyOptions): Settings {
  return { valid: o.validColumns ?? 0, ignore: o.ignoreIndex ?? -100, smoothing: o.labelSmoothing ?? 0, z: o.zLoss ?? 0 };
}

/** The factor on the sum of losses, as a device tensor; true when it was made here. */
function scaleOf(targets: Tensor, o: CrossEntropyOptions, s: Settings): { scale: Handle; own: boolean } {
  if (isTensor(o.scale)) return { scale: o.scale.handle, own: false };
  const one = full([], 1, { device: targets.device }).take();
  if (o.reduction === 'sum' || o.reduction === 'none') return { scale: one, own: true };
  // mean: 1 / (targets that are not ignored), counted on the device
  const ignore = full([], s.ignore, { dtype: 'i32', device: targets.device }).take();
  const counts = native.binary(targets.handle, ignore, 'ne');
  const wide = native.cast(counts, 'f32');
  const count = native.reduce(wide, 'sum', [], false);
  const scale = native.binary(one, count, 'div');
  for (const h of [ignore, counts, wide, count, one]) native.dispose(h);
  return { scale, own: true };
}

function total(losses: Handle, scale: Handle): Handle {
  const sum = native.reduce(losses, 'sum', [], false);
  const y = native.binary(sum, scale, 'mul');
  native.dispose(sum);
  return y;
}

/** A gradient that was made for an upstream gradient of 1, times the real one: in place, unless it is needed again. */
function scaledBy(gradient: Handle, dy: Handle, unit: boolean, retain: boolean): Handle {
  if (retain) return native.binary(gradient, dy, 'mul');
  if (!unit) native.binaryInto(gradient, dy, 'mul', gradient, false);
  return native.alias(gradient);
}

/**
 * Cross-entropy of logits (..., V) against i32 targets (...), fused with its gradient: softmax, loss and dlogits in one kernel.
 * A target outside [0, V) that is not `ignoreIndex` is an error at the next wait.
 */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor {
  return atomically(() => classified(logits, targets, options));
}

function classified(logits: Tensor, targets: Tensor, options: CrossEntropyOptions): Tensor {
  const s = settingsOf(options);
  const perTarget = options.reduction === 'none' && !options.scale;
  const { scale, own } = scaleOf(targets, options, s);
  const type = gradientType(logits.device, logits.dtype);
  const gradient = tracks(logits) ? native.empty(logits.device, type, logits.shape) : null;
  const losses = native.crossEntropy(logits.handle, targets.handle, scale, gradient, s.valid, s.ignore, s.smoothing, s.z);
  const y = perTarget ? losses : total(losses, scale);
  if (!perTarget) native.dispose(losses);
  if (own) native.dispose(scale);
  return record1('crossEntropy', y, [logits], gradient === null ? [] : [gradient], (dy, [dx], [saved], retain) => {
    if (!dx) return;
    const wide = perTarget ? native.reshape(dy.handle, [...native.shape(dy.handle), 1]) : native.alias(dy.handle);
    dx.give(scaledBy(saved as Handle, wide, dy.unit, retain));
    native.dispose(wide);
  });
}

export interface LinearCrossEntropyOptions extends Omit<CrossEntropyOptions, 'reduction'> {
  reduction?: 'mean' | 'sum';
  /** Rows of logits that exist at a time; backward computes them again. Default: all rows, computed once. */
  chunkRows?: number;
  /** Of the products; see `Precision`. */
  precision?: Precision;
}

/** Calls `use` with views of rows [from, to) of each tensor; once when there are no rows. */
function eachChunk(rows: number, chunk: number, tensors: readonly Handle[], use: (parts: Handle[]) => void): void {
  for (let from = 0; from === 0 || from < rows; from += chunk) {
    const parts = tensors.map((t) => native.slice(t, 0, from, Math.min(from + chunk, rows), 1));
    use(parts);
    for (const p of parts) native.dispose(p);
  }
}

/**
 * Cross-entropy of x wᵀ against targets, head and loss together: x (..., C), w (V, C), targets (...) i32. Logits become their
 * own gradient in place; with `chunkRows` only so many rows of them exist at a time.
 */
export function linearCrossEntropy(x: Tensor, w: Tensor, targets: Tensor, options: LinearCrossEntropyOptions = {}): Tensor {
  if (x.shape.at(-1) !== w.shape[1] || w.rank !== 2)
    throw new ArgumentError(`linearCrossEntropy: w must be (V, ${x.shape.at(-1)}) for x ${shapeText(x.shape)}, got ${shapeText(w.shape)}`);
  return atomically(() => linearClassified(x, w, targets, options));
}

function linearClassified(x: Tensor, w: Tensor, targets: Tensor, options: LinearCrossEntropyOptions): Tensor {
  const s = settingsOf(options);
  const { precision = 'full' } = options;
  const { scale, own } = scaleOf(targets, options, s);
  const rows = elements(x.shape.slice(0, -1));
  const chunk = Math.max(1, Math.min(options.chunkRows ?? rows, rows));
  const whole = chunk === rows;
  const [flatX, flatT] = [native.reshape(x.handle, [rows, x.shape.at(-1) as number]), native.reshape(targets.handle, [rows])];
  const track = tracks(x, w);
  const classify = (logits: Handle, ids: Handle, inPlace: boolean, factor: Handle): Handle =>
    native.crossEntropy(logits, ids, factor, inPlace ? logits : null, s.valid, s.ignore, s.smoothing, s.z);

  let dlogits: Handle | null = null;
  const losses: Handle[] = [];
  eachChunk(rows, chunk, [flatX, flatT], ([part, ids]) => {
    const logits = native.matmul(part as Handle, w.handle, false, true, precision);
    losses.push(classify(logits, ids as Handle, track && whole, scale));
    if (track && whole) dlogits = logits;
    else native.dispose(logits);
  });
  const all = losses.length === 1 ? (losses[0] as Handle) : native.concat(losses, 0);
  const y = total(all, scale);
  for (const h of new Set([...losses, all])) native.dispose(h);

  const save = !track ? [] : dlogits !== null ? [flatX, w, dlogits] : [flatX, w, flatT, native.alias(scale)];
  if (!track) native.dispose(flatX);
  if (!track || dlogits !== null) native.dispose(flatT);
  if (own) native.dispose(scale);
  return record1('linearCrossEntropy', y, [x, w], save, (dy, [dx, dw], saved, retain) => {
    const [rowsX, weight, third, factor] = saved as [Handle, Handle, Handle, Handle | undefined];
    const products = (inputs: Handle, gradient: Handle, toX: Handle | null, addX: boolean, sinkW: Sink | null | undefined): void => {
      if (toX !== null) native.matmulInto(gradient, weight, false, false, toX, addX, precision);
      sinkW?.into((out, accumulate) => native.matmulInto(gradient, inputs, true, false, out, accumulate, precision));
    };
    if (factor === undefined) {
      const gradient = scaledBy(third, dy.handle, dy.unit, retain);
      if (!dx) products(rowsX, gradient, null, false, dw);
      dx?.into((out, accumulate) => {
        const flat = native.reshape(out, native.shape(rowsX));
        products(rowsX, gradient, flat, accumulate, dw);
        native.dispose(flat);
      });
      native.dispose(gradient);
      return;
    }
    const scaled = native.binary(factor, dy.handle, 'mul');
    const backward = (toX: Handle | null, accumulate: boolean): void =>
      eachChunk(rows, chunk, toX === null ? [rowsX, third] : [rowsX, third, toX], ([part, ids, into]) => {
        const logits = native.matmul(part as Handle, weight, false, true, precision);
        native.dispose(classify(logits, ids as Handle, true, scaled));
        products(part as Handle, logits, into ?? null, accumulate, dw);
        native.dispose(logits);
      });
    if (!dx) backward(null, false);
    dx?.into((out, accumulate) => {
      const flat = native.reshape(out, native.shape(rowsX));
      backward(flat, accumulate);
      native.dispose(flat);
    });
    native.dispose(scaled);
  });
}
