import { native } from '../native/addon.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Overwrites `out` with x, which broadcasts and converts; outside the graph. `out` may be a view. */
export function copyInto(out: Tensor, x: Tensor): void {
  native.copyInto(out.handle, x.handle);
}

/** Overwrites every element; outside the graph. `x` may be a view. */
export function fill(x: Tensor, value: number): void {
  native.fill(x.handle, value);
}
