let enabled = true;

/** Whether ops record what backward needs. */
export function isGradEnabled(): boolean {
  return enabled;
}

function withGrad<T>(on: boolean, fn: () => T): T {
  const before = enabled;
  enabled = on;
  try {
    return fn();
  } finally {
    enabled = before;
  }
}

/** Runs `fn` without recording: for evaluation and generation. `fn` must be synchronous. */
export function noGrad<T>(fn: () => T): T {
  return withGrad(false, fn);
}

/** Runs `fn` with recording on, inside a `noGrad`. */
export function enableGrad<T>(fn: () => T): T {
  return withGrad(true, fn);
}
