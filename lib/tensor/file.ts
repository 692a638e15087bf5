import { native } from '../native/addon.ts';
import { elements } from './shape.ts';
import type { Tensor } from './tensor.ts';

/** Whether the elements lie one behind the other in row-major order. */
export function isDense(t: Tensor): boolean {
  const strides = native.strides(t.handle);
  return t.shape.every((size, d) => size === 1 || strides[d] === elements(t.shape.slice(d + 1)));
}

/**
 * Overwrites a dense tensor of the CPU with bytes of an open file, from `offset` on. Enqueued like an op: a file that is too short, or a disk
 * that fails, is an error at the next wait. The file may be closed at once.
 */
export function readFileInto(t: Tensor, descriptor: number, offset: number): void {
  native.readFile(t.handle, descriptor, offset);
}
