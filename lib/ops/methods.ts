// The ops as methods, in PyTorch's vocabulary: `x.matmul(w).add(b).gelu()`. Importing this file adds them to Tensor.
import { type BackwardOptions, backward } from '../autograd/index.ts';
import type { Device } from '../tensor/device.ts';
import { type DType, isDType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import * as elementwise from './elementwise.ts';
import { type MatmulOptions, matmul } from './matmul.ts';
import * as reductions from './reduce.ts';
import * as shapes from './shape.ts';

type Operand = elementwise.Operand;
type Sizes = readonly (number | Shape)[];

declare module '../tensor/tensor.ts' {
  interface Tensor {
    /** -x. */
    neg(): Tensor;
    /** |x|. */
    abs(): Tensor;
    /** -1, 0 or 1. */
    sign(): Tensor;
    /** x². */
    square(): Tensor;
    /** √x. */
    sqrt(): Tensor;
    /** 1 / √x. */
    rsqrt(): Tensor;
    /** 1 / x. */
    reciprocal(): Tensor;
    /** e^x. */
    exp(): Tensor;
    /** Natural logarithm. */
    log(): Tensor;
    /** Sine. */
    sin(): Tensor;
    /** Cosine. */
    cos(): Tensor;
    /** Hyperbolic tangent. */
    tanh(): Tensor;
    /** 1 / (1 + e^-x). */
    sigmoid(): Tensor;
    /** max(x, 0). */
    relu(): Tensor;
    /** max(x, 0)². */
    relu2(): Tensor;
    /** x · sigmoid(x). */
    silu(): Tensor;
    /** x · Φ(x): `'tanh'`, the approximation that GPT-2 uses (default), or exact `'erf'`. */
    gelu(approximate?: 'tanh' | 'erf'): Tensor;
    /** this + other; shapes broadcast, as in all methods on two tensors. */
    add(other: Operand): Tensor;
    /** this - other. */
    sub(other: Operand): Tensor;
    /** this · other, element by element. */
    mul(other: Operand): Tensor;
    /** this / other. */
    div(other: Operand): Tensor;
    /** this to the power other. */
    pow(other: Operand): Tensor;
    /** The larger of the two. */
    maximum(other: Operand): Tensor;
    /** The smaller of the two. */
    minimum(other: Operand): Tensor;
    /** this == other, as bool. */
    eq(other: Operand): Tensor;
    /** this != other, as bool. */
    ne(other: Operand): Tensor;
    /** this < other, as bool. */
    lt(other: Operand): Tensor;
    /** this <= other, as bool. */
    le(other: Operand): Tensor;
    /** this > other, as bool. */
    gt(other: Operand): Tensor;
    /** this >= other, as bool. */
    ge(other: Operand): Tensor;
    /** This with `value` where the mask (bool or u8, broadcast) holds. */
    maskedFill(mask: Tensor, value: number): Tensor;
    /** Matrix product of the last two dimensions, leading ones broadcast: (..., M, K) · (..., K, N) → (..., M, N). */
    matmul(other: Tensor, options?: MatmulOptions): Tensor;
    /** The same elements in another shape; one size may be -1. A view where strides allow, otherwise a copy. */
    reshape(...shape: Sizes): Tensor;
    /** `reshape` by PyTorch's other name. */
    view(...shape: Sizes): Tensor;
    /** The dimensions in another order. A view. */
    permute(...dims: Sizes): Tensor;
    /** Two dimensions exchanged; the last two when none is named. A view. */
    transpose(a?: number, b?: number): Tensor;
    /** Elements `start` to `stop` (not included) of a dimension, every `step`-th. A view. */
    slice(dim: number, start: number, stop?: number, step?: number): Tensor;
    /** The i-th entry of a dimension, which goes away. A view. */
    select(dim: number, index: number): Tensor;
    /** Equal parts along a dimension, the last unless named. Views. */
    split(parts: number, dim?: number): Tensor[];
    /** Repeated along dimensions of size 1 and new leading ones; -1 keeps a size. A view. */
    expand(...shape: Sizes): Tensor;
    /** A new dimension of size 1 before `dim`. */
    unsqueeze(dim: number): Tensor;
    /** Without a dimension of size 1 (all of them when none is named). */
    squeeze(dim?: number): Tensor;
    /** Dimensions `from` to `to` (default: all) as one. */
    flatten(from?: number, to?: number): Tensor;
    /** Picks along a dimension: `out[i][j][k] = this[i][index[i][j][k]][k]` for dim 1. */
    gather(dim: number, index: Tensor): Tensor;
    /** Sum over `dim` (one, several, default all). */
    sum(dim?: number | readonly number[], keepDims?: boolean): Tensor;
    /** Mean over `dim` (one, several, default all). */
    mean(dim?: number | readonly number[], keepDims?: boolean): Tensor;
    /** Largest value over `dim` (one, several, default all); the gradient is shared among equal entries. */
    max(dim?: number | readonly number[], keepDims?: boolean): Tensor;
    /** Smallest value over `dim` (one, several, default all). */
    min(dim?: number | readonly number[], keepDims?: boolean): Tensor;
    /** Index (i32) of the largest value along a dimension, the last unless named. */
    argmax(dim?: number, keepDims?: boolean): Tensor;
    /** Index (i32) of the smallest value along a dimension, the last unless named. */
    argmin(dim?: number, keepDims?: boolean): Tensor;
    /** e^x / Σ e^x along a dimension, the last unless named. */
    softmax(dim?: number): Tensor;
    /** x - log Σ e^x along a dimension, the last unless named. */
    logSoftmax(dim?: number): Tensor;
    /** In another type; the gradient goes back among floats. */
    cast(dtype: DType): Tensor;
    /** In another type, or on another device (`'cpu'`, `'cuda'`, `'cuda:1'`); the gradient goes back. */
    to(target: DType | Device): Tensor;
    /** As f32. */
    float(): Tensor;
    /** A dense copy. */
    clone(): Tensor;
    /** Adds the gradient of this tensor to every leaf that it depends on: see `backward`. */
    backward(options?: BackwardOptions): void;
  }
}

/** softmax and logSoftmax work on the last dimension: another one is brought there and back. */
function alongDimension(op: (x: Tensor) => Tensor, x: Tensor, dim = -1): Tensor {
  return dim === -1 || dim === x.rank - 1 ? op(x) : shapes.transpose(op(shapes.transpose(x, dim, -1)), dim, -1);
}

/** `dim` and `keepDims` in PyTorch's order, as the options of a reduction. */
function reduceWith(op: (x: Tensor, options: reductions.ReduceOptions) => Tensor) {
  return function (this: Tensor, dim?: number | readonly number[], keepDims = false): Tensor {
    return op(this, dim === undefined ? { keepDims } : { dim, keepDims });
  };
}

/** The op's function with this tensor as the first argument. */
function first<Rest extends readonly unknown[], R>(op: (x: Tensor, ...rest: Rest) => R) {
  return function (this: Tensor, ...rest: Rest): R {
    return op(this, ...rest);
  };
}

/** The type makes every method of the interface above have its function here, with the same arguments. */
type Methods = Pick<
  Tensor,
  | 'neg'
  | 'abs'
  | 'sign'
  | 'square'
  | 'sqrt'
  | 'rsqrt'
  | 'reciprocal'
  | 'exp'
  | 'log'
  | 'sin'
  | 'cos'
  | 'tanh'
  | 'sigmoid'
  | 'relu'
  | 'relu2'
  | 'silu'
  | 'gelu'
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'pow'
  | 'maximum'
  | 'minimum'
  | 'eq'
  | 'ne'
  | 'lt'
  | 'le'
  | 'gt'
  | 'ge'
  | 'maskedFill'
  | 'matmul'
  | 'reshape'
  | 'view'
  | 'permute'
  | 'transpose'
  | 'slice'
  | 'select'
  | 'split'
  | 'expand'
  | 'unsqueeze'
  | 'squeeze'
  | 'flatten'
  | 'gather'
  | 'sum'
  | 'mean'
  | 'max'
  | 'min'
  | 'argmax'
  | 'argmin'
  | 'softmax'
  | 'logSoftmax'
  | 'cast'
  | 'to'
  | 'float'
  | 'clone'
  | 'backward'
>;

const methods: Methods = {
  neg: first(elementwise.neg),
  abs: first(elementwise.abs),
  sign: first(elementwise.sign),
  square: first(elementwise.square),
  sqrt: first(elementwise.sqrt),
  rsqrt: first(elementwise.rsqrt),
  reciprocal: first(elementwise.reciprocal),
  exp: first(elementwise.exp),
  log: first(elementwise.log),
  sin: first(elementwise.sin),
  cos: first(elementwise.cos),
  tanh: first(elementwise.tanh),
  sigmoid: first(elementwise.sigmoid),
  relu: first(elementwise.relu),
  relu2: first(elementwise.relu2),
  silu: first(elementwise.silu),
  gelu: first(elementwise.gelu),
  add: first(elementwise.add),
  sub: first(elementwise.sub),
  mul: first(elementwise.mul),
  div: first(elementwise.div),
  pow: first(elementwise.pow),
  maximum: first(elementwise.maximum),
  minimum: first(elementwise.minimum),
  eq: first(elementwise.eq),
  ne: first(elementwise.ne),
  lt: first(elementwise.lt),
  le: first(elementwise.le),
  gt: first(elementwise.gt),
  ge: first(elementwise.ge),
  maskedFill: first(elementwise.maskedFill),
  matmul: first(matmul),
  reshape: first(shapes.reshape),
  view: first(shapes.reshape),
  permute: first(shapes.permute),
  transpose: first(shapes.transpose),
  slice: first(shapes.slice),
  select: first(shapes.select),
  split: first(shapes.split),
  expand: first(shapes.expand),
  unsqueeze: first(shapes.unsqueeze),
  squeeze: first(shapes.squeeze),
  flatten: first(shapes.flatten),
  gather: first(shapes.gather),
  sum: reduceWith(reductions.sum),
  mean: reduceWith(reductions.mean),
  max: reduceWith(reductions.max),
  min: reduceWith(reductions.min),
  argmax: first(reductions.argmax),
  argmin: first(reductions.argmin),
  softmax(dim) {
    return alongDimension(reductions.softmax, this as Tensor, dim);
  },
  logSoftmax(dim) {
    return alongDimension(reductions.logSoftmax, this as Tensor, dim);
  },
  cast: first(shapes.cast),
  to: first((x: Tensor, target: DType | Device) => (isDType(target) ? shapes.cast(x, target) : shapes.toDevice(x, target))),
  float: first((x: Tensor) => shapes.cast(x, 'f32')),
  clone: first(shapes.clone),
  backward: first(backward),
};

for (const [name, value] of Object.entries(methods))
  Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true, enumerable: false });
