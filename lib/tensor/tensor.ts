import { inspect } from 'node:util';
import { atomically, type DeviceName, type Handle, type HolderKind, native } from '../native/addon.ts';
import { ArgumentError, HeddleError } from '../util/errors.ts';
import { type DataTypes, type DType, hostArray, hostType, isFloat, type TensorData, typedArray } from './dtype.ts';
import { isDense } from './file.ts';
import { type GraphNode, LeafGradient } from './graph.ts';
import { formatTensor } from './print.ts';
import { enterTensor, runScope } from './scope.ts';
import { elements, type Shape, shapeText } from './shape.ts';

/** Frees the memory of tensors that nobody disposed of, when the collector gets to them: a backstop, not a plan. */
const collected = new FinalizationRegistry<Handle>((handle) => native.dispose(handle));

/**
 * A multi-dimensional array on a device. Ops are enqueued and return at once; `await t.data()` waits for the result.
 * Memory belongs to scopes: see `scope`, `keep` and `using`.
 */
export class Tensor {
  #handle: Handle | null;
  #shape: Shape | null = null;
  #dtype: DType | null = null;
  #registered = false;
  /** The scope that frees this tensor, however deep below it is used. */
  #scope: Set<Tensor> | null = null;
  #requiresGrad = false;
  /** Set on leaves that want a gradient. */
  leaf: LeafGradient | null = null;
  /** The op that made this tensor, while its gradient may be asked for; which of the op's outputs it is. */
  node: GraphNode | null = null;
  outputIndex = 0;

  /** Takes over the handle. Not for users: see `tensor`, `zeros`, `randn`. */
  constructor(handle: Handle) {
    this.#handle = handle;
    this.#scope = enterTensor(this);
    if (!this.#scope) this.#register();
  }

  #leaveScope(): void {
    this.#scope?.delete(this);
    this.#scope = null;
  }

