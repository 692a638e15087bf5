import { formatCount, formatDuration } from './format.ts';

/** Where the line goes: `process.stderr`, or anything that takes text. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface ProgressOptions {
  /** What runs, in front of the line: `pretrain`. */
  readonly label: string;
  /** Steps at the end; 0: not known. */
  readonly total: number;
  /** Steps done before, in a resumed run. */
  readonly from?: number;
  readonly stream?: ProgressStream;
  /** Seconds between two lines where the stream is not a terminal. */
  readonly plainEvery?: number;
  /** Seconds that pass; only their differences count. */
  readonly now?: () => number;
}

export interface ProgressUpdate {
  readonly step: number;
  readonly loss?: number;
  readonly tokensPerSecond?: number;
  /** Any further words, such as `val 1.95`. */
  readonly more?: string;
}

/** Seconds between two redraws on a terminal: as fast as an eye follows. */
const REDRAW_EVERY = 0.1;

/**
 * A line that tells how a run goes on: steps, loss, tokens per second, time left. On a terminal it rewrites itself, elsewhere it is a
 * plain line now and then, so that logs stay readable.
 */
export class ProgressLine {
  readonly #label: string;
  readonly #total: number;
  readonly #from: number;
  readonly #stream: ProgressStream;
  readonly #every: number;
  readonly #now: () => number;
  readonly #start: number;
  #lastShown = Number.NEGATIVE_INFINITY;
  #last: string | undefined;
  #drawn = false;

  constructor({ label, total, from = 0, stream = process.stderr, plainEvery = 10, now = () => performance.now() / 1000 }: ProgressOptions) {
    this.#label = label;
    this.#total = total;
    this.#from = from;
    this.#stream = stream;
    this.#every = stream.isTTY === true ? REDRAW_EVERY : plainEvery;
    this.#now = now;
    this.#start = now();
  }

  /** Tells of a step; shown at once, or left out where the line before it is too fresh. */
  update(update: ProgressUpdate): void {
    const now = this.#now();
    this.#last = this.#text(update, now);
    if (now - this.#lastShown < this.#every) return;
    this.#lastShown = now;
    this.#show(this.#last);
    this.#last = undefined;
  }

  /** Writes a line of its own, above the progress line. */
  note(text: string): void {
    this.#stream.write(`${this.#drawn ? '\r\x1b[K' : ''}${text}\n`);
    this.#drawn = false;
  }

  /** Shows the newest update if it was left out, and ends the line. */
  done(): void {
    if (this.#last !== undefined) this.#show(this.#last);
    this.#last = undefined;
    if (this.#drawn) this.#stream.write('\n');
    this.#drawn = false;
  }

  #text({ step, loss, tokensPerSecond, more }: ProgressUpdate, now: number): string {
    const parts = [`${this.#label} ${step}${this.#total > 0 ? `/${this.#total}` : ''}`];
    if (loss !== undefined) parts.push(`loss ${loss.toFixed(4)}`);
    if (tokensPerSecond !== undefined) parts.push(`${formatCount(tokensPerSecond)} tokens/s`);
    const done = step - this.#from;
    const left = this.#total - step;
    if (left <= 0) parts.push(`in ${formatDuration(now - this.#start)}`);
    else if (done > 0) parts.push(`${formatDuration(((now - this.#start) / done) * left)} left`);
    if (more !== undefined) parts.push(more);
    return parts.join(' · ');
  }

  #show(text: string): void {
    if (this.#stream.isTTY !== true) {
      this.#stream.write(`${text}\n`);
      return;
    }
    // A line longer than the terminal would wrap, and could not be rewritten.
    this.#stream.write(`\r\x1b[K${text.slice(0, (this.#stream.columns ?? 80) - 1)}`);
    this.#drawn = true;
  }
}
