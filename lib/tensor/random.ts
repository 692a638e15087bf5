import { native } from '../native/addon.ts';
import { ArgumentError } from '../util/errors.ts';
import { type Device, getDefaultDevice } from './device.ts';
import { Tensor } from './tensor.ts';

let seed = 0x5eed;
let draws = 0;

/** Starts the sequence of seeds that `randn`, `rand` and initialisation draw from. */
export function manualSeed(value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
    throw new ArgumentError(`manualSeed: seed must be an integer from 0 to 2^32 - 1, got ${value}`);
  seed = value;
  draws = 0;
}

/** A seed of its own for every draw, below 2^53. */
export function nextSeed(): number {
  return (seed * 0x100000 + draws++) % Number.MAX_SAFE_INTEGER;
}

/**
 * Random numbers that belong to elements: every draw is a function of (seed, step, stream, element), held in device memory so
 * that a captured step replays. `stream` counts the draws within a step, `step` is set once per training step, so a resumed
 * run draws the same masks.
 */
export class RandomSource {
  readonly seed: number;
  #step = 0;
  #stream = 0;
  readonly #device: Device;
  #state: Tensor | null = null;

  constructor(seed: number, device: Device = getDefaultDevice()) {
    this.seed = seed;
    this.#device = device;
  }

  /** The i32 state of 4 elements: seed (low, high), step, reserved. */
  get state(): Tensor {
    if (!this.#state) {
      this.#state = new Tensor(native.empty(this.#device, 'i32', [4])).keep();
      this.#write();
    }
    return this.#state;
  }

  #write(): void {
    if (this.#state) native.write(this.#state.handle, Int32Array.of(this.seed | 0, Math.floor(this.seed / 2 ** 32) | 0, this.#step | 0, 0));
  }

  /** Begins step `step`: streams count from 0 again. */
  begin(step: number): void {
    this.#step = step;
    this.#stream = 0;
    this.#write();
  }

  /** The number of the next draw in this step; set back to draw the same ones again. */
  get stream(): number {
    return this.#stream;
  }

  set stream(next: number) {
    this.#stream = next;
  }

  /** Takes the number of the next draw. */
  nextStream(): number {
    return this.#stream++;
  }

  dispose(): void {
    this.#state?.dispose();
    this.#state = null;
  }
}
