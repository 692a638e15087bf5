import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError, HeddleError } from '../util/errors.ts';
import { type Continuation, type Generated, prepare, type StreamOptions } from './continuation.ts';
import { Decoder } from './decoder.ts';
import { logSumExp } from './log_probs.ts';
import { Sampler } from './sample.ts';

export interface EngineOptions {
  /** The most texts that are computed together; the others wait. Each has memory for keys and values of a whole context. Default 4. */
  rows?: number;
}

export interface EngineJob extends Omit<StreamOptions, 'cache'> {
  /** Its number among the samples of its seed, as in `generate`. Default 0. */
  sample?: number;
  /** Called with each piece of the text as it becomes certain; all pieces together are the text. */
  onText?: (piece: string) => void;
}

/** A text that is asked for. */
interface Job {
  readonly ids: readonly number[];
  readonly options: EngineJob;
  readonly sampler: Sampler;
  readonly text: Continuation;
  readonly vocabulary: number;
  readonly maxTokens: number;
  resolve(result: Generated): void;
  reject(reason: unknown): void;
}

const where = 'GenerationEngine';

/**
 * Generates many texts side by side: whoever comes takes a row that is free and runs in the next pass through the model, beside the texts
 * that are under way (continuous batching: Yu et al. 2022, "Orca"). The weights are read once for all rows, which is what a step of decoding
 * takes its time for. A text has the bits that `generate` gives it alone, whoever runs beside it.
 */
export class GenerationEngine {
  readonly #model: GPT;
  readonly #tokenizer: Tokenizer;
  readonly #decoder: Decoder;
  readonly #rows: (Job | null)[];
  #queue: Job[] = [];
  #loop: Promise<void> = Promise.resolve();
  #busy = false;
  #closed = false;

  /** @throws ArgumentError for a wrong option, HeddleError (ERR_HEDDLE_OUT_OF_MEMORY) where the rows do not fit */
  constructor(model: GPT, tokenizer: Tokenizer, options: EngineOptions = {}) {
    const { rows = 4 } = options;
    if (!(Number.isInteger(rows) && rows >= 1)) throw new ArgumentError(`${where}: rows must be a positive integer, got ${rows}`);
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#rows = new Array<Job | null>(rows).fill(null);
    const empty = this.#rows.map(() => [0]);
    this.#decoder = new Decoder(model, empty, model.config.contextLength, true);
  }

  /** Texts that are being computed. */
  get running(): number {
    return this.#rows.filter((job) => job !== null).length;
  }

  /** Texts that wait for a row. */
  get waiting(): number {
    return this.#queue.length;
  }

  /**
   * Continues a prompt, a text or token ids, as `generate` does.
   * @throws ArgumentError for a wrong option or prompt; the signal's reason where it aborts
   */
  async generate(prompt: string | ArrayLike<number>, options: EngineJob = {}): Promise<Generated> {
    if (this.#closed) throw new HeddleError('ERR_HEDDLE_CLOSED', `${where}: it was closed`);
    const { maxTokens = 256 } = options;
    if (!(Number.isInteger(maxTokens) && maxTokens >= 0))
      throw new ArgumentError(`${where}: maxTokens must be an integer of at least 0, got ${maxTokens}`);
    const { ids, vocabulary, endOfText, decoding, continuation } = prepare(this.#model, this.#tokenizer, prompt, options, where);
    const sampler = new Sampler({ ...options, badWords: decoding.badWords }, where, endOfText);
    const text = continuation();
    options.signal?.throwIfAborted();
    if (maxTokens === 0) return text.result(options.logProbs === true);
    return new Promise((resolve, reject) => {
      this.#queue.push({ ids, options, sampler, text, vocabulary, maxTokens, resolve, reject });
      if (!this.#busy) this.#loop = this.#run();
    });
  }

  /** Ends what is under way with an error, and frees the memory. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#loop;
    this.#decoder.dispose();
  }

  /** Passes through the model while there is a text. */
  async #run(): Promise<void> {
    this.#busy = true;
    while (this.#admit()) {
      try {
        const logits = await this.#decoder.logits(this.#rows.map((job) => job === null));
        this.#decoder.push(this.#rows.map((job, row) => (job === null ? null : this.#next(job, row, logits[row] as Float32Array))));
      } catch (error) {
        for (const row of this.#rows.keys()) this.#fail(row, error); // of the device: nobody's own fault
      }
    }
    this.#busy = false;
  }

  /** Ends texts that nobody wants any more, and gives free rows to those that wait. False where there is nothing to do. */
  #admit(): boolean {
    const closed = this.#closed ? new HeddleError('ERR_HEDDLE_CLOSED', `${where}: it was closed`) : undefined;
    const unwanted = ({ options: { signal } }: Job): unknown => (signal?.aborted ? signal.reason : closed);
    for (const [row, job] of this.#rows.entries()) {
      const reason = job && unwanted(job);
      if (reason) this.#fail(row, reason);
    }
    this.#queue = this.#queue.filter((job) => {
      const reason = unwanted(job);
      if (reason) job.reject(reason);
      return !reason;
    });
    for (let row = 0; row < this.#rows.length && this.#queue.length > 0; row++) {
      if (this.#rows[row] !== null) continue;
      const job = this.#queue.shift() as Job;
      this.#rows[row] = job;
      this.#decoder.restart(row, job.ids);
    }
    return this.running > 0;
  }

  #fail(row: number, error: unknown): void {
    this.#rows[row]?.reject(error);
    this.#rows[row] = null;
  }

  /** The next token of a row; null where its text ends with an error. */
  #next(job: Job, row: number, logits: Float32Array): number | null {
    const { options, sampler, text, vocabulary, maxTokens } = job;
    const logProbs = options.logProbs === true;
    try {
      const own = logProbs ? logits.slice() : null;
      const tokens = this.#decoder.row(row);
      const position = tokens.length - job.ids.length;
      const id = sampler.next(logits.subarray(0, vocabulary), tokens, options.sample ?? 0, position);
      options.onToken?.(id);
      const piece = text.push(id, own ? (own[id] as number) - logSumExp(own) : undefined);
      if (piece !== '') options.onText?.(piece);
      if (text.finishReason === 'length' && position + 1 < maxTokens) return id;
      const rest = text.end();
      if (rest !== '') options.onText?.(rest);
      job.resolve(text.result(logProbs));
      this.#rows[row] = null;
      return id;
    } catch (error) {
      this.#fail(row, error);
      return null;
    }
  }
}
