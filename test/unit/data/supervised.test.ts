import test from 'ava';
import { splitBytes } from '../../../lib/data/split.ts';
import { isCorrect, makeTask } from '../../../lib/data/supervised.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { utf8 } from './support.ts';

/** A text of some hundred different words, a few of them frequent; `join` stands between words. */
function novel(words: number, names: string[], join: string, share = 0.03): string {
  let state = 3;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const out: string[] = [];
  for (let i = 0; i < words; i++) {
    const rare =
      join === ''
        ? String.fromCodePoint(0x5000 + Math.floor(next() * 800))
        : `w${'abcdefghij'[Math.floor(next() * 10)]}${'klmnopqrst'[Math.floor(next() * 10)]}${'abcdefghijklmnopqrstuvwxyz'[Math.floor(next() * 26)]}`;
    out.push(next() < share ? (names[Math.floor(next() * names.length)] as string) : rare, i % 13 === 12 ? '.\n' : join);
  }
  return out.join('');
}

const NAMES = ['whale', 'boat', 'ship', 'sea', 'Ahab', 'deck', 'sail', 'oars', 'whaler', 'boats'];
const WORDS = /[\p{L}\p{M}]+/gu;

test('each question has one true answer, answers are balanced, held-out passages are unseen', (t) => {
  const text = novel(40_000, NAMES, ' ');
  const task = makeTask(text, { examples: 800, heldOut: 80 });
  t.is(task.answers.length, 8);
  t.is(task.train.length, 800);
  t.is(task.test.length, 80);
  t.is(task.mostFrequentShare, 1 / 8);
  t.true(task.answers.includes(task.mostFrequentAnswer));
  const split = splitBytes(utf8(text), 0.1);
  const sources = {
    train: new TextDecoder().decode(split.train).replace(/\s+/g, ' '),
    test: new TextDecoder().decode(split.validation).replace(/\s+/g, ' '),
  };
  for (const part of ['train', 'test'] as const) {
    const counts = new Map<string, number>();
    for (const { prompt, completion } of task[part]) {
      counts.set(completion, (counts.get(completion) ?? 0) + 1);
      t.true(prompt.endsWith('\n') && sources[part].includes(prompt.slice(0, -1)));
      const words = prompt.match(WORDS) ?? [];
      t.is(words.length, 12);
      const answer = completion.slice(1);
      t.is(completion[0], ' ');
      t.true(words.slice(1).includes(answer) && prompt.includes(completion));
      t.true(
        words.every((word) => word === answer || !task.answers.some((other) => word.startsWith(other))),
        `${prompt} ${completion}`,
      );
    }
    t.deepEqual([...new Set(counts.values())], [task[part].length / 8]);
  }
  const seen = new Set(task.train.map((example) => example.prompt));
  t.is(seen.size, task.train.length);
  t.false(task.test.some((example) => seen.has(example.prompt)));
});

test('no two answers differ only in case', (t) => {
  const words = ['whale', 'boat', 'ship', 'sea', 'deck', 'sail', 'oars', 'wind'];
  const both = words.flatMap((word) => [word, word.toUpperCase()]);
  const { answers } = makeTask(novel(40_000, both, ' ', 0.055), { examples: 80, heldOut: 16 });
  t.deepEqual(answers.map((answer) => answer.toLowerCase()).sort(), words.sort());
});

test('scripts without spaces: the answer is a character as it stands in the passage', (t) => {
  const task = makeTask(novel(40_000, [...'鯨舟海船人山水月花天'], ''), { examples: 400, heldOut: 40 });
  t.true(task.answers.length >= 2);
  t.is(task.train.length, 400);
  for (const { prompt, completion } of [...task.train, ...task.test]) {
    t.is([...completion].length, 1);
    t.deepEqual(
      [...prompt].filter((character) => task.answers.includes(character)).filter((character) => character !== completion),
      [],
    );
    t.true(prompt.includes(completion));
  }
});

test('equal arguments give equal tasks, other seeds others; the parts may come split', (t) => {
  const text = novel(20_000, NAMES, ' ');
  const options = { examples: 80, heldOut: 16 };
  t.deepEqual(makeTask(text, options), makeTask(text, options));
  const other = makeTask(text, { ...options, seed: 1 });
  t.deepEqual(other.answers, makeTask(text, options).answers);
  t.notDeepEqual(other.train, makeTask(text, options).train);
  const split = splitBytes(utf8(text), 0.1);
  const parts = { train: new TextDecoder().decode(split.train), validation: new TextDecoder().decode(split.validation) };
  t.deepEqual(makeTask(parts, options), makeTask(text, options));
});

test('a small text gives a small task; one that cannot is told so', (t) => {
  const small = makeTask(novel(1500, NAMES, ' '));
  t.true(small.answers.length >= 2 && small.train.length > small.answers.length && small.test.length > 0);
  for (const text of ['', 'one', 'no word comes twice here', 'la '.repeat(5000), '1 2 3 '.repeat(1000)]) {
    t.throws(() => makeTask(text), { instanceOf: ArgumentError, message: /makeTask: text must repeat some words/ });
  }
  t.throws(() => makeTask('text', { answers: 1 }), {
    instanceOf: ArgumentError,
    message: /answers must be an integer of at least 2, got 1/,
  });
  t.throws(() => makeTask('text', { words: 1.5 }), { instanceOf: ArgumentError, message: /words must be/ });
});

test('an answer is right when it begins with the word and no more of one', (t) => {
  const word = { prompt: 'p\n', completion: ' whale' };
  for (const said of ['whale', ' whale', '  whale of a time', ' whale.', ' whale<|endoftext|>', 'whale\nx'])
    t.true(isCorrect(word, said), said);
  for (const said of ['', 'whaler', ' whales', ' Whale', 'the whale', ' wha']) t.false(isCorrect(word, said), said);
  const character = { prompt: 'p\n', completion: '鯨' };
  t.true(isCorrect(character, '鯨魚'));
  t.false(isCorrect(character, '魚鯨'));
});
