import { ArgumentError } from '../util/errors.ts';

let enabled = true;

/** Whether ops record what backward needs. */
export function isGradEnabled(): boolean {
  return enabled;
}

function withGrad<T>(on: boolean, fn: () => T): T {
  const before = enabled;
  enabled = on;
  try {
    const result = fn();
    if (result instanceof Promise)
      throw new ArgumentError(`${on ? 'enableGrad' : 'noGrad'}: fn must be synchronous, got a function that returns a promise`);
    return result;
  } finally {
    enabled = before;
  }
}

/** Runs `fn` without recording: for evaluation and generation. `fn` must be synchronous. */
export function noGrad<T>(fn: () => T): T {
  return withGrad(false, fn);
}

/** Runs `fn` with recording on, inside a `noGrad`. `fn` must be synchronous. */
export function enableGrad<T>(fn: () => T): T {
  return withGrad(true, fn);
}
