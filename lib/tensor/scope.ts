import { ArgumentError } from '../util/errors.ts';
import type { Tensor } from './tensor.ts';

/** Tensors made while a scope runs, in the innermost one; without a scope the garbage collector is the backstop. */
let current: Set<Tensor> | null = null;

/** Puts a tensor into the scope that is current now, and says which that is. */
export function enterTensor(t: Tensor): Set<Tensor> | null {
  return current?.add(t) ?? null;
}

function eachTensor(value: unknown, found: (t: Tensor) => void, isTensor: (value: unknown) => value is Tensor): void {
  if (isTensor(value)) found(value);
  else if (Array.isArray(value)) for (const item of value) eachTensor(item, found, isTensor);
  else if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) eachTensor(item, found, isTensor);
}

/** The working part of `scope`, which lib/tensor/tensor.ts completes with the class. */
export function runScope<T>(fn: () => T, isTensor: (value: unknown) => value is Tensor, adopt: (t: Tensor) => void): T {
  const outer = current;
  const mine = new Set<Tensor>();
  current = mine;
  try {
    const result = fn();
    if (result instanceof Promise) throw new ArgumentError('scope: fn must be synchronous, got a function that returns a promise');
    current = outer;
    eachTensor(
      result,
      (t) => {
        if (mine.delete(t)) adopt(t);
      },
      isTensor,
    );
    return result;
  } finally {
    current = outer;
    for (const t of mine) t.dispose();
  }
}
