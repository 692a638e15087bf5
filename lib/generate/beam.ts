import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { type CacheOption, Decoder } from './decoder.ts';
import { logSoftmax } from './log_probs.ts';
import { type ProcessorOptions, processLogits, processorsOf } from './processors.ts';
import { badWordIds, type PromptOptions, promptOf } from './prompt.ts';

export interface BeamOptions extends PromptOptions, ProcessorOptions {
  /** How many hypotheses are carried along, and how many are given. Default 4. */
  beams?: number;
  /** The most tokens of a hypothesis, the end of text counted. Default 256. */
  maxTokens?: number;
  /** Scores are ln p over length to this power: 0 favours short texts, more than 1 long ones. Default 1. */
  lengthPenalty?: number;
  /**
   * True: done as soon as `beams` hypotheses have ended. False (default): done when no open one can end better than the worst of those,
   * however long it gets.
   */
  earlyStopping?: boolean;
  /** Where keys and values of earlier positions are kept. Default true. With pages, beams share what they have in common. */
  cache?: CacheOption;
  /** Aborting rejects with the signal's reason at the next token. */
  signal?: AbortSignal;
}

export interface Beam {
  /** What follows the prompt; '' without a tokenizer. */
  readonly text: string;
  /** Its tokens, without the end of text. */
  readonly tokens: readonly number[];
  /** ln p of the tokens, the end of text among them, in nats, as processors left it. */
  readonly logProb: number;
  /** logProb / length^lengthPenalty; the end of text counts in the length. */
  readonly score: number;
  readonly finishReason: 'endOfText' | 'length';
}

/** A hypothesis that goes on: where it stands in the batch, and ln p of what was generated. */
interface Open {
  readonly row: number;
  readonly tokens: readonly number[];
  readonly logProb: number;
}

interface Candidate {
  readonly from: Open;
  readonly id: number;
  readonly logProb: number;
}

/** The `count` likeliest tokens after the open hypotheses, the likeliest first; of equal ones the one of the earlier row, the lower id. */
function likeliest(open: readonly Open[], logProbs: readonly Float64Array[], count: number): Candidate[] {
  const best: Candidate[] = [];
  for (const [i, from] of open.entries()) {
    const row = logProbs[i] as Float64Array;
    for (let id = 0; id < row.length; id++) {
      const logProb = from.logProb + (row[id] as number);
      if (logProb === Number.NEGATIVE_INFINITY || (best.length === count && logProb <= (best.at(-1) as Candidate).logProb)) continue;
      let at = best.length;
      while (at > 0 && (best[at - 1] as Candidate).logProb < logProb) at--;
      best.splice(at, 0, { from, id, logProb });
      if (best.length > count) best.pop();
    }
  }
  return best;
}

/** The hypotheses that have ended, the best `beams` of them. */
class Ended {
  readonly #beams: number;
  readonly #power: number;
  readonly all: Omit<Beam, 'text'>[] = [];

  constructor(beams: number, power: number) {
    this.#beams = beams;
    this.#power = power;
  }

  scoreOf(logProb: number, length: number): number {
    return logProb / length ** this.#power;
  }

  get full(): boolean {
    return this.all.length >= this.#beams;
  }

