// A small supervised task made from any text: which of these words is in the passage?
//
//   prompt      "of that inscrutable thing is chiefly what I hate and be the white whale agent\n"
//   completion  " whale"
//
// Why this one. The answer must be certain (so that exact match means something), the answers balanced (so that always saying
// the most frequent one scores 1 in 8), the held-out passages unseen (they come from the validation part), and a GPT of one
// or two million parameters must learn it in a minute. Finding one of eight tokens among twenty and saying it is what one
// attention head does: keys that know eight tokens, values that copy. Tasks that look as easy are not: counting words or
// finding the n-th needs positions, "the first letter of the last word" needs spelling, which a model over BPE tokens
// does not see, and naming a word that was left out has no certain answer.
//
// Words are runs of letters; in scripts that write no spaces between words (Han, kana, Thai, ...) single characters. Candidates
// are frequent in both parts but in less than one word of 200, so that a passage can hold exactly one of them; among
// those the unevenly spread are taken (a text's subjects come in clusters, its grammar does not). The prompt adds nothing but
// a line end, so that a tokenizer of the text's own characters can encode it.
import { ArgumentError } from '../util/errors.ts';
import { Permutation, Random, STREAM } from './rng.ts';
import type { Example } from './source.ts';
import { splitBytes } from './split.ts';

const UNSPACED = String.raw`\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}`;
const WORD = new RegExp(`[${UNSPACED}]|(?:(?![${UNSPACED}])[\\p{L}\\p{M}])+`, 'gu');
const IS_UNSPACED = new RegExp(`^[${UNSPACED}]`, 'u');

/** Characters of each part that are looked at: enough for any number of examples that makes sense. */
const MAX_CHARACTERS = 2_000_000;
/** Candidates that are compared for how unevenly they are spread. */
const CANDIDATES = 60;
const BLOCK_WORDS = 500;

/** A task with its data. */
export interface SupervisedTask {
  name: string;
  description: string;
  /** The possible answers. */
  answers: string[];
  train: Example[];
  /** From the validation part of the text. */
  test: Example[];
  /** What always gives the same answer would say, and the share of `test` that it would get right. */
  mostFrequentAnswer: string;
  mostFrequentShare: number;
}

export interface TaskOptions {
  seed?: number;
  /** Training examples at most. */
  examples?: number;
  /** Held-out examples at most. */
  heldOut?: number;
  /** Different answers at most. */
  answers?: number;
  /** Words of a passage. */
  words?: number;
  /** The part of the text, at its end, from which held-out examples come. */
  valFraction?: number;
}

/** A text as words: where each begins and ends, and which it is. */
interface Words {
  text: string;
  starts: number[];
  ends: number[];
  ids: number[];
}

function findWords(text: string, ids: Map<string, number>): Words {
  const words: Words = { text, starts: [], ends: [], ids: [] };
  for (const match of text.matchAll(WORD)) {
    let id = ids.get(match[0]);
    if (id === undefined) {
      id = ids.size;
      ids.set(match[0], id);
    }
    words.starts.push(match.index);
    words.ends.push(match.index + match[0].length);
    words.ids.push(id);
  }
  return words;
}

function countIds(ids: readonly number[], size: number): Float64Array {
  const counts = new Float64Array(size);
  for (const id of ids) counts[id] = (counts[id] as number) + 1;
  return counts;
}

/** Variance over mean of a word's counts in blocks of 500 words: 1 for words strewn at random. */
function dispersion(ids: readonly number[], wanted: readonly number[]): Map<number, number> {
  const blocks = Math.ceil(ids.length / BLOCK_WORDS);
  const sums = new Map(wanted.map((id) => [id, { total: 0, squares: 0, inBlock: 0 }]));
  const closeBlock = (): void => {
    for (const sum of sums.values()) {
      sum.squares += sum.inBlock ** 2;
      sum.inBlock = 0;
    }
  };
  for (const [i, id] of ids.entries()) {
    if (i > 0 && i % BLOCK_WORDS === 0) closeBlock();
    const sum = sums.get(id);
    if (sum === undefined) continue;
    sum.total++;
    sum.inBlock++;
  }
  closeBlock();
  return new Map([...sums].map(([id, { total, squares }]) => [id, squares / total - total / blocks]));
}

