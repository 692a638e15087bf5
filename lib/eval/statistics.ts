/**
 * Mean of values that come one at a time, each for so many units (its weight): Σ value / Σ weight. With weight 1 the ordinary mean;
 * with a document's nats and tokens, nats per token. Holds six numbers, however many come.
 */
export class Mean {
  #count = 0;
  #values = 0;
  #weights = 0;
  #valuesSquared = 0;
  #products = 0;
  #weightsSquared = 0;

  add(value: number, weight = 1): void {
    this.#count++;
    this.#values += value;
    this.#weights += weight;
    this.#valuesSquared += value * value;
    this.#products += value * weight;
    this.#weightsSquared += weight * weight;
  }

  get count(): number {
    return this.#count;
  }

  /** NaN without values. */
  get value(): number {
    return this.#values / this.#weights;
  }

  /**
   * Standard error of `value`. With weight 1 the sample's standard deviation over √n, as in lm-evaluation-harness; else that of a ratio of
   * two means, to first order (the delta method; Cochran 1977, 2.11). NaN with fewer than two values.
   */
  get standardError(): number {
    const [n, mean] = [this.#count, this.value];
    if (n < 2) return Number.NaN;
    const squares = this.#valuesSquared - 2 * mean * this.#products + mean * mean * this.#weightsSquared;
    return Math.sqrt((Math.max(0, squares) * n) / (n - 1)) / this.#weights;
  }
}
