import { noGrad } from '../autograd/index.ts';
import { cast, copyInto, type Precision, toDevice } from '../ops/index.ts';
import { empty, full, normal } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import type { DType } from '../tensor/dtype.ts';
import { nextSeed } from '../tensor/random.ts';
import type { Shape } from '../tensor/shape.ts';
import { scope, Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import { computeType } from './compute_type.ts';
import { type Compute, computesInBf16 } from './policy.ts';

/** A tensor that is learned, f32 unless its optimizer keeps it in bf16. It lives until its module is disposed of, whatever scope it was made in. */
export class Parameter extends Tensor {
  /** Whether it lies in the flat buffers of an optimizer. */
  placed = false;
  #copy: Tensor | null = null;

  /** Takes over the tensor's memory. */
  constructor(initial: Tensor) {
    super(initial.take());
    this.keep();
    this.holdAs('parameters');
    this.requiresGrad = true;
  }

  override rebind(handle: Parameters<Tensor['rebind']>[0]): void {
    super.rebind(handle);
    this.holdAs('parameters');
  }

  /**
   * What forward passes use: the parameter itself, or its copy in bf16 or f16. The copy shares the parameter's leaf, so that
   * backward writes the f32 gradient of the parameter.
   */
  get compute(): Tensor {
    const copy = this.#copy;
    if (copy === null) return this;
    copy.leaf = this.leaf;
    copy.requiresGrad = this.requiresGrad;
    return copy;
  }

  /** Type of `compute`. */
  get computeType(): DType {
    return this.#copy?.dtype ?? this.dtype;
  }

  /** Takes over a tensor of the parameter's shape as the copy to compute with (null: none). `refreshCompute` fills it. */
  computeWith(copy: Tensor | null): void {
    if (this.#copy) {
      this.#copy.leaf = null; // it is the parameter's
      this.#copy.dispose();
    }
    this.#copy = copy?.keep().holdAs('parameters') ?? null;
  }

  /** Brings the copy up to date with the values. Optimizers do this themselves. */
  refreshCompute(): void {
    if (this.#copy) copyInto(this.#copy, this);
  }

  /** Moves to another device; gradients and the copy to compute with are left behind. */
  moveTo(device: Device): void {
    const moved = noGrad(() => toDevice(this, device));
    if (moved.device === this.device) {
      moved.dispose();
      return;
    }
    this.computeWith(null);
    this.leaf?.moveTo(null);
    this.rebind(moved.take());
  }

  override dispose(): void {
    this.computeWith(null);
    super.dispose();
  }
}

/** A tensor that belongs to a module and is not learned: it is saved, moved and freed with it. */
export class Frozen extends Tensor {
  /** Takes over the tensor's memory. */
  constructor(initial: Tensor) {
    super(initial.take());
    this.keep();
    this.holdAs('parameters');
  }

  moveTo(device: Device): void {
    const moved = noGrad(() => toDevice(this, device));
    if (moved.device === this.device) {
      moved.dispose();
      return;
    }
    this.rebind(moved.take());
    this.holdAs('parameters');
  }
}

/** How parameters begin: where, and from which sequence of seeds. */
export interface InitOptions {
  device?: Device;
  /** Gives each parameter a seed of its own; default: the sequence that `manualSeed` starts. */
  seeds?: () => number;
  /** Leaves the contents undefined: whoever makes the module writes all of them. Default false. */
  undefinedContents?: boolean;
}

/** The seeds that follow from one: those of a model's parameters, and others with another `first`. Without a seed those of `manualSeed`. */
export function seedsFrom(seed: number | undefined, first = 0): () => number {
  let count = first;
  return seed === undefined ? nextSeed : () => (seed * 0x10000 + count++) % Number.MAX_SAFE_INTEGER;
}

/** A parameter drawn from a normal distribution with mean 0. */
export function normalParameter(shape: Shape, std: number, options: InitOptions = {}): Parameter {
  const at = options.device ? { device: options.device } : {};
  const seed = (options.seeds ?? nextSeed)();
  return new Parameter(options.undefinedContents ? empty(shape, at) : normal(shape, 0, std, { seed, ...at }));
}

/** A parameter of one value. */
export function constantParameter(shape: Shape, value: number, options: InitOptions = {}): Parameter {
  const at = options.device ? { device: options.device } : {};
  return new Parameter(options.undefinedContents ? empty(shape, at) : full(shape, value, at));
}

/**
 * A part of a model. Its parameters are the Parameters among its properties and those of the Modules there (alone or in
 * arrays), named by the path of properties: `blocks.0.mlp.up.weight`. So are the tensors that it holds frozen.
 */
export abstract class Module {
  /** False while evaluating: dropout is off. */
  training = true;
  /** What this part computes with; see `computeIn`. */
  compute: Compute = 'f32';

  /** Of this part's products, but for those of a layer's matrices in fp8. */
  protected get precision(): Precision {
    if (computesInBf16(this.compute)) return 'bf16'; // operands in bf16 already stay as they are
    return this.compute === 'tf32' ? 'tf32' : 'full';
  }
  /** Of products with a layer's matrices. */
  protected get layerPrecision(): Precision {
    return this.compute === 'fp8' ? 'fp8' : this.precision;
  }

  #children(): [string, Parameter | Frozen | Module][] {
    const found: [string, Parameter | Frozen | Module][] = [];
    const look = (key: string, value: unknown): void => {
      if (value instanceof Parameter || value instanceof Frozen || value instanceof Module) found.push([key, value]);
    };
    for (const [key, value] of Object.entries(this)) {
      if (Array.isArray(value)) value.forEach((item, i) => void look(`${key}.${i}`, item));
      else look(key, value);
    }
    return found;
  }

  /** All that is to be saved: parameters and what is held frozen, each once (a shared one under its first name), in the order of the properties. */
  namedTensors(): Map<string, Parameter | Frozen> {
    const names = new Map<Parameter | Frozen, string>();
    const visit = (module: Module, prefix: string): void => {
      for (const [key, child] of module.#children()) {
        if (child instanceof Module) visit(child, `${prefix}${key}.`);
        else if (!names.has(child)) names.set(child, `${prefix}${key}`);
      }
    };
    visit(this, '');
    return new Map([...names].map(([p, name]) => [name, p]));
  }

  /** Of them the parameters. */
  namedParameters(): Map<string, Parameter> {
    return new Map([...this.namedTensors()].filter((entry): entry is [string, Parameter] => entry[1] instanceof Parameter));
  }

  parameters(): Parameter[] {
    return [...this.namedParameters().values()];
  }

  /** Number of learned numbers, and of those that were before they were frozen in another form. */
  parameterCount(): number {
    return this.parameters().reduce((n, p) => n + p.size, this.frozenCount());
  }

  /** How many numbers are held in another form than parameters: in NF4. */
  frozenCount(): number {
    return this.#children().reduce((n, [, child]) => n + (child instanceof Module ? child.frozenCount() : 0), 0);
  }

  /** Of them those that are not frozen. */
  trainableCount(): number {
    return this.parameters().reduce((n, p) => n + (p.requiresGrad ? p.size : 0), 0);
  }

  /** Training mode, here and in all parts. */
  train(on = true): this {
    this.training = on;
    for (const [, child] of this.#children()) if (child instanceof Module) child.train(on);
    return this;
  }

  eval(): this {
    return this.train(false);
  }

  /**
   * What forward and backward compute with from now on, here and in all parts. The parameters stay f32; with bf16 and f16 each
   * gets a copy of that type, which optimizers keep up to date. Made before the optimizer.
   */
  computeIn(compute: Compute): this {
    const typeOf = (p: Parameter) => computeType(compute, p.device);
    const parameters = this.namedParameters();
    for (const [name, p] of parameters)
      if (p.placed && p.computeType !== typeOf(p))
        throw new ArgumentError(`computeIn: ${name} must not belong to an optimizer yet, got one that computes in ${p.computeType}`);
    const changing = [...parameters.values()].filter((p) => p.computeType !== typeOf(p));
    const copies = noGrad(() => scope(() => changing.map((p) => (typeOf(p) === 'f32' ? null : cast(p, typeOf(p))))));
    changing.forEach((p, i) => {
      p.computeWith(copies[i] ?? null);
    });
    this.#setCompute(compute);
    return this;
  }

  #setCompute(compute: Compute): void {
    this.compute = compute;
    for (const [, child] of this.#children()) if (child instanceof Module) child.#setCompute(compute);
  }

  /** After values were written by other means than an optimizer: brings the copies to compute with up to date. */
  refreshCompute(): void {
    for (const p of this.parameters()) p.refreshCompute();
  }

  /** Moves all parameters to a device. Made before the optimizer. */
  to(device: Device): this {
    const parameters = this.namedParameters();
    for (const [name, p] of parameters)
      if (p.placed) throw new ArgumentError(`to: ${name} must not belong to an optimizer yet`, { hint: 'Move the model first.' });
    for (const p of this.namedTensors().values()) p.moveTo(device);
    return this.computeIn(this.compute);
  }

  /** Frees all parameters, and what is held frozen. */
  dispose(): void {
    for (const p of this.namedTensors().values()) p.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
