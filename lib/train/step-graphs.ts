import { type CapturedGraph, capture, type Device, type Tensor } from '../tensor/index.ts';
import { type Inputs, type Placed, placeInputs } from './objective.ts';

/** A part of a step, captured. */
interface Part {
  readonly graph: CapturedGraph;
  /** Puts what JavaScript knows to where the part leaves it. */
  readonly after: () => void;
}

/**
 * Most graphs of a step. Its micro-batches share two, one that overwrites gradients and one that adds to them; with dropout each has its own,
 * because the numbers of its draws stand in the arguments of its kernels.
 */
const MOST = 64;

/** What distinguishes two sets of inputs: names, types and shapes. */
export const shapesOf = (inputs: Inputs): string =>
  Object.entries(inputs)
    .map(([name, x]) => (x === null ? '' : `${name} ${x.data.constructor.name} ${x.shape.join(' ')}`))
    .join(', ');

/**
 * The parts of training steps as captured graphs. The first step of a kind runs op by op: it warms up what is made at first use, and a kind
 * that comes once is not worth a graph. When the next one is of the same kind, its parts are captured, and replayed from then on; steps of other
 * kinds in between run op by op. Two of another kind in a row take the graphs' place. A part that cannot be captured ends it for good: all
 * steps run op by op.
 */
export class StepGraphs {
  readonly #device: Device;
  readonly #parts = new Map<string, Part>();
  /** What captured parts read of a batch, by its shapes: copied in before each replay. */
  readonly #inputs = new Map<string, Readonly<Record<string, Tensor | null>>>();
  #enabled: boolean;
  #problem = '';
  /** The kind of step that is captured, and that of the last step. */
  #kind: string | null = null;
  #last: string | null = null;
  #active = false;

  constructor(device: Device, enabled: boolean) {
    this.#device = device;
    this.#enabled = enabled;
  }

  /** How many parts are captured, and why they are not, or a GPU does not launch each as one. Waits for the device. */
  get state(): { captured: number; problem: string } {
    const problems = [...this.#parts.values()].map(({ graph }) => graph.state().problem);
    return { captured: this.#parts.size, problem: this.#problem || (problems.find((problem) => problem !== '') ?? '') };
  }

  /** Whether the step is being replayed, or captured for that. */
  get active(): boolean {
    return this.#active;
  }

  /** A step begins. `kind`: all that its ops follow from, but for what is in device memory; null: it must not be captured. */
  begin(kind: string | null): void {
    if (!this.#enabled) this.release();
    else if (kind !== null && kind === this.#last && kind !== this.#kind) {
      this.release();
      this.#kind = kind;
    }
    this.#last = kind;
    this.#active = this.#enabled && kind !== null && kind === this.#kind;
  }

  /** Inputs on the device: in memory that stays, or in tensors of the current scope. */
  place<I extends Inputs>(inputs: I): Placed<I> {
    const key = shapesOf(inputs);
    let placed = this.#active ? this.#inputs.get(key) : undefined;
    if (placed) {
      for (const [name, x] of Object.entries(inputs)) if (x) placed[name]?.set(x.data);
      return placed as Placed<I>;
    }
    try {
      placed = placeInputs(inputs, this.#device);
    } catch (error) {
      if (!this.#active) throw error;
      this.#giveUp(error);
      return placeInputs(inputs, this.#device);
    }
    if (this.#active) {
      for (const x of Object.values(placed)) x?.keep();
      this.#inputs.set(key, placed);
    }
    return placed as Placed<I>;
  }

  /**
   * Runs a part of the step. `name`: for errors; `variant` distinguishes it from others of that name. `snapshot` notes what JavaScript knows at
   * that moment and a part changes, and gives a function that puts it back.
   */
  run({ name, variant }: { name: string; variant: string }, snapshot: () => () => void, part: () => void): void {
    const key = `${name} ${variant}`;
    const captured = this.#active ? (this.#parts.get(key) ?? this.#capture(name, key, snapshot, part)) : null;
    if (!captured) {
      part();
      return;
    }
    captured.graph.replay();
    captured.after();
  }

  /** Nothing has run when it fails, for want of memory or because of something that waits: the part then runs op by op, as all others will. */
  #capture(name: string, key: string, snapshot: () => () => void, part: () => void): Part | null {
    if (this.#parts.size >= MOST) return null;
    const before = snapshot();
    const [sharing] = [...this.#parts.values()].map(({ graph }) => graph);
    try {
      const { graph } = capture(part, { device: this.#device, name, ...(sharing && { sharing }) });
      const made = { graph, after: snapshot() };
      this.#parts.set(key, made);
      return made;
    } catch (error) {
      before();
      this.#giveUp(error);
      return null;
    }
  }

  /** The inputs stay: they are in use until the step is enqueued. */
  #giveUp(error: unknown): void {
    this.#enabled = this.#active = false;
    this.#problem = (error as Error).message;
    this.#releaseParts();
  }

  #releaseParts(): void {
    for (const { graph } of this.#parts.values()) graph.dispose();
    this.#parts.clear();
  }

  /** Gives the memory of all graphs back; steps are captured anew. False: there were none. */
  release(): boolean {
    const held = this.#parts.size > 0;
    this.#releaseParts();
    for (const inputs of this.#inputs.values()) for (const x of Object.values(inputs)) x?.dispose();
    this.#inputs.clear();
    this.#kind = this.#last = null;
    this.#active = false;
    return held;
  }
}
