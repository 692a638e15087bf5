import { ArgumentError } from '../util/errors.ts';

/** A class: its name or number. */
export type Label = string | number;

/**
 * How F1 is taken over the classes: `'macro'`, the mean over all classes that were predicted or stand in the data; `'micro'`, from
 * the counts of all classes together (with one label per example that is the accuracy); `'binary'`, that of one class.
 */
export type Average = 'macro' | 'micro' | 'binary';

interface Counts {
  truePositives: number;
  predicted: number;
  actual: number;
}

/** 2 · TP / (predicted + actual), the harmonic mean of precision and recall; 0 where a class never occurs. */
function f1Of({ truePositives, predicted, actual }: Counts): number {
  return predicted + actual === 0 ? 0 : (2 * truePositives) / (predicted + actual);
}

/**
 * Accuracy and F1 of predicted classes, one example at a time: memory grows with the number of classes, not of examples.
 * Definitions as in scikit-learn's `accuracy_score` and `f1_score` with `zero_division=0`.
 */
export class Classification {
  readonly #classes = new Map<Label, Counts>();
  #examples = 0;
  #right = 0;

  /** Counts an example. */
  add(predicted: Label, actual: Label): void {
    this.#examples++;
    this.#of(predicted).predicted++;
    this.#of(actual).actual++;
    if (predicted !== actual) return;
    this.#right++;
    this.#of(actual).truePositives++;
  }

  /** Examples so far. */
  get examples(): number {
    return this.#examples;
  }

  /** Share of the examples whose class was predicted, 0 to 1. @throws ArgumentError before the first example. */
  get accuracy(): number {
    this.#needSome('accuracy');
    return this.#right / this.#examples;
  }

  /**
   * F1, 0 to 1. `positive`: the class that counts for `'binary'`; default 1.
   * @throws ArgumentError before the first example, or where `positive` was never predicted and is in no example
   */
  f1(average: Average, positive: Label = 1): number {
    this.#needSome('f1');
    const all = [...this.#classes.values()];
    if (average === 'macro') return all.reduce((sum, counts) => sum + f1Of(counts), 0) / all.length;
    if (average === 'micro') return this.accuracy; // every wrong example is one false positive and one false negative
    if (average !== 'binary') throw new ArgumentError(`f1: average must be 'macro', 'micro' or 'binary', got ${JSON.stringify(average)}`);
    const counts = this.#classes.get(positive);
    if (!counts) {
      const known = [...this.#classes.keys()].map((label) => JSON.stringify(label)).join(', ');
      throw new ArgumentError(`f1: positive must be one of the classes ${known}, got ${JSON.stringify(positive)}`);
    }
    return f1Of(counts);
  }

  #of(label: Label): Counts {
    let counts = this.#classes.get(label);
    if (!counts) {
      counts = { truePositives: 0, predicted: 0, actual: 0 };
      this.#classes.set(label, counts);
    }
    return counts;
  }

  #needSome(what: string): void {
    if (this.#examples === 0) throw new ArgumentError(`${what}: there must be at least one example, got none`);
  }
}

function classified(where: string, predicted: readonly Label[], actual: readonly Label[]): Classification {
  if (predicted.length !== actual.length)
    throw new ArgumentError(`${where}: predicted must have ${actual.length} labels as actual has, got ${predicted.length}`);
  const counts = new Classification();
  for (const [i, label] of predicted.entries()) counts.add(label, actual[i] as Label);
  return counts;
}

/** Share of the examples whose class was predicted, 0 to 1. @throws ArgumentError for lists of unequal length, or without examples. */
export function accuracy(predicted: readonly Label[], actual: readonly Label[]): number {
  return classified('accuracy', predicted, actual).accuracy;
}

/**
 * F1 of predicted classes, 0 to 1; see `Average`. `positive`: the class that counts for `'binary'`, default 1.
 * @throws ArgumentError for lists of unequal length, without examples, or for a class that does not occur
 */
export function f1(predicted: readonly Label[], actual: readonly Label[], options: { average?: Average; positive?: Label } = {}): number {
  return classified('f1', predicted, actual).f1(options.average ?? 'macro', options.positive);
}
