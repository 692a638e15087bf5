import { type Handle, native } from '../native/addon.ts';

/**
 * A gradient on its way: f32, shared by the places that it flows to unchanged (both operands of an addition, a residual
 * stream). Whoever is its only owner may add to it in place.
 */
export class GradBuffer {
  readonly handle: Handle;
  /** The implicit 1 that backward starts from: multiplying by it may be left out. */
  readonly unit: boolean;
  #owners = 1;

  /** Takes over the handle. */
  constructor(handle: Handle, unit = false) {
    this.handle = handle;
    this.unit = unit;
  }

  get exclusive(): boolean {
    return this.#owners === 1;
  }

  share(): this {
    this.#owners++;
    return this;
  }

  drop(): void {
    if (--this.#owners === 0) native.dispose(this.handle);
  }
}
