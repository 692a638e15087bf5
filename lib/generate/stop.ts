import { ArgumentError } from '../util/errors.ts';

/** Finds the first of the stop strings in a text that comes in pieces, whatever the pieces' borders. */
export class StopFinder {
  readonly #stops: readonly string[];
  /** The end of the text, which may be the beginning of a stop string. */
  #held = '';
  #found = false;

  constructor(stops: string | readonly string[], where: string) {
    this.#stops = typeof stops === 'string' ? [stops] : stops;
    if (this.#stops.some((s) => typeof s !== 'string' || s === ''))
      throw new ArgumentError(`${where}: stop must be texts of at least one character, got ${JSON.stringify(stops)}`);
  }

  /** True once a stop string was found: what stood before it was returned. */
  get found(): boolean {
    return this.#found;
  }

  /** The text that certainly stands before any stop string. */
  push(piece: string): string {
    if (this.#found) return '';
    const text = this.#held + piece;
    const hits = this.#stops.map((s) => ({ start: text.indexOf(s), size: s.length })).filter(({ start }) => start >= 0);
    // The one that is complete first; of those the longest. So it does not matter how the text was cut.
    const [first] = hits.sort((a, b) => a.start + a.size - (b.start + b.size) || a.start - b.start);
    if (first) {
      this.#found = true;
      this.#held = '';
      return text.slice(0, first.start);
    }
    const hold = Math.max(0, ...this.#stops.map((s) => overlap(text, s)));
    this.#held = text.slice(text.length - hold);
    return text.slice(0, text.length - hold);
  }

  /** The rest, when no more comes. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}

/** Length of the longest end of `text` that begins `stop` without being all of it. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
