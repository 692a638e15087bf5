import { noGrad } from '../autograd/index.ts';
import { copyInto, fill, reshape, slice } from '../ops/index.ts';
import { empty, emptyOnHost, full } from '../tensor/create.ts';
import { releaseMemory } from '../tensor/device.ts';
import type { LeafGradient } from '../tensor/graph.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import { Module, type Parameter } from './module.ts';
import type { Storage } from './policy.ts';

/** Every parameter begins at a multiple of so many elements: whole cache lines and vectors. */
const ALIGN = 64;

/** A range of the flat buffers. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface Placement extends Range {
  readonly name: string;
  readonly parameter: Parameter;
  readonly group: string;
}

/** Consecutive gradients that are complete at about the same time: what data parallelism would send in one message. */
export interface Bucket extends Range {
  readonly index: number;
  readonly parameters: readonly Parameter[];
}

/** Decay belongs on matrices only. */
export function decayGroup(_name: string, p: Parameter): string {
  return p.rank >= 2 ? 'decay' : 'plain';
}

export interface ParameterSetOptions {
  /** Group of a parameter; the parameters of a group lie together, groups in the order of `groups`. */
  groupOf?: (name: string, p: Parameter) => string;
  groups?: readonly string[];
  /** Size of a bucket, in elements. Default 4 Mi (16 MiB of f32). */
  bucketSize?: number;
  /** Type of the values. bf16: parameters become bf16, and are themselves what forward passes use. Default f32. */
  weights?: Storage;
}

/**
 * The parameters of a model in flat buffers: each parameter becomes a view of one f32 buffer of values and one of gradients,
 * so that an optimizer is one kernel and a norm one pass. With `weights` the values are bf16 and stay so. Parameters that have a copy to compute with (`Module.computeIn`) get it
 * from a third buffer, which the optimizer writes in its own pass. Within a group parameters lie in the reverse of their order in the
 * model, which is about the order in which backward completes them; buckets are cut in that order. Frozen parameters
 * (requiresGrad is false) stay outside.
 */
export class ParameterSet {
  readonly values: Tensor;
  /** The values rounded to bf16 or f16: what forward passes use; null: they use the values. */
  readonly compute: Tensor | null;
  readonly gradients: Tensor;
  readonly placements: readonly Placement[];
  readonly buckets: readonly Bucket[];
  readonly #ranges = new Map<string, Range>();
  readonly #hooks: ((bucket: Bucket) => void)[] = [];
  /** For every bucket the backward pass that it was last touched in, and what that pass has not completed. */
  readonly #progress: { pass: number; missing: Set<Parameter> }[];
  readonly #watched = new Map<LeafGradient, (pass: number) => void>();

  constructor(parameters: Module | ReadonlyMap<string, Parameter>, options: ParameterSetOptions = {}) {
    const { groupOf = decayGroup, groups = ['decay', 'plain'], bucketSize = 4 << 20, weights = 'f32' } = options;
    const all = [...(parameters instanceof Module ? parameters.namedParameters() : parameters)];
    const named = all.filter(([, p]) => p.requiresGrad);
    if (named.length === 0) {
      const got = all.length === 0 ? 'none' : `${all.length} frozen ones`;
      throw new ArgumentError(`ParameterSet: the model must have at least one parameter that requires its gradient, got ${got}`);
    }
    for (const [name, p] of named)
      if (p.placed) throw new ArgumentError(`ParameterSet: parameter ${name} is already in the flat buffers of another optimizer`);
    const placements: Placement[] = [];
    let at = 0;
    for (const group of groups) {
      const start = at;
      for (const [name, parameter] of named.toReversed()) {
        if (groupOf(name, parameter) !== group) continue;
        placements.push({ name, parameter, group, start: at, end: at + parameter.size });
        at = Math.ceil((at + parameter.size) / ALIGN) * ALIGN;
      }
      this.#ranges.set(group, { start, end: at });
    }
    if (placements.length !== named.length)
      throw new ArgumentError(`ParameterSet: groupOf must give one of ${groups.join(', ')} for every parameter`);
    this.placements = placements;
    const { device, computeType: type } = (named[0] as [string, Parameter])[1];
    for (const [name, p] of named) {
      if (p.device !== device) throw new ArgumentError(`ParameterSet: parameter ${name} must be on ${device}, got ${p.device}`);
      if (p.computeType !== type) throw new ArgumentError(`ParameterSet: parameter ${name} must compute in ${type}, got ${p.computeType}`);
    }
    // In a scope, so that none is left where there is no memory for all. Nothing of the model has been touched so far.
    const [values, gradients, compute] = scope(() => [
      full([at], 0, { dtype: weights, device }),
      full([at], 0, { device }), // only the gaps count: gradients are overwritten, never cleared
      type === 'f32' || weights !== 'f32' ? null : full([at], 0, { dtype: type, device }),
    ]) as [Tensor, Tensor, Tensor | null];
    this.values = values.keep().holdAs('parameters');
    this.gradients = gradients.keep().holdAs('gradients');
    this.compute = compute?.keep().holdAs('parameters') ?? null;
    for (const { parameter, start, end } of placements) this.#move(parameter, start, end);
    // Where the parameters lay are blocks of their sizes, of which few fit what a step needs.
    releaseMemory(device);
    this.refreshCompute();
    this.buckets = this.#cut(bucketSize);
    this.#progress = this.buckets.map(() => ({ pass: 0, missing: new Set() }));
    for (const bucket of this.buckets) for (const p of bucket.parameters) this.#watch(bucket, p);
  }

