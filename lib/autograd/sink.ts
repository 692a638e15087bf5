import { type DeviceName, type DType, type Handle, native } from '../native/addon.ts';
import { computesHalf } from '../tensor/device.ts';
import { isFloat } from '../tensor/dtype.ts';
import type { LeafGradient } from '../tensor/graph.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { GradBuffer } from './buffer.ts';

/**
 * The type of the gradient of an op's result: the result's own where the device computes in it, otherwise f32. Gradients of
 * leaves are always f32.
 */
export function gradientType(device: DeviceName, dtype: DType): DType {
  return dtype !== 'f32' && isFloat(dtype) && computesHalf(device) ? dtype : 'f32';
}

/**
 * Where an op's backward puts the gradient of one input. Backward ops are told where to accumulate: there is no separate
 * addition and no zeroing pass.
 */
export interface Sink {
  /** Shape of the input, and of its gradient. */
  readonly shape: Shape;
  /** Type of the gradient: see `gradientType`. */
  readonly dtype: DType;
  /** The memory to write the gradient to, now; `accumulate`: add to it, otherwise overwrite all of it. */
  open(): { out: Handle; accumulate: boolean };
  /** Calls `write` with that. */
  into(write: (out: Handle, accumulate: boolean) => void): void;
  /** The gradient is this buffer as it is (it has the input's shape); it is shared, not copied, when its type fits. */
  pass(gradient: GradBuffer): void;
  /** The gradient is this tensor (of the input's shape), which the sink now owns. */
  give(gradient: Handle): void;
}

/** The gradient of an output of a node, until the node's backward takes it. */
export class Slot implements Sink {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly #device: DeviceName;
  #value: GradBuffer | null = null;

  constructor(shape: Shape, dtype: DType, device: DeviceName) {
    this.shape = shape;
    this.dtype = dtype;
    this.#device = device;
  }

  take(): GradBuffer | null {
    const value = this.#value;
    this.#value = null;
    return value;
  }

  open(): { out: Handle; accumulate: boolean } {
    if (!this.#value) {
      this.#value = new GradBuffer(native.empty(this.#device, this.dtype, this.shape));
      return { out: this.#value.handle, accumulate: false };
    }
    if (!this.#value.exclusive) {
      const copy = new GradBuffer(native.cast(this.#value.handle, this.dtype));
      this.#value.drop();
      this.#value = copy;
    }
    return { out: this.#value.handle, accumulate: true };
  }

  into(write: (out: Handle, accumulate: boolean) => void): void {
    const { out, accumulate } = this.open();
    write(out, accumulate);
  }

  pass(gradient: GradBuffer): void {
    if (this.#value === null && native.dtype(gradient.handle) === this.dtype) this.#value = gradient.share();
    else if (this.#value === null) this.#value = new GradBuffer(native.cast(gradient.handle, this.dtype));
    else this.into((out) => native.binaryInto(out, gradient.handle, 'add', out, false));
  }

  give(gradient: Handle): void {
    if (this.#value === null && native.dtype(gradient) === this.dtype) {
      this.#value = new GradBuffer(gradient);
      return;
    }
    if (this.#value === null) {
      this.#value = new GradBuffer(native.cast(gradient, this.dtype));
      native.dispose(gradient);
      return;
    }
    this.into((out) => native.binaryInto(out, gradient, 'add', out, false));
    native.dispose(gradient);
  }
}

/** The gradient of a leaf: written into its own buffer, which outlives backward. */
export class LeafSink implements Sink {
  readonly shape: Shape;
  readonly dtype = 'f32';
  readonly #leaf: LeafGradient;
  readonly #device: DeviceName;

  constructor(tensor: Tensor, leaf: LeafGradient) {
    this.shape = tensor.shape;
    this.#leaf = leaf;
    this.#device = tensor.device;
  }

  open(): { out: Handle; accumulate: boolean } {
    const leaf = this.#leaf;
    if (leaf.buffer === null) leaf.moveTo(native.empty(this.#device, 'f32', this.shape));
    const accumulate = leaf.filled;
    leaf.filled = true;
    return { out: leaf.buffer as Handle, accumulate };
  }

  into(write: (out: Handle, accumulate: boolean) => void): void {
    const { out, accumulate } = this.open();
    write(out, accumulate);
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
