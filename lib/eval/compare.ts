import { philox4x32, seedWords } from '../data/rng.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { type ReportHead, readReport, readSamples, type SampleLine } from './report_read.ts';
import { shareOf, shown } from './tally.ts';

/** Tells the bootstrap's random numbers from the others' of a seed. */
const STREAM = 0x626f6f74;

/** Poisson with mean 1: P(n or fewer) as thresholds of a 32-bit number. Beyond the last, nothing that 32 bits could tell. */
const THRESHOLDS = (() => {
  const all: number[] = [];
  let [term, sum] = [Math.exp(-1), 0];
  for (let n = 1; n <= 12; n++) {
    sum += term;
    all.push(sum * 2 ** 32);
    term /= n;
  }
  return all;
})();

function poisson(word: number): number {
  let n = 0;
  while (n < THRESHOLDS.length && word >= (THRESHOLDS[n] as number)) n++;
  return n;
}

export interface CompareOptions {
  /** How many resamples. Default 1000. */
  resamples?: number;
  /** The same seed gives the same intervals. Default 0. */
  seed?: number;
  /** Share of resamples within the interval, above 0 and below 1. Default 0.95. */
  confidence?: number;
}

/** A figure of two models on the same examples. */
export interface ComparedFigure {
  readonly name: string;
  readonly better: 'higher' | 'lower';
  readonly a: number;
  readonly b: number;
  /** b - a. */
  readonly difference: number;
  /** Percentile interval of the difference. */
  readonly interval: readonly [low: number, high: number];
  /** Two-sided: twice the smaller share of resamples on one side of 0, never below 2 / (resamples + 1). */
  readonly pValue: number;
}

export interface Comparison {
  readonly task: string;
  readonly a: string;
  readonly b: string;
  readonly examples: number;
  readonly resamples: number;
  readonly seed: number;
  readonly confidence: number;
  readonly figures: readonly ComparedFigure[];
}

/** Sums of values and weights of one model: of all examples, and of each resample. */
class Resampled {
  readonly values: Float64Array;
  readonly weights: Float64Array;

  constructor(resamples: number) {
    this.values = new Float64Array(resamples + 1);
    this.weights = new Float64Array(resamples + 1);
  }

  add(at: number, times: number, [value, weight]: readonly [number, number]): void {
    this.values[at] = (this.values[at] as number) + times * value;
    this.weights[at] = (this.weights[at] as number) + times * weight;
  }

  quotient(at: number): number {
    return (this.values[at] as number) / (this.weights[at] as number);
  }
}

/** The examples of both reports side by side. */
function* pairs(a: ReportHead, b: ReportHead): Generator<[SampleLine, SampleLine], void> {
  const second = readSamples(b);
  try {
    for (const one of readSamples(a)) {
      const { value: other, done } = second.next();
      if (done) throw new FileError(b.folder, `its samples must be those of ${a.folder}, but end before ${one.where} of it`);
      if (other.id !== one.id)
        throw new FileError(
          other.file,
          `${other.where}: id must be ${JSON.stringify(one.id)} as in ${one.file}, got ${JSON.stringify(other.id)}`,
        );
      yield [one, other];
    }
    if (!second.next().done) throw new FileError(b.folder, `its samples must be those of ${a.folder}, but are more`);
  } finally {
    second.return(undefined);
  }
}

function check(options: Required<CompareOptions>): void {
  const { resamples, confidence } = options;
  if (!(Number.isInteger(resamples) && resamples >= 1))
    throw new ArgumentError(`compareReports: resamples must be a positive integer, got ${resamples}`);
  if (!(confidence > 0 && confidence < 1))
    throw new ArgumentError(`compareReports: confidence must be above 0 and below 1, got ${confidence}`);
}

/** The value below which a share of the sorted ones lies. */
const percentile = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] as number;

/**
 * Compares two models by their reports on the same examples: a paired bootstrap (Koehn 2004). Each resample takes every example a number
 * of times that is Poisson with mean 1 (Hanley and MacGibbon 2006), the same number for both models, so the examples are read once and
 * none is kept: memory grows with the resamples alone. The numbers belong to (seed, example, resample).
 * @param a, b folders with reports, or their report.json; the second is measured against the first
 * @throws FileError for what is no report, and where the two are not of the same task and examples; ArgumentError for a wrong option
 */
export function compareReports(a: string, b: string, options: CompareOptions = {}): Comparison {
  const { resamples = 1000, seed = 0, confidence = 0.95 } = options;
  check({ resamples, seed, confidence });
  const key = seedWords('compareReports', seed);
  const [first, second] = [readReport(a), readReport(b)];
  for (const field of ['task', 'shots', 'examples'] as const)
    if (first[field] !== second[field])
      throw new FileError(second.folder, `its ${field} must be ${first[field]} as in ${first.folder}, got ${second[field]}`);
  const rules = first.figures.filter(({ name, sum, over, as }) =>
    second.figures.some((other) => other.name === name && other.sum === sum && other.over === over && other.as === as),
  );
  const sums = rules.map(() => [new Resampled(resamples), new Resampled(resamples)] as const);
  const words = new Uint32Array(4);
  let examples = 0;
  for (const [one, other] of pairs(first, second)) {
    const shares = rules.map((rule) => [shareOf(rule, one.scores), shareOf(rule, other.scores)] as const);
    const add = (at: number, times: number): void => {
      for (const [i, [own, others]] of shares.entries()) {
        sums[i]?.[0].add(at, times, own);
        sums[i]?.[1].add(at, times, others);
      }
    };
    add(resamples, 1); // the last place holds the examples themselves
    for (let at = 0; at < resamples; at++) {
      if (at % 4 === 0) philox4x32(words, at / 4, 0, STREAM, examples, ...key);
      const times = poisson(words[at % 4] as number);
      if (times > 0) add(at, times);
    }
    examples++;
  }
  if (examples === 0) throw new FileError(first.folder, 'its samples must be at least one, got none');
  const figures = rules.map((rule, i) => {
    const [own, others] = sums[i] as readonly [Resampled, Resampled];
    const at = (index: number): number => shown(rule, others.quotient(index)) - shown(rule, own.quotient(index));
    // A resample of few examples may have taken none of them.
    const differences = Float64Array.from({ length: resamples }, (_, index) => at(index))
      .filter((d) => !Number.isNaN(d))
      .sort();
    const below = differences.filter((d) => d <= 0).length;
    const above = differences.filter((d) => d >= 0).length;
    const tail = (1 - confidence) / 2;
    return {
      ...{ name: rule.name, better: rule.better, a: shown(rule, own.quotient(resamples)), b: shown(rule, others.quotient(resamples)) },
      difference: at(resamples),
      interval: [percentile(differences, tail), percentile(differences, 1 - tail)] as const,
      pValue: Math.min(1, (2 * (Math.min(below, above) + 1)) / (differences.length + 1)),
    };
  });
  return { task: first.task, a: first.model, b: second.model, examples, resamples, seed, confidence, figures };
}
