import test from 'ava';
import fc from 'fast-check';
import { StopFinder } from '../../../lib/generate/stop.ts';

function cut(stops: string | string[], pieces: readonly string[]): { parts: string[]; found: boolean } {
  const finder = new StopFinder(stops, 'test');
  const parts = pieces.map((p) => finder.push(p));
  return { parts: [...parts, finder.found ? '' : finder.end()], found: finder.found };
}

test('a stop string is found within a piece and across pieces', (t) => {
  t.deepEqual(cut('END', ['one', ' two END three']), { parts: ['one', ' two ', ''], found: true });
  t.deepEqual(cut('END', ['one E', 'N', 'D three']), { parts: ['one ', '', '', ''], found: true });
  t.deepEqual(cut('END', ['one E', 'N', 'O']), { parts: ['one ', '', 'ENO', ''], found: false });
  t.deepEqual(cut('END', ['one EN']), { parts: ['one ', 'EN'], found: false });
});

test('a stop string that begins anew within itself', (t) => {
  t.deepEqual(cut('aab', ['aa', 'a', 'b', 'c']), { parts: ['', 'a', '', '', ''], found: true });
});

test('the stop string that is complete first counts, of those the longest', (t) => {
  t.deepEqual(cut(['bcd', 'c'], ['abcd']).parts.join(''), 'ab');
  t.deepEqual(cut(['c', 'abc'], ['xabc']).parts.join(''), 'x');
});

test('how the text is cut does not matter', (t) => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 12 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), { maxLength: 3 });
  fc.assert(
    fc.property(text, stops, fc.integer({ min: 1, max: 5 }), (letters, list, size) => {
      const whole = cut(list, [letters.join('')]);
      const pieces = Array.from({ length: Math.ceil(letters.length / size) }, (_, i) => letters.slice(i * size, (i + 1) * size).join(''));
      const inPieces = cut(list, pieces);
      t.is(inPieces.parts.join(''), whole.parts.join(''));
      t.is(inPieces.found, whole.found);
      t.is(
        whole.found,
        list.some((s) => letters.join('').includes(s)),
      );
      t.false(list.some((s) => whole.parts.join('').includes(s)));
    }),
    { numRuns: 2000 },
  );
});

test('empty stop strings are refused', (t) => {
  t.throws(() => new StopFinder(['a', ''], 'test'), { message: /^test: stop must be texts of at least one character/ });
});