  #register(): void {
    if (this.#registered || this.#handle === null) return;
    collected.register(this, this.#handle, this);
    this.#registered = true;
  }

  /** The native handle. Throws when the tensor was disposed. */
  get handle(): Handle {
    if (this.#handle === null)
      throw new HeddleError('ERR_HEDDLE_DISPOSED', `this tensor ${this.#shape ? shapeText(this.#shape) : ''} was disposed`, {
        hint: 'A scope frees the tensors made in it that it does not return: return it, or keep() it.',
      });
    return this.#handle;
  }

  get disposed(): boolean {
    return this.#handle === null;
  }

  /** Sizes, outermost first. */
  get shape(): Shape {
    this.#shape ??= Object.freeze(native.shape(this.handle));
    return this.#shape;
  }

  get dtype(): DType {
    this.#dtype ??= native.dtype(this.handle);
    return this.#dtype;
  }

  /** `'cpu'` or `'cuda:0'`. */
  get device(): DeviceName {
    return native.device(this.handle);
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get size(): number {
    return elements(this.shape);
  }

  /** Whether backward reaches this tensor: a leaf that asks for its gradient, or the result of an op on such. */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  set requiresGrad(wanted: boolean) {
    if (this.node && !wanted) throw new ArgumentError('requiresGrad can be turned off on leaves only; use detach()');
    if (wanted && !isFloat(this.dtype)) throw new ArgumentError(`requiresGrad: dtype must be f32, bf16 or f16, got ${this.dtype}`);
    this.#requiresGrad = wanted;
    if (wanted && !this.node) this.leaf ??= new LeafGradient();
  }

  /** The gradient of a leaf, f32, after backward; null before and after `zeroGrad`. A view: disposing of it costs nothing. */
  get grad(): Tensor | null {
    if (!this.leaf?.filled || this.leaf.buffer === null) return null;
    return new Tensor(native.alias(this.leaf.buffer));
  }

  /** Forgets the gradient: the next backward overwrites it. */
  zeroGrad(): void {
    if (this.leaf) this.leaf.filled = false;
  }

  /** Marks this tensor as the `index`-th output of a node. For lib/autograd. */
  attach(node: GraphNode, index: number): this {
    this.node = node;
    this.outputIndex = index;
    this.#requiresGrad = true;
    return this;
  }

  /** The same memory, outside the graph. */
  detach(): Tensor {
    return new Tensor(native.alias(this.handle));
  }

  /** Frees the memory now (when nothing else shares it). Safe to call twice. */
  dispose(): void {
    if (this.#handle === null) return;
    native.dispose(this.#handle);
    if (this.#registered) collected.unregister(this);
    this.#leaveScope();
    this.#handle = null;
    this.leaf?.moveTo(null);
    this.leaf = null;
    this.node?.release();
    this.node = null;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Takes this tensor out of its scope: it lives until `dispose()` or the garbage collector. */
  keep(): this {
    this.#leaveScope();
    this.#register();
    return this;
  }

  /** Hands this tensor to the scope that is current now. For `scope`. */
  adopt(): void {
    if (this.#handle === null || this.#registered) return;
    this.#scope = enterTensor(this);
    if (!this.#scope) this.#register();
  }

  /** Gives up the handle without freeing what it stands for; the caller owns it. */
  take(): Handle {
    const handle = this.handle;
    if (this.#registered) collected.unregister(this);
    this.#leaveScope();
    this.#handle = null;
    return handle;
  }

  /** Says what the memory is for, which out-of-memory errors tell. For lib/nn and lib/optim. */
  holdAs(kind: HolderKind): this {
    native.hold(this.handle, kind);
    return this;
  }

  /** Replaces the memory behind this tensor (a parameter that moves into a flat buffer). Shapes must agree; the type may be another one. */
  rebind(handle: Handle): void {
    const old = this.handle;
    if (this.#registered) collected.unregister(this);
    this.#registered = false;
    this.#handle = handle;
    this.#dtype = null;
    this.#register();
    native.dispose(old);
  }

  /** The elements in row-major order, once the device has computed them. The event loop goes on meanwhile. */
  async data(): Promise<TensorData> {
    const host = hostType(this.dtype);
    const dense = host === this.dtype ? this.handle : native.cast(this.handle, host);
    try {
      return typedArray(host, await native.read(dense));
    } finally {
      if (dense !== this.#handle) native.dispose(dense);
    }
  }

  /** As `data()`, but waits here: the event loop stands still. */
  dataSync<D extends DType = DType>(): DataTypes[D] {
    const host = hostType(this.dtype);
    const dense = host === this.dtype ? this.handle : native.cast(this.handle, host);
    try {
      return typedArray(host, native.readSync(dense)) as DataTypes[D];
    } finally {
      if (dense !== this.#handle) native.dispose(dense);
    }
  }

  #single(): void {
    if (this.size !== 1) throw new ArgumentError(`item: the tensor must have one element, got ${shapeText(this.shape)}`);
  }

  /** The only element. */
  async item(): Promise<number> {
    this.#single();
    return (await this.data())[0] as number;
  }

  /** The only element; waits here. */
  itemSync(): number {
    this.#single();
    return this.dataSync()[0] as number;
  }

  /** Overwrites the elements in place: what a captured graph reads at its next replay. */
  set(data: TensorData | readonly number[]): this {
    const host = hostType(this.dtype);
    const count = this.size;
    if (data.length !== count) throw new ArgumentError(`set: data must have ${count} elements, got ${data.length}`);
    if (host === this.dtype && isDense(this)) {
      native.write(this.handle, hostArray(this.dtype, data));
      return this;
    }
    atomically(() => {
      const staged = native.empty(this.device, host, this.shape);
      native.write(staged, hostArray(this.dtype, data));
      native.copyInto(this.handle, staged);
      native.dispose(staged);
    });
    return this;
  }

  toString(): string {
    return formatTensor(this);
  }

  [inspect.custom](): string {
    return formatTensor(this);
  }
}

export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}

/**
 * Runs `fn` and frees the tensors made in it, except those it returns (also in arrays and plain objects) and those kept.
 * Training steps run in one: a synchronous loop never lets the garbage collector's finalisers run.
 * @throws ArgumentError when `fn` returns a promise
 */
export function scope<T>(fn: () => T): T {
  return runScope(fn, isTensor, (t) => t.adopt());
}

/**
 * Runs `fn`, which makes several tensors that outlive it (parameters, caches), so that none is left when it throws halfway. What
 * it makes must not be owned by anything that outlives the failure.
 */
export const allOrNone: <T>(fn: () => T) => T = atomically;

/** Takes a tensor out of its scope. */
export function keep(t: Tensor): Tensor {
  return t.keep();
}
