import test from 'ava';
import { comparisons, manners, type ToyRecords, talks, translations } from '../../../lib/data/index.ts';

const TOYS: Readonly<Record<string, (seed: number) => ToyRecords<object>>> = { comparisons, manners, talks, translations };

for (const [name, make] of Object.entries(TOYS))
  test(`${name}: the same by the same seed, another by another; nothing held out is learned from`, (t) => {
    const { train, validation, heldOut } = make(1);
    t.deepEqual(make(1), { train, validation, heldOut });
    t.notDeepEqual(make(2).heldOut, heldOut);
    const known = new Set(train.map((record) => JSON.stringify(record)));
    t.is(known.size, train.length);
    t.true(train.length >= 100 && heldOut.length >= 40 && validation.length >= 20);
    t.false([...validation, ...heldOut].some((record) => known.has(JSON.stringify(record))));
  });

test('what they say is true', (t) => {
  const { train, validation, heldOut } = comparisons(3);
  const all = [...train, ...validation, ...heldOut];
  t.is(all.find(({ text }) => text === 'two is more than nine.')?.label ?? 'false', 'false');
  t.is(all.find(({ text }) => text === 'two is less than nine.')?.label ?? 'true', 'true');
  t.true(Math.abs(all.filter(({ label }) => label === 'true').length / all.length - 0.5) < 0.05);
  const first = translations(3).train.find(({ prompt }) => prompt.startsWith('The old whale sees the white '));
  if (first) t.regex(first.completion, /^ balo vek \w+ bel vidas$/);
  const sum = [...talks(3).train, ...talks(3).validation, ...talks(3).heldOut].find(
    ({ messages }) => messages[0]?.content === 'What is two and three?',
  );
  t.deepEqual(
    sum?.messages.map(({ content }) => content),
    ['What is two and three?', 'five', 'And one more?', 'six'],
  );
});
