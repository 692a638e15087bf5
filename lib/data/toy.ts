// Small tasks with data of their own, made by a seed: what `heddle finetune --example` learns. Held-out records are never among those of training.
import type { Conversation, LabelledText, Preference, Records } from './records.ts';
import { Permutation, STREAM } from './rng.ts';
import type { Example } from './source.ts';

const NUMBERS = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'];
const DAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];

/** Records of a small task. */
export interface ToyRecords<T> extends Records<T> {
  /** For the last word: neither learned from nor looked at while training, to choose a checkpoint for example. */
  readonly heldOut: readonly T[];
}

/** Shuffled by the seed; of what is left of `all`, training gets at most `train`. */
function split<T>(all: readonly T[], seed: number, sizes: { train: number; validation: number; heldOut: number }): ToyRecords<T> {
  const order = new Permutation(all.length, seed, STREAM.task, 0);
  const shuffled = all.map((_, i) => all[order.at(i)] as T);
  const [first, second] = [sizes.heldOut, sizes.heldOut + sizes.validation];
  return {
    heldOut: shuffled.slice(0, first),
    validation: shuffled.slice(first, second),
    train: shuffled.slice(second, second + sizes.train),
  };
}

/** Whether a comparison of two number words is true; as many true ones as false ones. */
export function comparisons(seed: number): ToyRecords<LabelledText> {
  const all = NUMBERS.flatMap((a, i) =>
    NUMBERS.flatMap((b, k) =>
      i === k
        ? []
        : ['more', 'less'].flatMap((word) =>
            ['', 'Surely ', 'I say '].map((start): LabelledText => {
              const label = i > k === (word === 'more') ? 'true' : 'false';
              return { text: `${start}${a} is ${word} than ${b}.`, label };
            }),
          ),
    ),
  );
  return split(all, seed, { train: 540, validation: 60, heldOut: 192 });
}

const NOUNS: Readonly<Record<string, string>> = {
  ...{ whale: 'balo', ship: 'navi', captain: 'kapo', sailor: 'mari', boat: 'pelu', sea: 'tala', man: 'homo', bird: 'avi' },
};
const ADJECTIVES: Readonly<Record<string, string>> = { old: 'vek', white: 'bel', great: 'gran', black: 'nok', small: 'pik', wild: 'sal' };
const VERBS: Readonly<Record<string, string>> = { sees: 'vidas', hears: 'audas', follows: 'sekas', finds: 'trovas', leaves: 'iras' };

/** English to a small language of its own words, with the adjective behind its noun and the verb at the end. */
export function translations(seed: number): ToyRecords<Example> {
  const all: Example[] = [];
  for (const [a, noun] of Object.entries(NOUNS))
    for (const [x, first] of Object.entries(ADJECTIVES))
      for (const [v, verb] of Object.entries(VERBS))
        for (const [b, object] of Object.entries(NOUNS))
          for (const [y, second] of Object.entries(ADJECTIVES))
            all.push({ prompt: `The ${x} ${a} ${v} the ${y} ${b}.\n`, completion: ` ${noun} ${first} ${object} ${second} ${verb}` });
  return split(all, seed, { train: 1500, validation: 50, heldOut: 100 });
}

/** Questions about sums, days and months, and what comes after the answer. */
export function talks(seed: number): ToyRecords<Conversation> {
  const talk = (question: string, answer: string, then: string, next: string): Conversation => ({
    messages: [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
      { role: 'user', content: then },
      { role: 'assistant', content: next },
    ],
  });
  const after = (words: readonly string[], i: number): string => words[(i + 1) % words.length] as string;
  const sums = NUMBERS.flatMap((a, i) =>
    NUMBERS.flatMap((b, k) => {
      const sum = i + k + 1;
      return sum + 1 < NUMBERS.length
        ? [talk(`What is ${a} and ${b}?`, NUMBERS[sum] as string, 'And one more?', NUMBERS[sum + 1] as string)]
        : [];
    }),
  );
  const calendar = [DAYS, MONTHS].flatMap((words) =>
    words.flatMap((word, i) =>
      [`What comes after ${word}?`, `After ${word} comes?`, `It was ${word}. What is it now?`].flatMap((question) =>
        ['And then?', 'And after that?'].map((then) => talk(question, after(words, i), then, after(words, i + 1))),
      ),
    ),
  );
  return split([...sums, ...calendar], seed, { train: 400, validation: 20, heldOut: 40 });
}

const KIND = ['Gladly, sir', 'With joy, my friend', 'Of course, good man', 'Indeed, my dear sir'];
const GRUFF = ['Leave me', 'Not now, fool', 'Away with you', 'Be quiet, man'];
const ENDS = ['I will do it', 'it is done', 'you shall have it', 'look there'];

/** Kind answers are better than gruff ones, whatever is asked and however the answer ends. */
export function manners(seed: number): ToyRecords<Preference> {
  const asked = Object.keys(NOUNS).flatMap((noun) => ['Show me the', 'Where is the', 'Bring me the'].map((start) => `${start} ${noun}.\n`));
  const all = asked.flatMap((prompt, p) =>
    KIND.flatMap((kind, i) =>
      GRUFF.map((gruff, k): Preference => {
        const end = ENDS[(p + i + k) % ENDS.length] as string;
        return { prompt, chosen: ` ${kind}, ${end}.`, rejected: ` ${gruff}, ${end}.` };
      }),
    ),
  );
  return split(all, seed, { train: 240, validation: 32, heldOut: 96 });
}
