import { ArgumentError } from '../util/errors.ts';

/** The examples whose confidence lies in (from, to]; the first bin holds 0, too. */
export interface CalibrationBin {
  from: number;
  to: number;
  count: number;
  /** Mean confidence and share of right ones, 0 to 1; null where there are none. */
  confidence: number | null;
  accuracy: number | null;
}

/**
 * How far a model's confidence is its accuracy, in bins of equal width (Guo et al. 2017), one example at a time. Memory grows with the
 * bins, not with the examples.
 */
export class Calibration {
  readonly #bins: { count: number; confidence: number; right: number }[];

  /** `bins`: how many. Default 10. @throws ArgumentError unless it is a positive integer. */
  constructor(bins = 10) {
    if (!(Number.isInteger(bins) && bins > 0)) throw new ArgumentError(`Calibration: bins must be a positive integer, got ${bins}`);
    this.#bins = Array.from({ length: bins }, () => ({ count: 0, confidence: 0, right: 0 }));
  }

  /** Counts an answer given with this probability (0 to 1). @throws ArgumentError for another number. */
  add(confidence: number, isRight: boolean): void {
    // The sum of a softmax may pass 1 by rounding.
    if (!(confidence >= 0 && confidence <= 1 + 1e-6))
      throw new ArgumentError(`Calibration: confidence must be a probability from 0 to 1, got ${confidence}`);
    const index = Math.min(this.#bins.length - 1, Math.max(0, Math.ceil(confidence * this.#bins.length) - 1));
    const bin = this.#bins[index] as { count: number; confidence: number; right: number };
    bin.count++;
    bin.confidence += confidence;
    if (isRight) bin.right++;
  }

  get examples(): number {
    return this.#bins.reduce((sum, bin) => sum + bin.count, 0);
  }

  /** Expected calibration error: the mean distance of accuracy and confidence of the bins, weighted by their examples; 0 to 1. NaN without examples. */
  get error(): number {
    const gap = this.#bins.reduce((sum, { confidence, right }) => sum + Math.abs(right - confidence), 0);
    return gap / this.examples;
  }

  get bins(): CalibrationBin[] {
    const n = this.#bins.length;
    return this.#bins.map(({ count, confidence, right }, i) => ({
      from: i / n,
      to: (i + 1) / n,
      count,
      confidence: count === 0 ? null : confidence / count,
      accuracy: count === 0 ? null : right / count,
    }));
  }
}
