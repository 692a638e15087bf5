import { type Handle, native } from '../native/addon.ts';

/** What a tensor knows of the op that made it; the rest is in lib/autograd. */
export interface GraphNode {
  /** A tensor that this node made was disposed, or a later node let go of it. */
  release(): void;
}

/** Gradients of leaves that nobody disposed of. */
const collected = new FinalizationRegistry<Handle>((handle) => native.dispose(handle));

/** What a leaf (a tensor that asks for its gradient) knows of it. */
export class LeafGradient {
  #buffer: Handle | null = null;
  /** False: the buffer holds nothing yet, the next gradient overwrites it. There is no zeroing pass. */
  filled = false;
  /** Called in backward when all contributions to this leaf have arrived; `pass` numbers the backward passes. */
  readonly onReady = new Set<(pass: number) => void>();

  /** Where the gradient is written: f32, of the leaf's shape. A parameter's is a view of the flat gradient buffer. */
  get buffer(): Handle | null {
    return this.#buffer;
  }

  /** Gradients go to this memory from now on; what was there is forgotten. Null: to memory that backward makes. */
  moveTo(buffer: Handle | null): void {
    if (this.#buffer !== null) {
      collected.unregister(this);
      native.dispose(this.#buffer);
    }
    this.#buffer = buffer;
    this.filled = false;
    if (buffer === null) return;
    collected.register(this, buffer, this);
    native.hold(buffer, 'gradients');
  }
}
