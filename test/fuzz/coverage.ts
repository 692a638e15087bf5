// Which blocks of lib/ ran, by V8's precise coverage: what a fuzzer is guided by.
import { Session } from 'node:inspector';

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}
interface Script {
  readonly scriptId: string;
  readonly url: string;
  readonly functions: readonly { readonly ranges: readonly Range[]; readonly isBlockCoverage: boolean }[];
}

/** What ran since the last look: for each script, stretches of its text. */
export type Ran = ReadonlyMap<string, readonly Range[]>;

export class Coverage {
  readonly #session = new Session();
  /** For each script the bytes of its text that ran at least once. */
  readonly #reached = new Map<string, Uint8Array>();
  /** All blocks that V8 has told of, by script and range. */
  readonly #blocks = new Map<string, { script: string; start: number }>();

  start(): void {
    this.#session.connect();
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    this.take();
  }

  stop(): void {
    this.#post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }

  #post(method: string, params: object = {}): unknown {
    let answer: unknown;
    // In the same process the answer comes before `post` returns.
    this.#session.post(method, params, (error, result) => {
      if (error) throw error;
      answer = result;
    });
    return answer;
  }

  /** What ran since the last call; the counters start anew. */
  take(): Ran {
    const { result } = this.#post('Profiler.takePreciseCoverage') as { result: Script[] };
    const ran = new Map<string, Range[]>();
    for (const { scriptId, url, functions } of result) {
      if (!url.includes('/lib/') || url.includes('node_modules')) continue;
      // Functions within functions come later, blocks within blocks too: the innermost says last what happened.
      ran.set(
        scriptId,
        functions.flatMap((f) => f.ranges),
      );
    }
    return ran;
  }

  /** How many blocks of what ran never ran before. */
  fresh(ran: Ran): number {
    return this.#look(ran, false);
  }

  /** Adds what ran; gives how many blocks of it never ran before. */
  add(ran: Ran): number {
    return this.#look(ran, true);
  }

  #look(ran: Ran, add: boolean): number {
    let fresh = 0;
    for (const [script, ranges] of ran) {
      const size = ranges.reduce((most, range) => Math.max(most, range.endOffset), 0);
      const counts = new Uint8Array(size);
      for (const { startOffset, endOffset, count } of ranges) counts.fill(count > 0 ? 1 : 0, startOffset, endOffset);
      let reached = this.#reached.get(script);
      if (reached === undefined || reached.length < size) {
        const grown = new Uint8Array(size);
        if (reached) grown.set(reached);
        reached = grown;
        this.#reached.set(script, reached);
      }
      for (const { startOffset: start, endOffset } of ranges) {
        this.#blocks.set(`${script}:${start}:${endOffset}`, { script, start });
        if (counts[start] === 1 && reached[start] === 0) fresh++;
      }
      if (add) for (let i = 0; i < size; i++) if (counts[i] === 1) reached[i] = 1;
    }
    return fresh;
  }

  /** Blocks known, and those of them that ran. */
  totals(): { blocks: number; covered: number } {
    let covered = 0;
    for (const { script, start } of this.#blocks.values()) covered += this.#reached.get(script)?.[start] ?? 0;
    return { blocks: this.#blocks.size, covered };
  }
}