/** A word of 3 to 6 letters, or one character of a script without spaces. */
function hasAnswerForm(word: string): boolean {
  const letters = [...word].length;
  return IS_UNSPACED.test(word) || (letters >= 3 && letters <= 6);
}

/** The answers: ids of words, or too few of them if the text has no such words. */
function chooseAnswers(names: readonly string[], train: Words, validation: Words, count: number): number[] {
  const inTrain = countIds(train.ids, names.length);
  const inValidation = countIds(validation.ids, names.length);
  const ratio = train.ids.length / Math.max(1, validation.ids.length);
  const strength = (id: number): number => Math.min(inTrain[id] as number, ratio * (inValidation[id] as number));
  // Rare words of a small text are better than none: only a word that occurs once teaches nothing.
  const ranked = names
    .map((_, id) => id)
    .filter((id) => hasAnswerForm(names[id] as string) && (inTrain[id] as number) >= 2 && (inValidation[id] as number) >= 1)
    .filter((id) => (inTrain[id] as number) <= Math.max(3, train.ids.length / 200))
    .sort((a, b) => strength(b) - strength(a) || a - b);
  // No word that is much rarer than as many others as are needed, however unevenly it is spread.
  const least = strength(ranked[Math.min(count, ranked.length) - 1] ?? 0) / 4;
  const candidates = ranked.slice(0, CANDIDATES).filter((id) => strength(id) >= least);
  const spread = dispersion(train.ids, candidates);
  candidates.sort((a, b) => (spread.get(b) as number) - (spread.get(a) as number) || a - b);
  const chosen: number[] = [];
  const seen = new Set<string>();
  for (const id of candidates) {
    const lower = (names[id] as string).toLowerCase(); // not both "whale" and "Whale"
    if (chosen.length === count || seen.has(lower)) continue;
    seen.add(lower);
    chosen.push(id);
  }
  return chosen;
}

/** Passages of `size` words that hold `answer` and none of the other `confusing` words, at most `count`, each different. */
function passages(
  words: Words,
  answer: number,
  confusing: ReadonlySet<number>,
  size: number,
  count: number,
  random: { seed: number; step: number },
): string[] {
  const places: number[] = [];
  for (const [i, id] of words.ids.entries()) if (id === answer) places.push(i);
  if (places.length === 0) return [];
  const order = new Permutation(places.length, random.seed, STREAM.task, random.step);
  const draw = new Random(random.seed, STREAM.task);
  const found = new Set<string>();
  // Every place once before any place again, then with the word elsewhere in the passage. It is never the first word, so that
  // it stands after a blank, as in the answer.
  for (let round = 0; round < size - 1; round++) {
    for (let i = 0; i < places.length; i++) {
      if (found.size >= count) return [...found];
      const place = places[order.at(i)] as number;
      const before = 1 + ((draw.below(size - 1, random.step, place) + round) % (size - 1));
      const first = place - before;
      const last = first + size - 1;
      if (first < 0 || last >= words.ids.length) continue;
      if (words.ids.slice(first, last + 1).some((id) => id !== answer && confusing.has(id))) continue;
      const start = words.starts[place] as number;
      const spaced = !IS_UNSPACED.test(words.text.slice(start));
      if (spaced && !/\s/.test(words.text[start - 1] as string)) continue;
      found.add(words.text.slice(words.starts[first], words.ends[last]).replace(/\s+/g, ' '));
    }
  }
  return [...found];
}

