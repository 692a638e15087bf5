import { Random } from '../data/rng.ts';
import { ArgumentError, HeddleError } from '../util/errors.ts';

/** How the next token is chosen from its logits. */
export interface SamplingOptions {
  /** Logits are divided by it; 0 takes the most likely token. Default 1. */
  temperature?: number;
  /** Only the k most likely tokens. 0 or absent: all. */
  topK?: number;
  /** Only the most likely tokens that together reach this probability (nucleus sampling, Holtzman et al. 2019), in (0, 1]. Default 1. */
  topP?: number;
  /** Only tokens at least this likely relative to the most likely one, in [0, 1]. Default 0. */
  minP?: number;
  /** Logits of tokens that stand in the sequence already are divided by it where positive, multiplied where negative (Keskar et al. 2019). Default 1. */
  repetitionPenalty?: number;
  /** The same seed gives the same text. Default: a different one each time. */
  seed?: number;
}

/** Tells generation from the other users of the counter-based random numbers. */
const STREAM = 0x67656e65;

function check(options: SamplingOptions, where: string): void {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
  const need = (ok: boolean, name: string, expected: string, got: unknown): void => {
    if (!ok) throw new ArgumentError(`${where}: ${name} must be ${expected}, got ${got}`);
  };
  need(temperature >= 0 && Number.isFinite(temperature), 'temperature', 'a number of at least 0', temperature);
  need(Number.isInteger(topK) && topK >= 0, 'topK', 'an integer of at least 0', topK);
  need(topP > 0 && topP <= 1, 'topP', 'above 0 and at most 1', topP);
  need(minP >= 0 && minP <= 1, 'minP', 'from 0 to 1', minP);
  need(repetitionPenalty > 0 && Number.isFinite(repetitionPenalty), 'repetitionPenalty', 'a number above 0', repetitionPenalty);
  need(Number.isSafeInteger(seed) && seed >= 0, 'seed', 'an integer from 0 to 2^53 - 1', seed);
}

/** Index of the largest value, the lowest of equal ones. */
function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** How many of the tokens, most likely first, top-k, top-p and min-p leave, in this order; `sorted`: scaled logits, ascending. */
function survivors(sorted: Float32Array, topK: number, topP: number, minP: number): number {
  const at = (rank: number): number => sorted[sorted.length - 1 - rank] as number;
  let n = topK > 0 ? Math.min(topK, sorted.length) : sorted.length;
  const best = at(0);
  if (topP < 1) {
    let total = 0;
    for (let i = 0; i < n; i++) total += Math.exp(at(i) - best);
    let reached = 0;
    for (let i = 0; i < n; i++) {
      reached += Math.exp(at(i) - best);
      if (reached >= topP * total) n = i + 1;
    }
  }
  if (minP > 0) while (n > 1 && Math.exp(at(n - 1) - best) < minP) n--;
  return n;
}

/** Sets all but the n largest values to -∞; of equal ones the first stay. `sorted`: the values, ascending. */
function keepLargest(values: Float32Array, sorted: Float32Array, n: number): void {
  if (n >= values.length) return;
  const least = sorted[sorted.length - n] as number;
  let above = 0;
  for (const v of values) if (v > least) above++;
  let equal = n - above;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (v > least || (v === least && equal-- > 0)) continue;
    values[i] = Number.NEGATIVE_INFINITY;
  }
}

/** Draws tokens of samples 0, 1, ... Which number is drawn depends on seed, sample and position alone. */
export class Sampler {
  readonly #options: Required<Omit<SamplingOptions, 'seed'>>;
  readonly #random: Random;

  constructor(options: SamplingOptions, where: string) {
    check(options, where);
    const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
    this.#options = { temperature, topK, topP, minP, repetitionPenalty };
    this.#random = new Random(options.seed ?? Math.floor(Math.random() * 2 ** 32), STREAM);
  }

  /**
   * The next token of a sample. `logits` (V) are overwritten; `seen`: the tokens of the sequence so far; `position`: how many
   * tokens were generated before this one.
   */
  next(logits: Float32Array, seen: Iterable<number>, sample: number, position: number): number {
    const { temperature, topK, topP, minP, repetitionPenalty } = this.#options;
    if (repetitionPenalty !== 1)
      for (const id of new Set(seen)) {
        const v = logits[id];
        if (v !== undefined) logits[id] = v > 0 ? v / repetitionPenalty : v * repetitionPenalty;
      }
    const best = largest(logits);
    const top = logits[best] as number;
    // NaN is larger than nothing: it would be passed over in silence.
    for (const v of logits)
      if (Number.isNaN(v) || v === Number.POSITIVE_INFINITY || top === Number.NEGATIVE_INFINITY)
        throw new HeddleError('ERR_HEDDLE_NOT_FINITE', `generate: logits must be finite, got ${v} for token ${logits.indexOf(v)}`, {
          hint: 'The model has diverged: take an earlier checkpoint, train with a smaller learning rate or with clipping.',
        });
    if (temperature === 0) return best;
    for (let i = 0; i < logits.length; i++) logits[i] = ((logits[i] as number) - top) / temperature;
    if (topK > 0 || topP < 1 || minP > 0) {
      const sorted = logits.slice().sort();
      keepLargest(logits, sorted, survivors(sorted, topK, topP, minP));
    }
    return this.#draw(logits, best, this.#random.uniform(position, sample));
  }

  /** The token at which the cumulative probability, in the order of ids, passes u in [0, 1). Scaled logits, the largest is 0. */
  #draw(logits: Float32Array, best: number, u: number): number {
    let total = 0;
    for (const v of logits) total += Math.exp(v);
    const goal = u * total;
    let reached = 0;
    for (let i = 0; i < logits.length; i++) {
      reached += Math.exp(logits[i] as number);
      if (reached > goal) return i;
    }
    return best; // u so near 1 that rounding passed it over
  }
}
