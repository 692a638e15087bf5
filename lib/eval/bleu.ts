import { ArgumentError } from '../util/errors.ts';
import { BLEU_TOKENIZERS, type BleuTokenizer, bleuWords } from './bleu_words.ts';

/** Longest n-grams that count. */
const ORDER = 4;

export interface BleuOptions {
  /** Default `'13a'`; Chinese wants `'zh'`. */
  tokenize?: BleuTokenizer;
  lowercase?: boolean;
  /** What an n-gram order without any match counts: `'exp'` halves from order to order (NIST's; default), `'none'` makes BLEU 0. */
  smooth?: 'exp' | 'none';
  /** Only the orders that the sentence is long enough for: for scores of single sentences. Default false. */
  effectiveOrder?: boolean;
}

export interface BleuScore {
  /** 0 to 100. */
  score: number;
  /** Of 1-grams to 4-grams, 0 to 100. */
  precisions: readonly number[];
  /** e^(1 - reference / hypothesis) for hypotheses that are too short, else 1. */
  brevityPenalty: number;
  /** Words of all hypotheses. */
  hypothesisLength: number;
  /** Words of the references, of each example the one of the nearest length. */
  referenceLength: number;
}

/** n-grams of all orders up to 4 with their number. */
function ngrams(words: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (let from = 0; from < words.length; from++)
    for (let n = 1; n <= ORDER && from + n <= words.length; n++) {
      const key = `${n} ${words.slice(from, from + n).join(' ')}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  return counts;
}

/**
 * BLEU (Papineni et al. 2002) of a corpus, one example at a time, with sacreBLEU's numbers (Post 2018, its signature
 * `case:mixed|eff:no|tok:13a|smooth:exp`). Holds sums only: memory does not grow with the corpus.
 */
export class Bleu {
  readonly #options: Required<BleuOptions>;
  readonly #right = new Array<number>(ORDER).fill(0);
  readonly #total = new Array<number>(ORDER).fill(0);
  #hypothesisLength = 0;
  #referenceLength = 0;

  /** @throws ArgumentError for an unknown tokenizer or smoothing. */
  constructor(options: BleuOptions = {}) {
    const { tokenize = '13a', lowercase = false, smooth = 'exp', effectiveOrder = false } = options;
    if (!BLEU_TOKENIZERS.includes(tokenize))
      throw new ArgumentError(`Bleu: tokenize must be one of ${BLEU_TOKENIZERS.join(', ')}, got ${JSON.stringify(tokenize)}`);
    if (smooth !== 'exp' && smooth !== 'none')
      throw new ArgumentError(`Bleu: smooth must be 'exp' or 'none', got ${JSON.stringify(smooth)}`);
    this.#options = { tokenize, lowercase, smooth, effectiveOrder };
  }

  /** Counts a sentence with its references. @throws ArgumentError without a reference. */
  add(hypothesis: string, references: string | readonly string[]): void {
    const right = [references].flat().map((text) => this.#words(text));
    if (right.length === 0) throw new ArgumentError('Bleu: references must be at least one text, got none');
    const words = this.#words(hypothesis);
    this.#hypothesisLength += words.length;
    // The nearest length; of two equally near ones the shorter.
    const lengths = right.map((r) => r.length).sort((a, b) => Math.abs(a - words.length) - Math.abs(b - words.length) || a - b);
    this.#referenceLength += lengths[0] as number;
    const allowed = new Map<string, number>();
    for (const reference of right) for (const [key, count] of ngrams(reference)) allowed.set(key, Math.max(count, allowed.get(key) ?? 0));
    for (const [key, count] of ngrams(words)) {
      const order = Number(key[0]) - 1;
      this.#total[order] = (this.#total[order] as number) + count;
      this.#right[order] = (this.#right[order] as number) + Math.min(count, allowed.get(key) ?? 0);
    }
  }

  get score(): BleuScore {
    const [hypothesisLength, referenceLength] = [this.#hypothesisLength, this.#referenceLength];
    const { smooth, effectiveOrder } = this.#options;
    const tooShort = hypothesisLength < referenceLength;
    const brevityPenalty = !tooShort ? 1 : hypothesisLength === 0 ? 0 : Math.exp(1 - referenceLength / hypothesisLength);
    const precisions = new Array<number>(ORDER).fill(0);
    const result = { precisions, brevityPenalty, hypothesisLength, referenceLength };
    if (this.#right.every((count) => count === 0)) return { score: 0, ...result };
    let orders = ORDER;
    let divisor = 1;
    for (let i = 0; i < ORDER; i++) {
      const [right, total] = [this.#right[i] as number, this.#total[i] as number];
      if (total === 0) break;
      if (effectiveOrder) orders = i + 1;
      if (right > 0) precisions[i] = (100 * right) / total;
      else if (smooth === 'exp') {
        divisor *= 2;
        precisions[i] = 100 / (divisor * total);
      }
    }
    const logs = precisions.slice(0, orders).reduce((sum, p) => sum + Math.log(p), 0); // an order without a precision: -Infinity, BLEU 0
    return { score: brevityPenalty * Math.exp(logs / orders), ...result };
  }

  #words(text: string): string[] {
    return bleuWords(this.#options.lowercase ? text.toLowerCase() : text, this.#options.tokenize);
  }
}

/**
 * BLEU of a corpus, 0 to 100; `references[i]` are the right texts for `hypotheses[i]`.
 * @throws ArgumentError for lists of unequal length, an example without a reference, or a wrong option
 */
export function bleu(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
  options: BleuOptions = {},
): BleuScore {
  if (hypotheses.length !== references.length)
    throw new ArgumentError(`bleu: references must have ${hypotheses.length} entries as hypotheses has, got ${references.length}`);
  const counts = new Bleu(options);
  for (const [i, text] of hypotheses.entries()) counts.add(text, references[i] as string | readonly string[]);
  return counts.score;
}
