import { type DeviceName, type DType, type Handle, native } from '../native/addon.ts';
import type { GraphNode } from '../tensor/graph.ts';
import type { Shape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { GradBuffer } from './buffer.ts';
import { isGradEnabled } from './mode.ts';
import { gradientType, type Sink } from './sink.ts';

/**
 * Gradients of the outputs (null: that output was not used), places for those of the inputs (null: not wanted), the saved
 * tensors in the order in which they were saved. `retain`: they are needed again and must stay as they are; otherwise they may
 * be overwritten.
 */
export type Backward = (
  dy: readonly (GradBuffer | null)[],
  sinks: readonly (Sink | null)[],
  saved: readonly Handle[],
  retain: boolean,
) => void;

/** One recorded op. It lives as long as one of its outputs, or a later node that uses one. */
export class Node implements GraphNode {
  static #count = 0;
  /** Order of creation, which is a topological order. */
  readonly sequence = Node.#count++;
  readonly op: string;
  /** Where each input came from: the node that made it, a leaf, or nothing that wants a gradient. */
  readonly inputs: readonly (Tensor | { node: Node; index: number } | null)[];
  /** Shapes of the outputs, and the types of their gradients. */
  readonly outputs: readonly { shape: Shape; dtype: DType }[];
  readonly device: DeviceName;
  #backward: Backward | null;
  #saved: readonly Handle[];
  #users: number;

  constructor(op: string, inputs: readonly (Tensor | null)[], outputs: readonly Tensor[], saved: readonly Handle[], backward: Backward) {
    this.op = op;
    this.inputs = inputs.map((t) => {
      if (!t?.requiresGrad) return null;
      if (!t.node) return t;
      const node = t.node as Node;
      node.#users++;
      return { node, index: t.outputIndex };
    });
    const device = (outputs[0] as Tensor).device;
    this.outputs = outputs.map((t) => ({ shape: t.shape, dtype: gradientType(device, t.dtype) }));
    this.device = device;
    this.#backward = backward;
    this.#saved = saved;
    this.#users = outputs.length;
    forgotten.register(this, this.#saved, this);
  }

  /** True once backward has run and let go of what it saved. */
  get spent(): boolean {
    return this.#backward === null;
  }

  run(dy: readonly (GradBuffer | null)[], sinks: readonly (Sink | null)[], retain: boolean): void {
    this.#backward?.(dy, sinks, this.#saved, retain);
  }

  /** Lets go of the saved tensors. Returns the nodes before this one that nobody else needs. */
  free(): Node[] {
    const unused: Node[] = [];
    if (this.#backward === null) return unused;
    this.#backward = null;
    for (const handle of this.#saved) native.dispose(handle);
    this.#saved = [];
    forgotten.unregister(this);
    for (const input of this.inputs) if (input && !(input instanceof Tensor) && --input.node.#users === 0) unused.push(input.node);
    return unused;
  }

  release(): void {
    if (--this.#users > 0) return;
    const pending: Node[] = [this];
    for (let node = pending.pop(); node; node = pending.pop()) pending.push(...node.free());
  }
}

/** What a graph saved that nobody disposed of. */
const forgotten = new FinalizationRegistry<readonly Handle[]>((saved) => {
  for (const handle of saved) native.dispose(handle);
});

/** True when an op on these inputs is to be recorded. */
export function tracks(...inputs: readonly (Tensor | null | undefined)[]): boolean {
  return isGradEnabled() && inputs.some((t) => t?.requiresGrad);
}

/**
 * Wraps the outputs of an op. When one of the inputs wants a gradient, records the op: `save` lists what backward reads
 * (tensors are aliased; bare handles are owned from here on), `backward` puts the gradients into the sinks.
 */
export function record(
  op: string,
  outputs: readonly Handle[],
  inputs: readonly (Tensor | null)[],
  save: readonly (Tensor | Handle)[],
  backward: Backward,
): Tensor[] {
  const tensors = outputs.map((h) => new Tensor(h));
  const owned = (h: Tensor | Handle): Handle => {
    if (h instanceof Tensor) return native.save(h.handle);
    native.hold(h, 'saved for backward');
    return h;
  };
  if (tracks(...inputs)) {
    const node = new Node(op, inputs, tensors, save.map(owned), backward);
    tensors.forEach((t, i) => {
      t.attach(node, i);
    });
  } else for (const h of save) if (!(h instanceof Tensor) && !outputs.includes(h)) native.dispose(h);
  return tensors;
}

/** `record` for an op with one output. */
export function record1(
  op: string,
  output: Handle,
  inputs: readonly (Tensor | null)[],
  save: readonly (Tensor | Handle)[],
  backward: (dy: GradBuffer, sinks: readonly (Sink | null)[], saved: readonly Handle[], retain: boolean) => void,
): Tensor {
  return record(op, [output], inputs, save, ([dy], sinks, saved, retain) => backward(dy as GradBuffer, sinks, saved, retain))[0] as Tensor;
}
