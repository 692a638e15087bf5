/** A part of a row of tokens that a model sees at once: [start, end), of which those from `from` on are targets. */
export interface SlidingWindow {
  readonly start: number;
  readonly from: number;
  readonly end: number;
}

/**
 * Windows of at most T + 1 tokens (the last one is only a target) in which every token of a row from `from` (at least 1) on is a target
 * exactly once: the first one as many as fit, each further one `stride`, so that those see at least T - stride tokens before them. A
 * row that fits into a window is one; the last window reaches back as far as it can. With `stride` T nothing overlaps.
 */
export function* slidingWindows(length: number, from: number, T: number, stride: number): Generator<SlidingWindow> {
  for (let next = from; next < length; ) {
    const end = Math.min(length, Math.max(next + stride, T + 1));
    yield { start: Math.max(0, end - (T + 1)), from: next, end };
    next = end;
  }
}