  #view(buffer: Tensor, parameter: Parameter, start: number, end: number): Tensor {
    return noGrad(() => scope(() => reshape(slice(buffer, 0, start, end), parameter.shape)));
  }

  #move(parameter: Parameter, start: number, end: number): void {
    const place = this.#view(this.values, parameter, start, end);
    copyInto(place, parameter);
    parameter.rebind(place.take());
    const leaf = parameter.leaf as LeafGradient;
    const gradient = this.#view(this.gradients, parameter, start, end);
    leaf.moveTo(gradient.take());
    parameter.placed = true;
    if (this.compute) parameter.computeWith(this.#view(this.compute, parameter, start, end));
    else parameter.computeWith(null);
  }

  #cut(size: number): Bucket[] {
    const buckets: Bucket[] = [];
    let members: Placement[] = [];
    const close = (): void => {
      const [first, last] = [members[0], members.at(-1)];
      if (first && last)
        buckets.push({ index: buckets.length, start: first.start, end: last.end, parameters: members.map((m) => m.parameter) });
      members = [];
    };
    for (const p of this.placements) {
      const first = members[0];
      if (first && (first.group !== p.group || p.end - first.start > size)) close();
      members.push(p);
    }
    close();
    return buckets;
  }

  #watch(bucket: Bucket, p: Parameter): void {
    const leaf = p.leaf as LeafGradient;
    const ready = (pass: number): void => {
      const progress = this.#progress[bucket.index] as { pass: number; missing: Set<Parameter> };
      if (progress.pass !== pass) {
        progress.pass = pass;
        progress.missing = new Set(bucket.parameters);
      }
      if (progress.missing.delete(p) && progress.missing.size === 0) this.#complete(bucket);
    };
    leaf.onReady.add(ready);
    this.#watched.set(leaf, ready);
  }

  #complete(bucket: Bucket): void {
    for (const hook of this.#hooks) hook(bucket);
  }

  /**
   * Calls `hook` once in every backward when a bucket's gradients are complete, in the order in which they are. A bucket of
   * which the last backward reached only a part is complete when the optimizer asks for its gradients.
   */
  onBucket(hook: (bucket: Bucket) => void): void {
    this.#hooks.push(hook);
  }

  /** Whether somebody wants to know of complete buckets. */
  get watched(): boolean {
    return this.#hooks.length > 0;
  }

  /** The elements of a group, gaps included. */
  range(group: string): Range {
    return this.#ranges.get(group) ?? { start: 0, end: 0 };
  }

  /** A group's part of a flat buffer of this set: a view. */
  part(buffer: Tensor, group: string): Tensor {
    const { start, end } = this.range(group);
    return noGrad(() => slice(buffer, 0, start, end));
  }

  /** The elements of a flat buffer from `start` on: a view. */
  tail(buffer: Tensor, start: number): Tensor {
    return noGrad(() => slice(buffer, 0, start, buffer.size));
  }

  /** A parameter's part of a flat buffer of this set, in the parameter's shape: a view. */
  partOf(buffer: Tensor, placement: Placement): Tensor {
    return this.#view(buffer, placement.parameter, placement.start, placement.end);
  }

  /** A flat buffer of as many elements as `values`, for an optimizer's state; `onHost`: see `emptyOnHost`. */
  buffer(value?: number, dtype: Storage = 'f32', onHost = false): Tensor {
    const buffer = (onHost ? emptyOnHost : empty)(this.values.shape, { device: this.values.device, dtype });
    if (value !== undefined) fill(buffer, value);
    return buffer.keep().holdAs('optimizer state');
  }

  /**
   * Parameters that no backward reached have a gradient of 0.
   * @throws ArgumentError when a parameter was frozen, or unfrozen, since this set was made
   */
  completeGradients(): void {
    for (const { name, parameter, start, end } of this.placements) {
      const leaf = parameter.leaf as LeafGradient;
      if (!parameter.requiresGrad)
        throw new ArgumentError(`parameter ${name} must require its gradient, got one frozen after the optimizer was made`, {
          hint: 'Set requiresGrad to false before making the optimizer.',
        });
      if (leaf.filled) continue;
      scope(() => noGrad(() => fill(slice(this.gradients, 0, start, end), 0)));
      leaf.filled = true;
    }
    for (const bucket of this.buckets) {
      const { missing } = this.#progress[bucket.index] as { missing: Set<Parameter> };
      if (missing.size === 0) continue;
      missing.clear();
      this.#complete(bucket);
    }
  }

  /** Rounds all values into the copy that forward passes use, in one pass. */
  refreshCompute(): void {
    if (this.compute) copyInto(this.compute, this.values);
  }

  /** Forgets all gradients; nothing is cleared. */
  zeroGrad(): void {
    for (const { parameter } of this.placements) parameter.zeroGrad();
  }

  /** Frees the gradients and lets go of the parameters: they keep their values and may go into another set. */
  dispose(): void {
    for (const { parameter } of this.placements) {
      parameter.placed = false;
      parameter.leaf?.moveTo(null);
    }
    for (const [leaf, ready] of this.#watched) leaf.onReady.delete(ready);
    this.values.dispose();
    this.compute?.dispose();
    this.gradients.dispose();
  }
}
