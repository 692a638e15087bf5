import test from 'ava';
import fc from 'fast-check';
import { exampleSource, openSource, type Source, textSource } from '../../../lib/data/source.ts';
import { planSplit, readPart, splitBytes, splitItems } from '../../../lib/data/split.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { documentsOf, folderOf, sampleText, utf8 } from './support.ts';

const textOf = (bytes: Uint8Array): string => new TextDecoder('utf-8', { fatal: true }).decode(bytes);

/** The text as one document in pieces of `size` characters. */
function inPieces(text: string, size: number): Source {
  const characters = [...text];
  return {
    name: 'pieces',
    files: [],
    *items() {
      for (let i = 0; i < characters.length; i += size) {
        yield { kind: 'text', bytes: utf8(characters.slice(i, i + size).join('')), first: i === 0, file: 'pieces', line: 1 };
      }
    },
  };
}

test('the cut is that of the bytes, moved to a character, whatever the pieces', async (t) => {
  const property = fc.asyncProperty(
    fc.string({ unit: fc.constantFrom('a', 'é', '鯨', '😀', '\n'), minLength: 1, maxLength: 60 }),
    fc.integer({ min: 1, max: 9 }),
    fc.constantFrom(0, 0.1, 0.5, 0.9),
    async (text, size, fraction) => {
      const bytes = utf8(text);
      const split = splitBytes(bytes, fraction);
      const offset = Math.floor(bytes.length * (1 - fraction));
      if (!(split.train.length >= offset && split.train.length - offset < 4)) return false;
      if (textOf(split.train) + textOf(split.validation) !== text) return false;
      const source = inPieces(text, size);
      const plan = await planSplit(source, fraction);
      const parts = (['train', 'validation'] as const).map((part) => documentsOf(splitItems(source, plan, part)));
      const want = [split.train, split.validation].map((part) => (part.length === 0 ? [] : [textOf(part)]));
      const read = textOf(readPart(source, plan, 'validation'));
      return JSON.stringify(parts) === JSON.stringify(want) && read === textOf(split.validation);
    },
  );
  await t.notThrowsAsync(async () => await fc.assert(property, { numRuns: 300 }));
});

test('both parts begin a document', async (t) => {
  for (const size of [1, 3, 10, 1000]) {
    const source = inPieces(sampleText(100), size);
    const plan = await planSplit(source, 0.1);
    for (const part of ['train', 'validation'] as const) {
      const firsts = [...splitItems(source, plan, part)].map((item) => item.kind === 'text' && item.first);
      t.deepEqual(
        firsts,
        firsts.map((_, i) => i === 0),
        `${part} in pieces of ${size}`,
      );
    }
  }
});

test('examples are split by count and stay whole', async (t) => {
  const examples = Array.from({ length: 20 }, (_, i) => ({ prompt: 'p'.repeat(i * 50), completion: String(i) }));
  const source = exampleSource(examples);
  const plan = await planSplit(source, 0.1);
  t.is(plan.unit, 'examples');
  t.is([...splitItems(source, plan, 'train')].length, 18);
  t.deepEqual(documentsOf(splitItems(source, plan, 'validation')), [`${'p'.repeat(900)} -> 18`, `${'p'.repeat(950)} -> 19`]);
});

test('texts and examples together are split by bytes', async (t) => {
  const folder = folderOf(t, { 'a.jsonl': '{"text":"0123456789"}\n{"prompt":"ab","completion":"cd"}\n{"text":"xyz"}\n' });
  const source = openSource(folder);
  const plan = await planSplit(source, 0.4); // 17 bytes, cut at 10
  t.is(plan.cut, 10);
  t.deepEqual(documentsOf(splitItems(source, plan, 'train')), ['0123456789']);
  t.deepEqual(documentsOf(splitItems(source, plan, 'validation')), ['ab -> cd', 'xyz']);
  const later = await planSplit(source, 0.3); // cut at 11: the example begins before it
  t.deepEqual(documentsOf(splitItems(source, later, 'train')), ['0123456789', 'ab -> cd']);
  t.deepEqual(documentsOf(splitItems(source, later, 'validation')), ['xyz']);
});

test('the content hash sees content and documents, not pieces, names or times', async (t) => {
  const hash = async (source: Source): Promise<string> => (await planSplit(source, 0.1)).contentHash;
  const text = sampleText(50);
  t.is(await hash(inPieces(text, 3)), await hash(textSource(text, 'other name')));
  t.not(await hash(textSource(`${text}.`)), await hash(textSource(text)));
  const jsonl = (lines: object[]): Source => openSource(folderOf(t, { 'a.jsonl': lines.map((line) => JSON.stringify(line)).join('\n') }));
  const hashes = await Promise.all(
    [[{ text: 'ab' }], [{ text: 'a' }, { text: 'b' }], [{ prompt: 'a', completion: 'b' }], [{ prompt: '', completion: 'ab' }]].map(
      (lines) => hash(jsonl(lines)),
    ),
  );
  t.is(new Set(hashes).size, 4);
});

test('a fraction outside [0, 1) is refused', async (t) => {
  for (const fraction of [-0.1, 1, Number.NaN]) {
    t.throws(() => splitBytes(utf8('abc'), fraction), { instanceOf: ArgumentError, message: /valFraction must be at least 0 and below 1/ });
    await t.throwsAsync(planSplit(textSource('abc'), fraction), { instanceOf: ArgumentError });
  }
});
