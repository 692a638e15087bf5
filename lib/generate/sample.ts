import { Random } from '../data/rng.ts';
import { ArgumentError } from '../util/errors.ts';
import { largestFinite } from './log_probs.ts';
import { type LogitsProcessor, type ProcessorOptions, processLogits, processorsOf } from './processors.ts';

/** How the next token is chosen from its logits. */
export interface SamplingOptions extends ProcessorOptions {
  /** Logits are divided by it; 0 takes the most likely token. Default 1. */
  temperature?: number;
  /** Only the k most likely tokens. 0 or absent: all. */
  topK?: number;
  /** Only the most likely tokens that together reach this probability (nucleus sampling, Holtzman et al. 2019), in (0, 1]. Default 1. */
  topP?: number;
  /** Only tokens at least this likely relative to the most likely one, in [0, 1]. Default 0. */
  minP?: number;
  /** The same seed gives the same text. Default: a different one each time. */
  seed?: number;
}

/** Tells generation from the other users of the counter-based random numbers. */
const STREAM = 0x67656e65;

function check(options: SamplingOptions, where: string): void {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, seed = 0 } = options;
  const need = (ok: boolean, name: string, expected: string, got: unknown): void => {
    if (!ok) throw new ArgumentError(`${where}: ${name} must be ${expected}, got ${got}`);
  };
  need(temperature >= 0 && Number.isFinite(temperature), 'temperature', 'a number of at least 0', temperature);
  need(Number.isInteger(topK) && topK >= 0, 'topK', 'an integer of at least 0', topK);
  need(topP > 0 && topP <= 1, 'topP', 'above 0 and at most 1', topP);
  need(minP >= 0 && minP <= 1, 'minP', 'from 0 to 1', minP);
  need(Number.isSafeInteger(seed) && seed >= 0, 'seed', 'an integer from 0 to 2^53 - 1', seed);
}

/**
 * The largest values, ascending: at least `count` of them, with at least `mass` of the sum of e^v over all. Sorting a whole
 * vocabulary would take longer than a small model; the few that matter lie near the largest, which is 0.
 */
function largestSorted(values: Float32Array, count: number, mass: number): Float32Array {
  for (let cutoff = -4; ; cutoff *= 4) {
    const least = cutoff < -1e4 ? Number.NEGATIVE_INFINITY : cutoff;
    let found = 0;
    let reached = 0;
    for (let i = 0; i < values.length; i++) {
      const v = values[i] as number;
      if (v < least) continue;
      found++;
      reached += Math.exp(v);
    }
    if (least === Number.NEGATIVE_INFINITY || (found >= count && reached >= mass)) return values.filter((v) => v >= least).sort();
  }
}

/** Sum of e^v. */
function massOf(values: Float32Array): number {
  let mass = 0;
  for (let i = 0; i < values.length; i++) mass += Math.exp(values[i] as number);
  return mass;
}

/** Sets all but the n largest values to -∞; of equal ones the first stay. `least`: the n-th largest. */
function keepLargest(values: Float32Array, least: number, n: number): void {
  let above = 0;
  for (let i = 0; i < values.length; i++) if ((values[i] as number) > least) above++;
  let equal = n - above;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (v > least || (v === least && equal-- > 0)) continue;
    values[i] = Number.NEGATIVE_INFINITY;
  }
}

/** Leaves what top-k, of that what top-p leaves; the others become -∞. The largest value is 0. */
function keepLikely(values: Float32Array, topK: number, topP: number): void {
  const k = topK > 0 ? Math.min(topK, values.length) : values.length;
  let total = topK > 0 ? 0 : massOf(values);
  const sorted = largestSorted(values, topK > 0 ? k : 1, topP < 1 ? topP * total : 0);
  let n = Math.min(k, sorted.length);
  if (topP < 1) {
    if (topK > 0) total = massOf(sorted.subarray(sorted.length - n));
    let reached = 0;
    for (let rank = 0; rank < n; rank++) {
      reached += Math.exp(sorted[sorted.length - 1 - rank] as number);
      if (reached >= topP * total) n = rank + 1;
    }
  }
  if (n < values.length) keepLargest(values, sorted[sorted.length - n] as number, n);
}

/** Draws tokens of samples 0, 1, ... Which number is drawn depends on seed, sample and position alone. */
export class Sampler {
  readonly #options: Required<Omit<SamplingOptions, 'seed' | keyof ProcessorOptions>>;
  readonly #processors: readonly LogitsProcessor[];
  readonly #where: string;
  readonly #random: Random;

  /** `endOfText`: the token that ends a text, for `minTokens`. @throws ArgumentError for a wrong option */
  constructor(options: SamplingOptions, where: string, endOfText: number | null = null) {
    check(options, where);
    const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options;
    this.#options = { temperature, topK, topP, minP };
    this.#processors = processorsOf(options, endOfText, where);
    this.#where = where;
    this.#random = new Random(options.seed ?? Math.floor(Math.random() * 2 ** 32), STREAM);
  }

  /**
   * The next token of a sample. `logits` (V) are overwritten; `tokens`: those of the sequence so far; `position`: how many were
   * generated before this one.
   */
  next(logits: Float32Array, tokens: readonly number[], sample: number, position: number): number {
    const { temperature, topK, topP, minP } = this.#options;
    let best = largestFinite(logits, this.#where);
    if (this.#processors.length > 0) {
      processLogits(logits, this.#processors, { tokens, generated: position, sample }, this.#where);
      best = largestFinite(logits, this.#where);
    }
    const top = logits[best] as number;
    if (temperature === 0) return best;
    for (let i = 0; i < logits.length; i++) logits[i] = ((logits[i] as number) - top) / temperature;
    if (topK > 0 || topP < 1) keepLikely(logits, topK, topP);
    const least = Math.log(minP);
    for (let i = 0; i < logits.length; i++) if ((logits[i] as number) < least) logits[i] = Number.NEGATIVE_INFINITY;
    return this.#draw(logits, best, this.#random.uniform(position, sample));
  }

  /** The token at which the cumulative probability, in the order of ids, passes u in [0, 1). Scaled logits, the largest is 0. */
  #draw(logits: Float32Array, best: number, u: number): number {
    const goal = u * massOf(logits);
    let reached = 0;
    for (let i = 0; i < logits.length; i++) {
      reached += Math.exp(logits[i] as number);
      if (reached > goal) return i;
    }
    return best; // u so near 1 that rounding passed it over
  }
}
