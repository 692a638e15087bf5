/**
 * An answer as SQuAD's evaluation script compares it (Rajpurkar et al. 2016): lower case, without ASCII punctuation and the
 * articles a, an, the, blanks as one space.
 */
export function normalizeAnswer(text: string): string {
  return text
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/(?<![\p{L}\p{N}_])(a|an|the)(?![\p{L}\p{N}_])/gu, ' ')
    .split(/\s+/u)
    .filter((word) => word !== '')
    .join(' ');
}

export interface AnswerOptions {
  /** Compare as SQuAD does (`normalizeAnswer`); default false: character by character. */
  normalize?: boolean;
}

/** 1 where the answer is one of the right ones, else 0. */
export function exactMatch(answer: string, right: string | readonly string[], options: AnswerOptions = {}): number {
  const form = options.normalize ? normalizeAnswer : (text: string) => text;
  const said = form(answer);
  return [right].flat().some((one) => form(one) === said) ? 1 : 0;
}

/**
 * F1 of the words that an answer shares with a right one, the best over the right ones, 0 to 1: SQuAD's F1 (Rajpurkar et al. 2016).
 * Both are normalised; two answers of which one is empty agree only where both are.
 */
export function answerF1(answer: string, right: string | readonly string[]): number {
  const words = (text: string): string[] => normalizeAnswer(text).split(' ').filter(Boolean);
  const said = words(answer);
  return Math.max(0, ...[right].flat().map((one) => overlapF1(said, words(one))));
}

function overlapF1(said: readonly string[], right: readonly string[]): number {
  if (said.length === 0 || right.length === 0) return said.length === right.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of right) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of said) {
    const count = left.get(word) ?? 0;
    if (count > 0) common++;
    left.set(word, count - 1);
  }
  return (2 * common) / (said.length + right.length);
}