/** Examples of one part: equally many of each answer, shuffled. */
function makeExamples(
  words: Words,
  names: readonly string[],
  answers: readonly number[],
  size: number,
  count: number,
  random: { seed: number; step: number },
): Example[] {
  const quota = Math.max(1, Math.floor(count / answers.length));
  // Neither another answer nor a word that begins with one ("boats" beside "boat"): the question has one true answer.
  const answerWords = answers.map((id) => names[id] as string);
  const confusing = new Set(names.flatMap((name, id) => (answerWords.some((word) => name.startsWith(word)) ? [id] : [])));
  const lists = answers.map((answer, i) =>
    passages(words, answer, confusing, size, quota, { seed: random.seed, step: random.step + i + 1 }),
  );
  const each = Math.min(...lists.map((list) => list.length));
  const examples = lists.flatMap((list, i) => {
    const word = names[answers[i] as number] as string;
    const completion = IS_UNSPACED.test(word) ? word : ` ${word}`;
    return list.slice(0, each).map((passage) => ({ prompt: `${passage}\n`, completion }));
  });
  if (examples.length === 0) return [];
  const order = new Permutation(examples.length, random.seed, STREAM.task, random.step);
  return examples.map((_, i) => examples[order.at(i)] as Example);
}

/**
 * Makes the task from a text (or from its two parts, where they are split already). Equal arguments give equal examples.
 * @throws ArgumentError when the text is too small or too uniform to find two answers with passages in both parts.
 */
export function makeTask(text: string | { train: string; validation: string }, options: TaskOptions = {}): SupervisedTask {
  const { seed = 0, examples = 4000, heldOut = 400, answers: most = 8, words: size = 12, valFraction = 0.1 } = options;
  for (const [name, value, least] of [
    ['examples', examples, 1],
    ['heldOut', heldOut, 1],
    ['answers', most, 2],
    ['words', size, 2],
  ] as const) {
    if (!(Number.isInteger(value) && value >= least))
      throw new ArgumentError(`makeTask: ${name} must be an integer of at least ${least}, got ${value}`);
  }
  let parts = text;
  if (typeof parts === 'string') {
    const split = splitBytes(new TextEncoder().encode(parts), valFraction);
    parts = { train: new TextDecoder().decode(split.train), validation: new TextDecoder().decode(split.validation) };
  }
  const ids = new Map<string, number>();
  const train = findWords(parts.train.slice(0, MAX_CHARACTERS), ids);
  const validation = findWords(parts.validation.slice(0, MAX_CHARACTERS), ids);
  const names = [...ids.keys()];

  // Fewer answers where a passage cannot be found for each.
  for (let count = most; count >= 2; count--) {
    const answers = chooseAnswers(names, train, validation, count);
    if (answers.length < 2) break;
    const trainExamples = makeExamples(train, names, answers, size, examples, { seed, step: 0 });
    const test = makeExamples(validation, names, answers, size, heldOut, { seed, step: 1000 });
    if (trainExamples.length === 0 || test.length === 0) continue;
    const list = answers.map((id) => names[id] as string);
    const mostFrequentAnswer = list[0] as string;
    return {
      name: 'which-word',
      description: `Which of ${list.length} words is in the passage: ${list.join(', ')}`,
      answers: list,
      train: trainExamples,
      test,
      mostFrequentAnswer,
      mostFrequentShare: test.filter((example) => example.completion.trim() === mostFrequentAnswer).length / test.length,
    };
  }
  throw new ArgumentError(
    `makeTask: text must repeat some words often enough to ask for them, got ${train.ids.length + validation.ids.length} words`,
    {
      hint: 'Give more text with --data FILE|FOLDER.',
    },
  );
}

/**
 * Whether what a model said is the answer. Kind to a model that was not finetuned and does not know where to stop: after the
 * right word it may go on with anything but more of the word.
 */
export function isCorrect(example: Example, said: string): boolean {
  const answer = example.completion.trim();
  const text = said.trimStart();
  if (!text.startsWith(answer)) return false;
  return IS_UNSPACED.test(answer) || !/^[\p{L}\p{M}]/u.test(text.slice(answer.length));
}
