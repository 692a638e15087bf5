import { Calibration } from './calibration.ts';
import type { Measured, Sample } from './measure.ts';
import { Mean } from './statistics.ts';
import type { MetricRule } from './tasks.ts';

/** A figure of a benchmark, and how it is made. */
export interface Figure extends Omit<MetricRule, 'histogram'> {
  readonly value: number;
  /** Null where there are too few examples for one. */
  readonly standardError: number | null;
}

/** Counts of examples by a figure of theirs, in bins from 0 on. */
export interface Histogram {
  /** The figure. */
  readonly name: string;
  readonly width: number;
  readonly counts: readonly number[];
}

/** The quotient of the sums as the figure shows it. */
export function shown(rule: MetricRule, quotient: number): number {
  if (rule.as === 'exp') return Math.exp(quotient);
  return rule.as === 'bits' ? quotient / Math.LN2 : quotient;
}

/** How much the figure moves when the quotient does, there. */
const slope = (rule: MetricRule, quotient: number): number =>
  rule.as === 'exp' ? Math.exp(quotient) : rule.as === 'bits' ? 1 / Math.LN2 : 1;

/** What an example adds to a figure: its score, and what that is divided by. */
export function shareOf(rule: MetricRule, scores: Readonly<Record<string, number>>): [value: number, weight: number] {
  return [scores[rule.sum] as number, rule.over === undefined ? 1 : (scores[rule.over] as number)];
}

/** The sums of one group. */
class Sums {
  readonly #rules: readonly MetricRule[];
  readonly #means: readonly Mean[];
  examples = 0;

  constructor(rules: readonly MetricRule[]) {
    this.#rules = rules;
    this.#means = rules.map(() => new Mean());
  }

  add(scores: Readonly<Record<string, number>>): void {
    this.examples++;
    for (const [i, rule] of this.#rules.entries()) this.#means[i]?.add(...shareOf(rule, scores));
  }

  figures(): Figure[] {
    return this.#rules.map((rule, i) => {
      const { value: quotient, standardError: error } = this.#means[i] as Mean;
      const standardError = Number.isNaN(error) ? null : error * slope(rule, quotient);
      const { histogram: _, ...made } = rule;
      return { ...made, value: shown(rule, quotient), standardError };
    });
  }
}

/** Sums up a benchmark example by example; what it holds grows with the groups, not with the examples. */
export class Tally {
  readonly #rules: readonly MetricRule[];
  readonly #all: Sums;
  readonly #groups = new Map<string, Sums>();
  readonly #calibration = new Calibration();
  readonly #counts: number[];

  constructor(rules: readonly MetricRule[]) {
    this.#rules = rules;
    this.#all = new Sums(rules);
    this.#counts = new Array<number>(rules[0]?.histogram?.bins ?? 0).fill(0);
  }

  get examples(): number {
    return this.#all.examples;
  }

  add({ scores, group, confidence, chosen, answer }: Sample): void {
    this.#all.add(scores);
    this.#count(scores);
    if (confidence !== undefined) this.#calibration.add(confidence, chosen === answer);
    if (group === undefined) return;
    const own = this.#groups.get(group) ?? new Sums(this.#rules);
    this.#groups.set(group, own);
    own.add(scores);
  }

  #count(scores: Readonly<Record<string, number>>): void {
    const [rule] = this.#rules;
    if (!rule?.histogram) return;
    const [value, weight] = shareOf(rule, scores);
    const bin = Math.floor(shown(rule, value / weight) / rule.histogram.width);
    const last = this.#counts.length - 1;
    const at = bin >= 0 ? Math.min(last, bin) : 0;
    this.#counts[at] = (this.#counts[at] as number) + 1;
  }

  result(): Measured {
    const [first] = this.#rules;
    const groups = [...this.#groups].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      examples: this.examples,
      figures: this.#all.figures(),
      groups: groups.map(([name, sums]) => ({ name, examples: sums.examples, figures: sums.figures() })),
      calibration: this.#calibration.examples === 0 ? null : { error: this.#calibration.error, bins: this.#calibration.bins },
      histogram: first?.histogram ? { name: first.name, width: first.histogram.width, counts: this.#counts } : null,
    };
  }
}
