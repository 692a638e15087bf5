import { type Handle, native } from '../native/addon.ts';

/**
 * A gradient on its way: shared by the places that it flows to unchanged (both operands of an addition, a residual
 * stream). Whoever is its only owner may add to it in place.
 */
export class GradBuffer {
  readonly handle: Handle;
  /** The implicit 1 that backward starts from: multiplying by it may be left out. */
  readonly unit: boolean;
  readonly #base: GradBuffer | null;
  #owners = 1;

  /** Takes over the handle; `base` is the buffer that it is a view of. */
  constructor(handle: Handle, unit = false, base: GradBuffer | null = null) {
    this.handle = handle;
    this.unit = unit;
    this.#base = base?.share() ?? null;
    native.hold(handle, 'gradients on their way');
  }

  /** Whether its only owner may write to it. The implicit 1 stays what it is. */
  get exclusive(): boolean {
    return this.#owners === 1 && !this.unit && (this.#base?.exclusive ?? true);
  }

  share(): this {
    this.#owners++;
    return this;
  }

  drop(): void {
    if (--this.#owners > 0) return;
    native.dispose(this.handle);
    this.#base?.drop();
  }
}
