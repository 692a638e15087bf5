// What a case of an op is: random inputs, the op on them, and the same computed on the host in float64 with plain loops.
import fc from 'fast-check';
import type { Tensor } from '../../lib/tensor/tensor.ts';

export interface HostInput {
  readonly shape: readonly number[];
  /** Values that the dtype holds exactly. */
  readonly data: Float64Array;
  readonly dtype: 'f32' | 'i32' | 'bool';
}

export type Inputs = Readonly<Record<string, HostInput>>;
export type Values<Name extends string = string> = Readonly<Record<Name, Float64Array>>;

/** An op with its settings and inputs. */
export interface Instance {
  /** Settings and shapes, for messages. */
  readonly label: string;
  readonly inputs: Inputs;
  /** The op; a result of several tensors is joined into one. */
  run(tensors: Readonly<Record<string, Tensor>>): Tensor;
  /** The same in float64, row-major. */
  reference(values: Values): ArrayLike<number>;
  /** Names of the inputs that have a gradient. */
  readonly differentiable: readonly string[];
  readonly flops: number;
}

export interface Case {
  /** Instances with sizes up to about `max`. */
  instances(max: number): fc.Arbitrary<Instance>;
  /** Largest scaled error of the result in f32. */
  readonly tolerance: number;
  /** Results below this are judged as if they were this large: 1 for sums of terms of that size, which may cancel. Default 1e-3. */
  readonly floor?: number;
  /** Whether inputs may have any strides and, with `half`, be bf16 or f16. Optimizers work on flat f32 buffers only. */
  readonly layouts: boolean;
  readonly half: boolean;
  /** How often a device that computes in half precision may round on the way, beside the result: for what kernels store. Default 0. */
  readonly halfway?: number;
}

interface Spec<Name extends string> {
  label: string;
  /** null: this instance has no such input. */
  inputs: Readonly<Record<Name, HostInput | null>>;
  run(tensors: Readonly<Record<Name, Tensor>>): Tensor;
  reference(values: Values<Name>): ArrayLike<number>;
  differentiable: readonly NoInfer<Name>[];
  flops: number;
}

/** An instance whose run and reference get its inputs by their names; those that are null are never asked for. */
export function instance<Name extends string>(spec: Spec<Name>): Instance {
  const inputs = Object.fromEntries(Object.entries<HostInput | null>(spec.inputs).filter(([, x]) => x !== null)) as Inputs;
  return { ...spec, inputs, differentiable: spec.differentiable.filter((name) => inputs[name]) } as Instance;
}

/** Bytes of the inputs read once and an output of `outputs` elements written once, in f32. */
export function bytesOf(of: Instance, outputs: number): number {
  return 4 * Object.values(of.inputs).reduce((n, x) => n + x.data.length, outputs);
}

export const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** The same numbers for the same seed (mulberry32). */
export class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  integer(below: number): number {
    return Math.floor(this.next() * below);
  }

  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  /** Normal numbers within ±5, changed by `change`, as f32 holds them. */
  floats(shape: readonly number[], change: (x: number) => number = (x) => x): HostInput {
    const data = Float64Array.from({ length: count(shape) }, () => Math.fround(change(Math.max(-5, Math.min(5, this.#normal())))));
    return { shape, data, dtype: 'f32' };
  }

  ints(shape: readonly number[], below: number, from = 0): HostInput {
    return { shape, data: Float64Array.from({ length: count(shape) }, () => from + this.integer(below)), dtype: 'i32' };
  }

  bools(shape: readonly number[]): HostInput {
    return { ...this.ints(shape, 2), dtype: 'bool' };
  }
}

/** For functions with a kink at 0: at least 0.05 away from it, where finite differences do not reach. */
export const awayFromZero = (x: number): number => (x < 0 ? x - 0.05 : x + 0.05);
export const positive = (x: number): number => Math.abs(x) + 0.1;

/** Where vectors, warps and tiles of kernels end, and one to either side. */
const EDGES = [16, 32, 64, 128, 256].flatMap((edge) => [edge - 1, edge, edge + 1]);

/** A size up to `max`: small and odd ones, and those around the edges. */
export function size(max: number): fc.Arbitrary<number> {
  const any = fc.integer({ min: 1, max: Math.max(1, max) });
  const edges = EDGES.filter((edge) => edge <= max);
  return edges.length === 0 ? any : fc.oneof(any, fc.constantFrom(...edges));
}
export const shape = (max: number, minRank = 0, maxRank = 4): fc.Arbitrary<number[]> =>
  fc.array(size(max), { minLength: minRank, maxLength: maxRank }).map((dims) => {
    // No more than some thousand elements, unless dimensions are to be large.
    const cut = [...dims];
    for (let i = 0; count(cut) > Math.max(4000, max * max); i = (i + 1) % cut.length) cut[i] = Math.ceil((cut[i] as number) / 2);
    return cut;
  });
export const draws = fc.nat({ max: 2 ** 31 }).map((seed) => new Draw(seed));

/** A shape that broadcasts to `to`: leading dimensions left out, others 1. */
export function narrowed(to: readonly number[], draw: Draw): number[] {
  const kept = to.slice(draw.integer(3) === 0 ? draw.integer(to.length + 1) : 0);
  return kept.map((n) => (draw.integer(4) === 0 ? 1 : n));
}

/** Calls `visit` with every index of a shape, in row-major order, and its position. */
export function eachIndex(dims: readonly number[], visit: (index: readonly number[], position: number) => void): void {
  const index = dims.map(() => 0);
  const n = count(dims);
  for (let position = 0; position < n; position++) {
    visit(index, position);
    for (let d = dims.length - 1; d >= 0; d--) {
      index[d] = (index[d] as number) + 1;
      if ((index[d] as number) < (dims[d] as number)) break;
      index[d] = 0;
    }
  }
}

/** Where in an array of shape `from` an index of a shape that it broadcasts to lands. */
export function positionIn(from: readonly number[], index: readonly number[]): number {
  const lead = index.length - from.length;
  return from.reduce((at, n, d) => at * n + (n === 1 ? 0 : (index[lead + d] as number)), 0);
}

/** A value of an array; a position outside it is an error of the reference, never a silent NaN. */
export function at(values: ArrayLike<number>, position: number): number {
  const value = values[position];
  if (value === undefined) throw new RangeError(`position ${position} of ${values.length}`);
  return value;
}
