/** Mean and spread of numbers that come one at a time, by Welford's recurrence (1962): no difference of large sums. */
export class Statistics {
  #count = 0;
  #mean = 0;
  #squares = 0;

  add(value: number): void {
    this.#count++;
    const before = value - this.#mean;
    this.#mean += before / this.#count;
    this.#squares += before * (value - this.#mean);
  }

  get count(): number {
    return this.#count;
  }

  /** NaN without numbers. */
  get mean(): number {
    return this.#count === 0 ? Number.NaN : this.#mean;
  }

  /** Of the sample: the sum of squares over n - 1. NaN with fewer than two numbers. */
  get deviation(): number {
    return this.#count < 2 ? Number.NaN : Math.sqrt(this.#squares / (this.#count - 1));
  }

  /** Standard error of the mean, deviation / √n, as lm-evaluation-harness gives it. NaN with fewer than two numbers. */
  get standardError(): number {
    return this.deviation / Math.sqrt(this.#count);
  }
}