  add(tokens: readonly number[], logProb: number, finishReason: Beam['finishReason']): void {
    const length = tokens.length + (finishReason === 'endOfText' ? 1 : 0);
    this.all.push({ tokens, logProb, score: this.scoreOf(logProb, length), finishReason });
    this.all.sort((a, b) => b.score - a.score); // stable: of equal ones the earlier
    this.all.splice(this.#beams);
  }

  /** Whether a hypothesis of `length` tokens with this ln p, which can only fall, may still end better than the worst that is kept. */
  mayBeat(logProb: number, length: number, maxTokens: number): boolean {
    if (!this.full) return true;
    const worst = this.all.at(-1)?.score ?? Number.NEGATIVE_INFINITY;
    return Math.max(this.scoreOf(logProb, length + 1), this.scoreOf(logProb, maxTokens)) > worst;
  }
}

function check(model: GPT, { beams = 4, maxTokens = 256, lengthPenalty = 1 }: BeamOptions, where: string): void {
  const need = (ok: boolean, name: string, expected: string, got: unknown): void => {
    if (!ok) throw new ArgumentError(`${where}: ${name} must be ${expected}, got ${got}`);
  };
  need(Number.isInteger(beams) && beams >= 1, 'beams', 'a positive integer', beams);
  need(Number.isInteger(maxTokens) && maxTokens >= 1, 'maxTokens', 'a positive integer', maxTokens);
  need(Number.isFinite(lengthPenalty), 'lengthPenalty', 'a number', lengthPenalty);
  need(model.config.vocabSize > 1, 'model', 'one of at least two tokens', model.config.vocabSize);
}

/**
 * The likeliest continuations of a prompt by beam search, the best first: at each length the `beams` likeliest beginnings go on. With as
 * many beams as there are beginnings it finds the best texts of all; with fewer it may miss them. Scores and rules are those of Hugging
 * Face's beam search (`length_penalty`, `early_stopping`), but that the end of text counts in the length, and that without early
 * stopping the search ends only when nothing better can come (their `early_stopping="never"`).
 * @throws ArgumentError for a wrong option or prompt, HeddleError (ERR_HEDDLE_NOT_FINITE) where the model gives NaN
 */
export async function beamSearch(
  model: GPT,
  tokenizer: Tokenizer | null,
  prompt: string | ArrayLike<number>,
  options: BeamOptions = {},
): Promise<Beam[]> {
  const where = 'beamSearch';
  check(model, options, where);
  const { beams = 4, maxTokens = 256, lengthPenalty = 1, earlyStopping = false, cache = true, signal } = options;
  const { ids, endOfText, vocabulary } = promptOf(model, tokenizer, prompt, options, where);
  const processors = processorsOf({ ...options, badWords: badWordIds(tokenizer, options.badWords ?? [], where) }, endOfText, where);
  const decoder = new Decoder(
    model,
    Array.from({ length: beams }, () => ids),
    maxTokens,
    cache,
  );
  const ended = new Ended(beams, lengthPenalty);
  let open: Open[] = [{ row: 0, tokens: [], logProb: 0 }];
  try {
    for (let length = 0; length < maxTokens && open.length > 0; length++) {
      signal?.throwIfAborted();
      const logits = await decoder.logits();
      const logProbs = open.map(({ row }) => {
        const own = logSoftmax((logits[row] as Float32Array).subarray(0, vocabulary), where);
        processLogits(own, processors, { tokens: decoder.row(row), generated: length, sample: row }, where);
        return own;
      });
      const next: Candidate[] = [];
      // Each open hypothesis has one candidate that ends it: twice as many leave enough that go on.
      for (const [rank, candidate] of likeliest(open, logProbs, 2 * beams).entries()) {
        const { from, id, logProb } = candidate;
        if (id !== endOfText) next.push(candidate);
        else if (rank < beams) ended.add(from.tokens, logProb, 'endOfText');
        if (next.length === beams) break;
      }
      if (next.length === 0) {
        open = [];
        break;
      }
      // Rows without a hypothesis of their own follow the first one; nobody looks at them.
      const rows = Array.from({ length: beams }, (_, row) => next[row] ?? (next[0] as Candidate));
      decoder.select(rows.map(({ from }) => from.row));
      decoder.push(rows.map(({ id }) => id));
      open = next.map(({ from, id, logProb }, row) => ({ row, tokens: [...from.tokens, id], logProb }));
      const best = open[0] as Open;
      if (ended.full && (earlyStopping || !ended.mayBeat(best.logProb, length + 1, maxTokens))) {
        open = [];
        break;
      }
    }
    signal?.throwIfAborted();
  } finally {
    decoder.dispose();
  }
  for (const { tokens, logProb } of open) ended.add(tokens, logProb, 'length');
  return ended.all.map((beam) => ({ text: tokenizer === null ? '' : textOf(tokenizer, ids, beam.tokens), ...beam }));
}

/** The text of tokens as they stand behind the prompt: where tokens do not simply follow each other, the first depends on the one before. */
function textOf(tokenizer: Tokenizer, prompt: readonly number[], tokens: readonly number[]): string {
  if (tokenizer.concatenates) return tokenizer.decode(tokens);
  const last = prompt.slice(-1);
  return tokenizer.decode([...last, ...tokens]).slice(tokenizer.decode(last).length);
}
