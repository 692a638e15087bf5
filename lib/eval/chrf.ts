import { ArgumentError } from '../util/errors.ts';

export interface ChrfOptions {
  /** Longest n-grams of characters. Default 6. */
  order?: number;
  /** Recall counts so many times as much as precision. Default 2: chrF2. */
  beta?: number;
  lowercase?: boolean;
  /** Blanks count as characters. Default false. */
  whitespace?: boolean;
}

/** Of one order: n-grams of the hypothesis, of the reference, and those in both. */
type Counts = [hypothesis: number, reference: number, common: number];

function ngrams(characters: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= characters.length; i++) {
    const key = characters.slice(i, i + n).join('');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

function compare(hypothesis: readonly string[], reference: readonly string[], n: number): Counts {
  const right = ngrams(reference, n);
  let [said, common] = [0, 0];
  for (const [key, count] of ngrams(hypothesis, n)) {
    said += count;
    common += Math.min(count, right.get(key) ?? 0);
  }
  // Where the reference is too short to have any, there is nothing to be right about.
  return [right.size === 0 ? 0 : said, Math.max(0, reference.length - n + 1), common];
}

/** F-beta of the mean precision and the mean recall over the orders that both sides have, 0 to 100. */
function scoreOf(counts: readonly Counts[], beta: number): number {
  const filled = counts.filter(([hypothesis, reference]) => hypothesis > 0 && reference > 0);
  const precision = filled.reduce((sum, [hypothesis, , common]) => sum + common / hypothesis, 0) / filled.length;
  const recall = filled.reduce((sum, [, reference, common]) => sum + common / reference, 0) / filled.length;
  if (!(precision + recall > 0)) return 0;
  return (100 * (1 + beta ** 2) * precision * recall) / (beta ** 2 * precision + recall);
}

/**
 * chrF (Popović 2015) of a corpus, one example at a time, with sacreBLEU's numbers: chrF2, characters up to 6-grams, no words. Of
 * several references the one with the best score of its own counts. Holds sums only: memory does not grow with the corpus.
 */
export class Chrf {
  readonly #options: Required<ChrfOptions>;
  readonly #counts: Counts[];

  /** @throws ArgumentError for an order or beta that is no positive number. */
  constructor(options: ChrfOptions = {}) {
    const { order = 6, beta = 2, lowercase = false, whitespace = false } = options;
    if (!(Number.isInteger(order) && order > 0)) throw new ArgumentError(`Chrf: order must be a positive integer, got ${order}`);
    if (!(beta > 0 && Number.isFinite(beta))) throw new ArgumentError(`Chrf: beta must be a number above 0, got ${beta}`);
    this.#options = { order, beta, lowercase, whitespace };
    this.#counts = Array.from({ length: order }, () => [0, 0, 0]);
  }

  /** Counts a sentence with its references. @throws ArgumentError without a reference. */
  add(hypothesis: string, references: string | readonly string[]): void {
    const said = this.#characters(hypothesis);
    const { beta } = this.#options;
    let best: readonly Counts[] | undefined;
    for (const reference of [references].flat()) {
      const right = this.#characters(reference);
      const counts = this.#counts.map((_, i) => compare(said, right, i + 1));
      if (best === undefined || scoreOf(counts, beta) > scoreOf(best, beta)) best = counts;
    }
    if (best === undefined) throw new ArgumentError('Chrf: references must be at least one text, got none');
    for (const [i, counts] of best.entries())
      for (const [j, count] of counts.entries()) (this.#counts[i] as Counts)[j as 0 | 1 | 2] += count;
  }

  /** 0 to 100. */
  get score(): number {
    return scoreOf(this.#counts, this.#options.beta);
  }

  #characters(text: string): string[] {
    const cased = this.#options.lowercase ? text.toLowerCase() : text;
    return Array.from(this.#options.whitespace ? cased : cased.replace(/\s+/gu, ''));
  }
}

/**
 * chrF2 of a corpus, 0 to 100; `references[i]` are the right texts for `hypotheses[i]`.
 * @throws ArgumentError for lists of unequal length, an example without a reference, or a wrong option
 */
export function chrf(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
  options: ChrfOptions = {},
): number {
  if (hypotheses.length !== references.length)
    throw new ArgumentError(`chrf: references must have ${hypotheses.length} entries as hypotheses has, got ${references.length}`);
  const counts = new Chrf(options);
  for (const [i, text] of hypotheses.entries()) counts.add(text, references[i] as string | readonly string[]);
  return counts.score;
}
