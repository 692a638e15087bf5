import { record, record1, type Sink, tracks } from '../autograd/index.ts';
import { type Handle, native } from '../native/addon.ts';
import type { DType } from '../tensor/dtype.ts';
import { elements, type Shape, sameShape } from '../tensor/shape.ts';
import { isTensor, type Tensor } from '../tensor/tensor.ts';
import type { NF4 } from './nf4.ts';

/**
 * How products of f32 operands are computed: in f32, or with operands rounded to TF32 (10 bits of mantissa), which tensor cores of
 * compute capability 8.0 and above multiply, or to bf16 (7 bits), which processors with AMX or AVX-512 BF16 do; sums are f32. Other devices
 * compute in f32, and so do all where an operand has so few rows that reading the other one takes the time. Half precision operands are
 * not concerned. `fp8`: `linear` and `mlp` round both operands of their forward products, of any type, to e4m3 with a scale for each
 * (`quantizeFP8`), on every device; gradients are those of the operands as they were, in products as of `bf16`. Other ops take it for that.
 */
export type Precision = Parameters<typeof native.matmul>[4];

/** (..., C) as (rows, C). */
function flatRows(h: Handle): Handle {
  const shape = native.shape(h);
  return native.reshape(h, [elements(shape.slice(0, -1)), shape.at(-1) as number]);
}

/** Puts op(a)·op(b) into a sink whose leading dimensions may have been broadcast in the forward. */
function product(sink: Sink, a: Handle, b: Handle, transA: boolean, transB: boolean, precision: Precision): void {
  const lead = (h: Handle): number[] => native.shape(h).slice(0, -2);
  const shapes = [lead(a), lead(b)];
  const rank = Math.max(...shapes.map((s) => s.length));
  const size = (d: number): number => shapes.map((s) => s[s.length - rank + d] ?? 1).find((n) => n !== 1) ?? 1;
  const batch = Array.from({ length: rank }, (_, d) => size(d));
  if (sameShape(batch, sink.shape.slice(0, -2))) {
    sink.into((out, accumulate) => native.matmulInto(a, b, transA, transB, out, accumulate, precision));
    return;
  }
  const matrix = sink.shape.slice(-2);
  const wide = native.empty(native.device(a), 'f32', [...batch, ...matrix]); // f32 whatever a is: the sum is to come
  native.matmulInto(a, b, transA, transB, wide, false, precision);
  sink.into((out, accumulate) => native.sumInto(wide, out, accumulate));
  native.dispose(wide);
}

export interface MatmulOptions {
  transA?: boolean;
  transB?: boolean;
  /** Default full. */
  precision?: Precision;
}

/**
 * Matrix product of the last two dimensions, leading ones broadcast: (..., M, K) · (..., K, N) → (..., M, N). `transA` and
 * `transB` read an operand as transposed.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, precision = 'full' } = options;
  const y = native.matmul(a.handle, b.handle, transA, transB, precision);
  return record1('matmul', y, [a, b], [a, b], (dy, [da, db], saved) => {
    const [x, w] = saved as [Handle, Handle];
    if (da) transA ? product(da, w, dy.handle, transB, true, precision) : product(da, dy.handle, w, false, !transB, precision);
    if (!db) return;
    const rows = native.shape(x);
    if (db.shape.length === 2 && rows.length > 2 && !transA) {
      // One matrix for all of a's rows: their sum over the batch is one product over all rows.
      const [ax, ay] = [flatRows(x), flatRows(dy.handle)];
      db.into((out, accumulate) =>
        transB
          ? native.matmulInto(ay, ax, true, false, out, accumulate, precision)
          : native.matmulInto(ax, ay, true, false, out, accumulate, precision),
      );
      native.dispose(ax);
      native.dispose(ay);
    } else if (transB) product(db, dy.handle, x, true, transA, precision);
    else product(db, x, dy.handle, !transA, false, precision);
  });
}

export type Activation = Parameters<typeof native.linear>[4];

export interface LinearOptions {
  /** (out). */
  bias?: Tensor | null;
  /** Added after the activation; of the result's shape. */
  residual?: Tensor | null;
  /** Applied to x wᵀ + bias; what it got is kept for backward. */
  activation?: Activation;
  /** w is (in, out), as in GPT-2's files, instead of (out, in). */
  conv1d?: boolean;
  /** Default full. */
  precision?: Precision;
}

/** What a product's matrix is stored in: itself, or the parts of NF4. */
const partsOf = (w: Tensor | NF4): Tensor[] => (isTensor(w) ? [w] : [w.codes, w.scales, w.ranges, w.mean]);

/** f of the matrix that is stored so; out of NF4 it is taken in `dtype`, for as long as f runs. */
function withMatrix<T>(parts: readonly Handle[], shape: Shape, dtype: DType, f: (w: Handle) => T): T {
  if (parts.length === 1) return f(parts[0] as Handle);
  const [codes, scales, ranges, mean] = parts as [Handle, Handle, Handle, Handle];
  const w = native.nf4Dequantize(codes, scales, ranges, mean, shape, dtype);
  try {
    return f(w);
  } finally {
    native.dispose(w);
  }
}

/**
 * activation(x wᵀ + bias) + residual in one kernel: x (..., in), w (out, in), result (..., out). A w in NF4 is frozen; forward and backward
 * each take it out into memory of x's type that is free again behind the product.
 * @throws when shapes or devices disagree, naming the argument
 */
export function linear(x: Tensor, w: Tensor | NF4, options: LinearOptions = {}): Tensor {
  const { bias = null, residual = null, activation = 'none', conv1d = false, precision = 'full' } = options;
  const learned = isTensor(w) ? w : null;
  const [parts, { shape }, { dtype }] = [partsOf(w), w, x];
  const keepPre = activation !== 'none' && tracks(x, learned, bias);
  const handles = parts.map((part) => part.handle);
  const [y, pre] = withMatrix(handles, shape, dtype, (weight) =>
    native.linear(x.handle, weight, bias?.handle ?? null, residual?.handle ?? null, activation, conv1d, keepPre, precision),
  );
  const own = learned?.requiresGrad ? [x] : []; // x is for the gradient of w alone
  const save = [...parts, ...own, ...(pre === null ? [] : [pre])];
  const outputs = record('linear', [y], [x, learned, bias, residual], save, ([dy], [dx, dw, db, dr], saved) => {
    if (!dy) return;
    dr?.pass(dy);
    if (!dx && !dw && !db) return;
    const input = own.length > 0 ? (saved[parts.length] as Handle) : null;
    const before = pre === null ? null : (saved.at(-1) as Handle);
    const [toW, toB, toX] = [dw?.open(), db?.open(), dx?.open()]; // as it writes them: x may be w
    withMatrix(saved.slice(0, parts.length), shape, dtype, (weight) =>
      native.linearBackward(
        dy.handle,
        dy.exclusive,
        input,
        weight,
        before,
        activation,
        conv1d,
        toX?.out ?? null,
        toX?.accumulate ?? false,
        toW?.out ?? null,
        toW?.accumulate ?? false,
        toB?.out ?? null,
        toB?.accumulate ?? false,
        precision,
      ),
    );
  });
  return outputs[0] as Tensor;
}
