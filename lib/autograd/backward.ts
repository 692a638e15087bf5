import { atomically, native } from '../native/addon.ts';
import type { LeafGradient } from '../tensor/graph.ts';
import { sameShape, shapeText } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import { GradBuffer } from './buffer.ts';
import type { Node } from './node.ts';
import { gradientType, LeafSink, type Sink, Slot } from './sink.ts';

export interface BackwardOptions {
  /** Gradient of the root, of its shape; default 1 for a root of one element. */
  gradient?: Tensor;
  /** Keep what was saved, so that backward can run again. */
  retainGraph?: boolean;
}

/** The nodes that the root depends on, latest first; and how many contributions each leaf will get. */
function collect(root: Node): { nodes: Node[]; leaves: Map<LeafGradient, number> } {
  const seen = new Set<Node>([root]);
  const leaves = new Map<LeafGradient, number>();
  for (const node of seen)
    for (const input of node.inputs) {
      if (!input) continue;
      if (input instanceof Tensor) {
        if (input.leaf) leaves.set(input.leaf, (leaves.get(input.leaf) ?? 0) + 1);
      } else seen.add(input.node);
    }
  return { nodes: [...seen].sort((a, b) => b.sequence - a.sequence), leaves };
}

function rootGradient(root: Tensor, given: Tensor | undefined): GradBuffer {
  if (given) {
    if (!sameShape(given.shape, root.shape))
      throw new ArgumentError(`backward: gradient must be ${shapeText(root.shape)}, got ${shapeText(given.shape)}`);
    if (given.device !== root.device) throw new ArgumentError(`backward: gradient must be on ${root.device}, got ${given.device}`);
    return new GradBuffer(native.cast(given.handle, gradientType(root.device, root.dtype)));
  }
  if (root.size !== 1)
    throw new ArgumentError(`backward: a tensor of shape ${shapeText(root.shape)} needs { gradient }; only one element has an implicit 1`);
  const one = native.empty(root.device, gradientType(root.device, root.dtype), root.shape);
  native.fill(one, 1);
  return new GradBuffer(one, true);
}

/**
 * Adds the gradient of `root` to every leaf that it depends on (`leaf.grad`), latest op first, freeing what was saved on the way.
 * When it fails halfway (out of memory), leaves may hold a part of their gradient: `zeroGrad()` before the next one.
 * @throws ArgumentError when nothing asks for a gradient, the graph was already used, or a gradient is missing or misshapen
 */
export function backward(root: Tensor, options: BackwardOptions = {}): void {
  if (!root.requiresGrad) throw new ArgumentError('backward: no input of this tensor has requiresGrad, or it was made under noGrad');
  const pass = ++passes;
  if (!root.node) {
    const start = rootGradient(root, options.gradient);
    const leaf = root.leaf as LeafGradient;
    new LeafSink(root, leaf).pass(start);
    start.drop();
    for (const ready of leaf.onReady) ready(pass);
    return;
  }
  const { nodes, leaves } = collect(root.node as Node);
  const used = nodes.find((node) => node.spent);
  if (used)
    throw new ArgumentError(
      `backward: the graph behind this tensor (op ${used.op}) was already used; pass { retainGraph: true } to the first backward`,
    );
  // Memory of gradients outlives this call, whatever happens; all else that is made here does not outlive a failure.
  for (const node of nodes)
    for (const input of node.inputs)
      if (input instanceof Tensor && input.leaf?.buffer === null && !input.disposed)
        input.leaf.moveTo(native.empty(input.device, 'f32', input.shape));
  try {
    atomically(() => run(root, nodes, leaves, pass, options));
  } finally {
    // All of them are free already, unless it failed: then nobody would let go of those that were still to run.
    if (!options.retainGraph) for (const node of nodes) node.free();
  }
}

/** Numbers the backward passes. */
let passes = 0;

function run(root: Tensor, nodes: readonly Node[], leaves: Map<LeafGradient, number>, pass: number, options: BackwardOptions): void {
  propagate(root, nodes, rootGradient(root, options.gradient), options.retainGraph ?? false, (node) => {
    for (const input of node.inputs)
      if (input instanceof Tensor && input.leaf) {
        const left = (leaves.get(input.leaf) ?? 0) - 1;
        leaves.set(input.leaf, left);
        if (left === 0) for (const ready of input.leaf.onReady) ready(pass);
      }
  });
}

/**
 * Within another backward: that of a graph which was made for it. Its leaves are inputs of the op around it, which tells when their gradients
 * are complete.
 */
export function backwardWithin(root: Tensor, dy: GradBuffer): void {
  if (!root.node) return;
  const { nodes } = collect(root.node as Node);
  try {
    propagate(root, nodes, dy.share(), false, () => {});
  } finally {
    for (const node of nodes) node.free();
  }
}

/** Runs the nodes' backwards, latest first. Takes over `start`, the gradient of the root. */
function propagate(root: Tensor, nodes: readonly Node[], start: GradBuffer, retain: boolean, done: (node: Node) => void): void {
  const rootNode = root.node as Node;
  const slots = new Map<Node, Slot[]>(nodes.map((n) => [n, n.outputs.map(({ shape, dtype }) => new Slot(shape, dtype, n.device))]));
  slots.get(rootNode)?.[root.outputIndex]?.pass(start);
  start.drop();

  for (const node of nodes) {
    const dy = (slots.get(node) as Slot[]).map((s) => s.take());
    if (dy.some((g) => g !== null)) {
      const leafSinks = new Map<LeafGradient, Sink>(); // one for a leaf that the op has in several places
      const sinks = node.inputs.map((input): Sink | null => {
        if (!input) return null;
        if (!(input instanceof Tensor)) return slots.get(input.node)?.[input.index] ?? null;
        if (!input.leaf || input.disposed) return null;
        const sink = leafSinks.get(input.leaf) ?? new LeafSink(input, input.leaf);
        leafSinks.set(input.leaf, sink);
        return sink;
      });
      node.run(dy, sinks, retain);
    }
    for (const g of dy) g?.drop();
    slots.delete(node);
    done(node);
    if (!retain) node.free(); // the nodes before it are still to run, also those that nobody else needs
  }
}
