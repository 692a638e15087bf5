import { type GradBuffer, noGrad, record1, type Sink } from '../autograd/index.ts';
import { type Handle, native } from '../native/addon.ts';
import { full } from '../tensor/create.ts';
import { sameShape } from '../tensor/shape.ts';
import { isTensor, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

/** A tensor, or a number that stands for a tensor of one element. */
export type Operand = Tensor | number;

type UnaryKind = Parameters<typeof native.unary>[1];
type BinaryKind = Parameters<typeof native.binary>[2];

function unary(kind: UnaryKind, x: Tensor): Tensor {
  return record1(kind, native.unary(x.handle, kind), [x], [x], (dy, [dx], [saved]) => {
    dx?.into((out, accumulate) => native.unaryBackward(saved as Handle, dy.handle, kind, out, accumulate));
  });
}

/** -x. */
export const neg = (x: Tensor): Tensor => unary('neg', x);
export const abs = (x: Tensor): Tensor => unary('abs', x);
/** -1, 0 or 1. */
export const sign = (x: Tensor): Tensor => unary('sign', x);
export const square = (x: Tensor): Tensor => unary('square', x);
export const sqrt = (x: Tensor): Tensor => unary('sqrt', x);
/** 1 / sqrt(x). */
export const rsqrt = (x: Tensor): Tensor => unary('rsqrt', x);
/** 1 / x. */
export const reciprocal = (x: Tensor): Tensor => unary('reciprocal', x);
export const exp = (x: Tensor): Tensor => unary('exp', x);
/** Natural logarithm. */
export const log = (x: Tensor): Tensor => unary('log', x);
export const sin = (x: Tensor): Tensor => unary('sin', x);
export const cos = (x: Tensor): Tensor => unary('cos', x);
export const tanh = (x: Tensor): Tensor => unary('tanh', x);
/** 1 / (1 + e^-x). */
export const sigmoid = (x: Tensor): Tensor => unary('sigmoid', x);
/** max(x, 0). */
export const relu = (x: Tensor): Tensor => unary('relu', x);
/** max(x, 0)², as in Primer (So et al. 2021). */
export const relu2 = (x: Tensor): Tensor => unary('relu2', x);
/** x · sigmoid(x), also called swish. */
export const silu = (x: Tensor): Tensor => unary('silu', x);

/** x · Φ(x) (Hendrycks & Gimpel 2016): `'tanh'`, the approximation that GPT-2 uses, or exact `'erf'`. */
export function gelu(x: Tensor, approximate: 'tanh' | 'erf' = 'tanh'): Tensor {
  if (approximate !== 'tanh' && approximate !== 'erf')
    throw new ArgumentError(`gelu: approximate must be 'tanh' or 'erf', got ${approximate}`);
  return unary(approximate === 'tanh' ? 'geluTanh' : 'geluErf', x);
}

function operand(value: Operand, other: Operand, op: string, name: string): Tensor {
  if (isTensor(value)) return value;
  if (typeof value !== 'number')
    throw new ArgumentError(`${op}: ${name} must be a tensor or a number, got ${value === null ? 'null' : typeof value}`);
  if (!isTensor(other)) throw new ArgumentError(`${op}: one of a and b must be a tensor, got two numbers`);
  const integer = other.dtype === 'i32' && Number.isInteger(value);
  return full([], value, { dtype: integer ? 'i32' : 'f32', device: other.device });
}

/** Puts f(dy) into an input's gradient, summed over the dimensions along which the input was broadcast. */
function reduced(sink: Sink | null, dy: GradBuffer, broadcast: boolean, write: (out: Handle, accumulate: boolean) => void): void {
  if (!sink) return;
  if (!broadcast) {
    sink.into(write);
    return;
  }
  const wide = native.empty(native.device(dy.handle), 'f32', native.shape(dy.handle)); // f32: the sum is to come
  write(wide, false);
  sink.into((out, accumulate) => native.sumInto(wide, out, accumulate));
  native.dispose(wide);
}

/** The gradient passes unchanged where nothing was broadcast, and is summed where it was. */
function passed(sink: Sink | null, dy: GradBuffer, broadcast: boolean): void {
  if (!sink) return;
  if (broadcast) sink.into((out, accumulate) => native.sumInto(dy.handle, out, accumulate));
  else sink.pass(dy);
}

type BinaryBackward = (
  dy: GradBuffer,
  put: { a: (write: (out: Handle, accumulate: boolean) => void) => void; b: (write: (out: Handle, accumulate: boolean) => void) => void },
  saved: { a: Handle; b: Handle },
) => void;

function binary(kind: BinaryKind, a0: Operand, b0: Operand, backward: BinaryBackward | 'pass'): Tensor {
  const a = operand(a0, b0, kind, 'a');
  const b = operand(b0, a0, kind, 'b');
  const y = native.binary(a.handle, b.handle, kind);
  const save = backward === 'pass' ? [] : [a, b];
  const result = record1(kind, y, [a, b], save, (dy, [da, db], saved) => {
    const shape = native.shape(dy.handle);
    const wideA = da !== null && da !== undefined && !sameShape(da.shape, shape);
    const wideB = db !== null && db !== undefined && !sameShape(db.shape, shape);
    if (backward === 'pass') {
      passed(da ?? null, dy, wideA);
      passed(db ?? null, dy, wideB);
      return;
    }
    const [x, z] = saved as [Handle, Handle];
    backward(
      dy,
      {
        a: (write) => reduced(da ?? null, dy, wideA, write),
        b: (write) => reduced(db ?? null, dy, wideB, write),
      },
      { a: x, b: z },
    );
  });
  if (a !== a0) a.dispose();
  if (b !== b0) b.dispose();
  return result;
}

/** Frees a temporary once `use` has enqueued what reads it. */
function temporary(handle: Handle, use: (handle: Handle) => void): void {
  use(handle);
  native.dispose(handle);
}

/** a + b; shapes broadcast by NumPy's rule, as in all operations on two tensors. */
export function add(a: Operand, b: Operand): Tensor {
  return binary('add', a, b, 'pass');
}

/** a - b. */
export function sub(a: Operand, b: Operand): Tensor {
  return binary('sub', a, b, (dy, put) => {
    put.a((out, accumulate) => (accumulate ? native.binaryInto(out, dy.handle, 'add', out, false) : native.copyInto(out, dy.handle)));
    put.b((out, accumulate) => {
      if (accumulate) native.binaryInto(out, dy.handle, 'sub', out, false);
      else temporary(native.unary(dy.handle, 'neg'), (minus) => native.copyInto(out, minus));
    });
  });
}

/** a · b, element by element. */
export function mul(a: Operand, b: Operand): Tensor {
  return binary('mul', a, b, (dy, put, saved) => {
    put.a((out, accumulate) => native.binaryInto(dy.handle, saved.b, 'mul', out, accumulate));
    put.b((out, accumulate) => native.binaryInto(dy.handle, saved.a, 'mul', out, accumulate));
  });
}

/** a / b. */
export function div(a: Operand, b: Operand): Tensor {
  return binary('div', a, b, (dy, put, saved) => {
    put.a((out, accumulate) => native.binaryInto(dy.handle, saved.b, 'div', out, accumulate));
    put.b((out, accumulate) => {
      // -dy a / b²
      temporary(native.binary(saved.a, saved.b, 'div'), (quotient) =>
        temporary(native.binary(quotient, saved.b, 'div'), (slope) =>
          temporary(native.unary(slope, 'neg'), (minus) => native.binaryInto(dy.handle, minus, 'mul', out, accumulate)),
        ),
      );
    });
  });
}

/** a to the power b. The gradient to b is defined where a > 0. */
export function pow(a: Operand, b: Operand): Tensor {
  return binary('pow', a, b, (dy, put, saved) => {
    put.a((out, accumulate) => {
      // dy b a^(b-1)
      const one = full([], 1, { device: native.device(dy.handle) });
      temporary(native.binary(saved.b, one.handle, 'sub'), (less) =>
        temporary(native.binary(saved.a, less, 'pow'), (power) =>
          temporary(native.binary(power, saved.b, 'mul'), (slope) => native.binaryInto(dy.handle, slope, 'mul', out, accumulate)),
        ),
      );
      one.dispose();
    });
    put.b((out, accumulate) => {
      // dy a^b ln a
      temporary(native.binary(saved.a, saved.b, 'pow'), (power) =>
        temporary(native.unary(saved.a, 'log'), (ln) =>
          temporary(native.binary(power, ln, 'mul'), (slope) => native.binaryInto(dy.handle, slope, 'mul', out, accumulate)),
        ),
      );
    });
  });
}

/** The gradient goes to the operand that was chosen; to `a` where they are equal. */
function chosen(kind: 'maximum' | 'minimum', a: Operand, b: Operand): Tensor {
  const keepsA = kind === 'maximum' ? 'ge' : 'le';
  const keepsB = kind === 'maximum' ? 'lt' : 'gt';
  return binary(kind, a, b, (dy, put, saved) => {
    const masked = (comparison: 'ge' | 'le' | 'lt' | 'gt') => (out: Handle, accumulate: boolean) =>
      temporary(native.binary(saved.a, saved.b, comparison), (chosenHere) =>
        temporary(native.cast(chosenHere, native.dtype(dy.handle)), (mask) => native.binaryInto(dy.handle, mask, 'mul', out, accumulate)),
      );
    put.a(masked(keepsA));
    put.b(masked(keepsB));
  });
}

/** The larger of a and b. */
export const maximum = (a: Operand, b: Operand): Tensor => chosen('maximum', a, b);
/** The smaller of a and b. */
export const minimum = (a: Operand, b: Operand): Tensor => chosen('minimum', a, b);

function compare(kind: BinaryKind, a: Operand, b: Operand): Tensor {
  return noGrad(() => binary(kind, a, b, () => {}));
}

/** a == b as bool; comparisons have no gradient. */
export const eq = (a: Operand, b: Operand): Tensor => compare('eq', a, b);
export const ne = (a: Operand, b: Operand): Tensor => compare('ne', a, b);
export const lt = (a: Operand, b: Operand): Tensor => compare('lt', a, b);
export const le = (a: Operand, b: Operand): Tensor => compare('le', a, b);
export const gt = (a: Operand, b: Operand): Tensor => compare('gt', a, b);
export const ge = (a: Operand, b: Operand): Tensor => compare('ge', a, b);

/** `a` where the condition (bool or u8) holds, `b` elsewhere; all three broadcast. */
export function where(condition: Tensor, a0: Operand, b0: Operand): Tensor {
  const a = isTensor(a0) ? a0 : full([], a0, { device: condition.device });
  const b = isTensor(b0) ? b0 : full([], b0, { device: condition.device });
  const y = native.where(condition.handle, a.handle, b.handle);
  const result = record1('where', y, [a, b], [condition], (dy, [da, db], [holds]) => {
    const zero = full([], 0, { device: native.device(dy.handle) });
    const part = (sink: Sink | null | undefined, yes: Handle, no: Handle): void => {
      if (!sink) return;
      temporary(native.where(holds as Handle, yes, no), (part) => sink.into((out, accumulate) => native.sumInto(part, out, accumulate)));
    };
    part(da, dy.handle, zero.handle);
    part(db, zero.handle, dy.handle);
    zero.dispose();
  });
  if (a !== a0) a.dispose();
  if (b !== b0) b.dispose();
  return result;
}

/** x with `value` where the mask (bool or u8, broadcast) holds. */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  return where(mask, value, x);
}

/** silu(gate) · up (Shazeer 2020); both (..., F), also as halves of one packed (..., 2F). */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return record1('swiglu', native.swiglu(gate.handle, up.handle), [gate, up], [gate, up], (dy, [dgate, dup], [g, u]) => {
    const fresh = (): Handle => native.empty(native.device(dy.handle), native.dtype(dy.handle), native.shape(dy.handle));
    const [forGate, forUp] = [fresh(), fresh()]; // one kernel writes both
    native.swigluBackward(g as Handle, u as Handle, dy.handle, forGate, forUp, false);
    for (const [sink, gradient] of [
      [dgate, forGate],
      [dup, forUp],
    ] as const) {
      if (sink) sink.give(gradient);
      else native.dispose(gradient);
    }
  });
}
