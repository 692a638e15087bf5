import { type GraphState, native } from '../native/addon.ts';
import { HeddleError } from '../util/errors.ts';
import { type Device, getDefaultDevice } from './device.ts';
import { scope } from './tensor.ts';

/** Memory of graphs that nobody disposed of. */
const collected = new FinalizationRegistry<number>((graph) => native.releaseGraph(graph));

export interface CaptureOptions {
  /** Whose ops are captured; those of other devices run as ever. Default: see `setDefaultDevice`. */
  device?: Device;
  /**
   * A graph whose memory the new one uses, too, beside living tensors in it: for graphs that are replayed one after the other, none of which
   * reads what another one left but in tensors that live.
   */
  sharing?: CapturedGraph;
  /** What to call it in the error of a card that fails in a replay, which does not tell the op. Default: `ops`. */
  name?: string;
}

export interface Captured<T> {
  graph: CapturedGraph;
  /** What the function gave: its tensors hold what the last replay computed. */
  result: T;
}

/** Ops that `capture` noted, to be run again and again as one task. */
export class CapturedGraph {
  #graph: number | null;

  /** Of `native.endCapture`. */
  constructor(graph: number) {
    this.#graph = graph;
    collected.register(this, graph, this);
  }

  /** Its number in the addon. */
  get id(): number {
    if (this.#graph === null) throw new HeddleError('ERR_HEDDLE_DISPOSED', 'this captured graph was disposed');
    return this.#graph;
  }

  /**
   * Enqueues all of it: the same kernels on the same memory, with whatever that holds now. None of the JavaScript behind them runs. On a GPU it
   * is one launch of a CUDA graph, which the first replay makes.
   */
  replay(): void {
    native.replay(this.id);
  }

  /** What became of it. Waits for the device. */
  state(): GraphState {
    return native.graphState(this.id);
  }

  /** Gives its memory back, once what is enqueued is done. Safe to call twice. */
  dispose(): void {
    if (this.#graph === null) return;
    collected.unregister(this);
    native.releaseGraph(this.#graph);
    this.#graph = null;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Notes the ops that `fn` enqueues on a device instead of running them, for `replay`, which runs them as often as wanted without the work of
 * JavaScript. `fn` runs once, in a scope; the tensors that it returns live.
 *
 * Whatever `fn` computed is fixed: shapes, and numbers that are no tensors. What changes between replays comes from tensors made before, written
 * with `set`, which must live as long as the graph. Memory of tensors made by `fn` belongs to the graph until it is disposed of, so that every
 * replay finds the same addresses; `memory()` counts it as used.
 * @throws HeddleError ERR_HEDDLE_CAPTURING when `fn` copies from the host, reads a result or waits; nothing is captured then
 */
export function capture<T>(fn: () => T, { device = getDefaultDevice(), sharing, name = 'ops' }: CaptureOptions = {}): Captured<T> {
  native.beginCapture(device, sharing === undefined ? 0 : sharing.id, name);
  let result: T;
  try {
    result = scope(fn);
  } catch (error) {
    native.dropCapture();
    throw error;
  }
  return { graph: new CapturedGraph(native.endCapture()), result };
}
