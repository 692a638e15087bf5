import { chmodSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { exampleSource, openSource, textSource } from '../../../lib/data/source.ts';
import { cutPosition, readTextPieces } from '../../../lib/data/text_file.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';
import { documentsOf, folderOf, utf8 } from './support.ts';

const GPT2_PATTERN = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

test('a folder is read recursively, in one order, without hidden and foreign files', (t) => {
  const folder = folderOf(t, {
    'b.txt': 'B',
    'a/z.md': 'Z',
    'a.jsonl': '{"text": "one"}\n{"text": "two"}\n',
    'B.TXT': 'capital',
    'c.bin': Uint8Array.of(0, 1, 2),
    '.hidden.txt': 'no',
    '.git/x.txt': 'no',
    'empty.txt': '',
    'ä.txt': 'umlaut',
  });
  const source = openSource(folder);
  t.deepEqual(documentsOf(source.items()), ['capital', 'one', 'two', 'Z', 'B', 'umlaut']);
  t.deepEqual(documentsOf(source.items()), documentsOf(openSource(folder).items()));
  t.is(source.files.length, 6);
});

test('links to folders are not followed, so a circle ends', (t) => {
  const folder = folderOf(t, { 'a.txt': 'A' });
  symlinkSync(folder, join(folder, 'loop'), 'junction');
  t.deepEqual(documentsOf(openSource(folder).items()), ['A']);
});

test('byte order mark and CR LF do not come through; a CR alone does', (t) => {
  const folder = folderOf(t, {
    'a.txt': '\ufeffone\r\ntwo\rthree\r\n\r\n',
    'b.jsonl': '\ufeff{"text": "x\\r\\ny"}\r\n\r\n{"text":""}\n{"text":"end"}',
  });
  t.deepEqual(documentsOf(openSource(folder).items()), ['one\ntwo\rthree\n\n', 'x\r\ny', 'end']);
});

test('JSONL: texts and examples, with the line of each', (t) => {
  const folder = folderOf(t, { 'a.jsonl': '{"prompt": "2+2=", "completion": "4", "id": 7}\n\n{"text": "hello 鯨"}\n' });
  const items = [...openSource(join(folder, 'a.jsonl')).items()];
  t.deepEqual(documentsOf(items), ['2+2= -> 4', 'hello 鯨']);
  t.deepEqual(
    items.map((item) => item.line),
    [1, 3],
  );
});

test('JSONL: errors name file and line', (t) => {
  const cases: [string, RegExp][] = [
    ['{"text": "a"}\n{"text": \n', /a\.jsonl: line 2: must be JSON/],
    ['\n[1]\n', /line 2: must have a string "text", or strings "prompt" and "completion", got an array/],
    ['{"text": 5, "id": null}\n', /line 1: must have .*, got an object with \{text: number, id: null\}/],
    ['null\n', /line 1: .* got null/],
    ['"a"\n', /line 1: .* got a string/],
    ['{"prompt": "a"}\n', /line 1: .* got an object with \{prompt: string\}/],
    ['{"prompt": "a", "completion": ""}\n', /line 1: completion must not be empty/],
  ];
  for (const [content, message] of cases) {
    const folder = folderOf(t, { 'a.jsonl': content });
    t.throws(() => [...openSource(join(folder, 'a.jsonl')).items()], { instanceOf: FileError, message });
  }
});

test('JSONL: lines longer than a chunk, and chunks that end anywhere', (t) => {
  const texts = Array.from({ length: 40 }, (_, i) => `${i}:${'é'.repeat(i * 5003)}`);
  const long = 'x'.repeat(3_000_000);
  const folder = folderOf(t, { 'a.jsonl': [...texts, long].map((text) => JSON.stringify({ text })).join('\r\n') });
  const got = documentsOf(openSource(folder).items());
  t.is(got.length, 41);
  t.true(got.every((text, i) => text === (texts[i] ?? long)));
});

test('what is no text is refused with file and line', (t) => {
  const refuse = (content: Uint8Array, message: RegExp): void => {
    const folder = folderOf(t, { 'a.txt': content });
    t.throws(() => [...openSource(join(folder, 'a.txt')).items()], { instanceOf: FileError, message });
  };
  refuse(Uint8Array.of(65, 10, 66, 0), /a\.txt: line 2: must be text, got a zero byte/);
  refuse(Uint8Array.of(65, 10, 66, 10, 0xe9, 10), /a\.txt: line 3: must be UTF-8/);
  refuse(Uint8Array.of(65, 10, 0xc3), /line 2: must be UTF-8/);
  refuse(Uint8Array.from(Buffer.from('\ufeffhello', 'utf16le')), /must be UTF-8, got UTF-16/);
});

test('nothing to read is an error', (t) => {
  const folder = folderOf(t, { 'e.txt': '', 'x.bin': 'x' });
  t.throws(() => openSource(join(folder, 'missing.txt')), { instanceOf: FileError, message: /missing\.txt: no such file or folder/ });
  t.throws(() => openSource(join(folder, 'e.txt')), { instanceOf: FileError, message: /e\.txt: is empty/ });
  t.throws(() => openSource(folder), { instanceOf: FileError, message: /holds only empty files/ });
  t.throws(() => openSource(folderOf(t, { 'x.bin': 'x' })), {
    instanceOf: FileError,
    message: /must hold \.txt, \.md or \.jsonl files, found none/,
  });
  t.throws(() => textSource(''), { instanceOf: ArgumentError });
  t.throws(() => exampleSource([]), { instanceOf: ArgumentError });
  t.throws(() => exampleSource([{ prompt: 'a', completion: '' }]), { instanceOf: ArgumentError, message: /examples\[0\]\.completion/ });
});

test('a file that may not be read is named', (t) => {
  const folder = folderOf(t, { 'a.txt': 'A' });
  chmodSync(join(folder, 'a.txt'), 0);
  if (process.platform === 'win32' || process.getuid?.() === 0) return t.pass('root reads everything');
  return t.throws(() => [...openSource(folder).items()], { instanceOf: FileError, message: /a\.txt: cannot be read: EACCES/ });
});

test('pieces put together are the file, and pieces alone give the tokens of the whole', (t) => {
  const folder = folderOf(t);
  const path = join(folder, 'a.txt');
  const words = fc.constantFrom('whale', "don't", ' ', '  ', '\n', '\n\n', '\r\n', '\t', '鯨', '。', '42', '--', 'é', '😀', ', ');
  const property = fc.property(fc.array(words, { minLength: 1, maxLength: 120 }), fc.integer({ min: 48, max: 90 }), (parts, size) => {
    const text = parts.join('');
    writeFileSync(path, text);
    const pieces = [...readTextPieces(path, size)].map((item) =>
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(item.bytes),
    );
    const whole = text.replaceAll('\r\n', '\n');
    if (pieces.join('') !== whole) return false;
    // Where a cut had to fall into a word (no blank in half a buffer), tokens may differ; otherwise they may not.
    const torn = pieces.slice(1).some((piece) => !/^\s/.test(piece));
    return torn || pieces.flatMap((piece) => piece.match(GPT2_PATTERN) ?? []).join('|') === (whole.match(GPT2_PATTERN) ?? []).join('|');
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test('cuts: between a letter and a blank first, never within a character or a CR LF', (t) => {
  const cut = (text: string): string => text.slice(0, new TextDecoder().decode(utf8(text).subarray(0, cutPosition(utf8(text)))).length);
  t.is(cut('aaaa bbbb cccc dddd. ee.'), 'aaaa bbbb cccc');
  t.is(cut('aaaaaaaaaaaaaaaaa. b'), 'aaaaaaaaaaaaaaaaa.');
  t.is(cut('鯨鯨鯨鯨鯨'), '鯨鯨鯨鯨');
  t.is(cut(`${'-'.repeat(20)}\r\n`), '-'.repeat(20));
  t.is(cut('          '), '         ');
  t.is(cut('\r\n'.repeat(10)), '\r\n'.repeat(9));
});

test('a large file is read in pieces of a megabyte, with the line of each', (t) => {
  const line = `${'word '.repeat(20)}\n`;
  const folder = folderOf(t, { 'a.txt': line.repeat(30_000) });
  const items = [...openSource(join(folder, 'a.txt')).items()];
  t.true(items.length >= 3);
  t.true(items.every((item) => item.kind === 'text' && item.bytes.length <= 2 ** 20));
  t.deepEqual(
    items.map((item) => item.kind === 'text' && item.first),
    items.map((_, i) => i === 0),
  );
  let lines = 1;
  for (const item of items) {
    t.is(item.line, lines);
    lines += item.kind === 'text' ? new TextDecoder().decode(item.bytes).split('\n').length - 1 : 0;
  }
});

test('a file of ten gigabytes needs little memory', (t) => {
  // A sparse file: zeros are no text, so the reader stops at the first piece after having read no more than that.
  const folder = folderOf(t);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'huge.txt');
  writeFileSync(path, 'text\n'.repeat(300_000));
  truncateSync(path, 10 * 2 ** 30);
  const before = process.memoryUsage().rss;
  t.throws(() => [...openSource(path).items()], { instanceOf: FileError, message: /line 300001: must be text, got a zero byte/ });
  t.true(process.memoryUsage().rss - before < 64 * 2 ** 20);
});
