import { type Handle, native } from '../native/addon.ts';

/** What a tensor knows of the op that made it; the rest is in lib/autograd. */
export interface GraphNode {
  /** A tensor that this node made was disposed, or a later node let go of it. */
  release(): void;
}

/** What a leaf (a tensor that asks for its gradient) knows of it. */
export class LeafGradient {
  /** Where the gradient is written: f32, of the leaf's shape. A parameter's is a view of the flat gradient buffer. */
  buffer: Handle | null = null;
  /** False: the buffer holds nothing yet, the next gradient overwrites it. There is no zeroing pass. */
  filled = false;
  /** Called in backward when all contributions to this leaf have arrived. */
  readonly onReady: (() => void)[] = [];

  /** Gradients go to this memory from now on; what was there is forgotten. */
  moveTo(buffer: Handle): void {
    if (this.buffer !== null) native.dispose(this.buffer);
    this.buffer = buffer;
    this.filled = false;
  }
}
