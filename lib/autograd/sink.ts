import { type Handle, native } from '../native/addon.ts';
import type { LeafGradient } from '../tensor/graph.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { GradBuffer } from './buffer.ts';

/**
 * Where an op's backward puts the gradient of one input. Backward ops are told where to accumulate: there is no separate
 * addition and no zeroing pass.
 */
export interface Sink {
  /** Shape of the input, and of its gradient. */
  readonly shape: Shape;
  /** Calls `write` with the f32 memory to write to; `accumulate`: add to it, otherwise overwrite all of it. */
  into(write: (out: Handle, accumulate: boolean) => void): void;
  /** The gradient is this buffer as it is (it has the input's shape); it is shared, not copied. */
  pass(gradient: GradBuffer): void;
  /** The gradient is this tensor (f32, the input's shape), which the sink now owns. */
  give(gradient: Handle): void;
}

/** The gradient of an output of a node, until the node's backward takes it. */
export class Slot implements Sink {
  readonly shape: Shape;
  readonly #device: string;
  #value: GradBuffer | null = null;

  constructor(shape: Shape, device: string) {
    this.shape = shape;
    this.#device = device;
  }

  take(): GradBuffer | null {
    const value = this.#value;
    this.#value = null;
    return value;
  }

  into(write: (out: Handle, accumulate: boolean) => void): void {
    if (!this.#value) {
      this.#value = new GradBuffer(native.empty(this.#device, 'f32', this.shape));
      write(this.#value.handle, false);
      return;
    }
    if (!this.#value.exclusive) {
      const copy = new GradBuffer(native.cast(this.#value.handle, 'f32'));
      this.#value.drop();
      this.#value = copy;
    }
    write(this.#value.handle, true);
  }

  pass(gradient: GradBuffer): void {
    if (!this.#value) this.#value = gradient.share();
    else this.into((out) => native.binaryInto(out, gradient.handle, 'add', out, false));
  }

  give(gradient: Handle): void {
    if (!this.#value) {
      this.#value = new GradBuffer(gradient);
      return;
    }
    this.into((out) => native.binaryInto(out, gradient, 'add', out, false));
    native.dispose(gradient);
  }
}

/** The gradient of a leaf: written into its own buffer, which outlives backward. */
export class LeafSink implements Sink {
  readonly shape: Shape;
  readonly #leaf: LeafGradient;
  readonly #device: string;

  constructor(tensor: Tensor, leaf: LeafGradient) {
    this.shape = tensor.shape;
    this.#leaf = leaf;
    this.#device = tensor.device;
  }

  into(write: (out: Handle, accumulate: boolean) => void): void {
    const leaf = this.#leaf;
    if (leaf.buffer === null) leaf.moveTo(native.empty(this.#device, 'f32', this.shape));
    write(leaf.buffer as Handle, leaf.filled);
    leaf.filled = true;
  }

  pass(gradient: GradBuffer): void {
    this.into((out, accumulate) => {
      if (accumulate) native.binaryInto(out, gradient.handle, 'add', out, false);
      else native.copyInto(out, gradient.handle);
    });
  }

  give(gradient: Handle): void {
    this.into((out, accumulate) => {
      if (accumulate) native.binaryInto(out, gradient, 'add', out, false);
      else native.copyInto(out, gradient);
    });
    native.dispose(gradient);
  }
}
