import assert from 'node:assert/strict';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { buildCorpusText, CORPORA } from '../../../lib/data/corpora.ts';
import { readTarGz } from '../../../lib/data/tar.ts';
import { type Files, type Format, filesOf } from '../format.ts';
import { type Mutator, mutateBytes, oneOf } from '../mutate_bytes.ts';
import { mutateJSON, VALUES } from '../mutate_json.ts';

const BLOCK = 512;
const encoder = new TextEncoder();

function sum(header: Uint8Array): void {
  header.fill(32, 148, 156);
  const total = header.subarray(0, BLOCK).reduce((a, b) => a + b, 0);
  header.set(encoder.encode(`${total.toString(8).padStart(6, '0')}\0 `), 148);
}

function entry(name: string, content: string | Uint8Array, type = '0'): Uint8Array {
  const data = typeof content === 'string' ? encoder.encode(content) : content;
  const out = new Uint8Array(BLOCK + Math.ceil(data.length / BLOCK) * BLOCK);
  out.set(encoder.encode(name).subarray(0, 100));
  out.set(encoder.encode(`0000644\x000000000\x000000000\x00${data.length.toString(8).padStart(11, '0')}\x00`), 100);
  out.set(encoder.encode(data.length.toString(8).padStart(11, '0')), 124);
  out.set(encoder.encode(type), 156);
  out.set(encoder.encode('ustar\0'), 257);
  sum(out);
  out.set(data, BLOCK);
  return out;
}

/** No Buffer: its `slice` shares memory, and a damage would reach the good file. */
const concat = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const archive = (...entries: readonly Uint8Array[]): Uint8Array => concat(...entries, new Uint8Array(2 * BLOCK));

/** Header blocks of an archive that is whole. */
function headers(tar: Uint8Array): number[] {
  const found: number[] = [];
  for (let at = 0; at + BLOCK <= tar.length && tar[at] !== 0; ) {
    found.push(at);
    const size = Number.parseInt(Buffer.from(tar.subarray(at + 124, at + 136)).toString('latin1'), 8) || 0;
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return found;
}

const NAMES = [
  '../x',
  '/etc/passwd',
  'a\\b',
  'C:x',
  '',
  'a/../../b',
  'package/data/chapter_1.txt',
  'package/dist/quantangshi/poet.tang.0.json',
  '\u001b[31m',
];

/** Fields of headers, with right sums: name, size, type, prefix. */
const changeHeader: Mutator = (draw, tar) => {
  const out = tar.slice();
  const places = headers(out);
  if (places.length === 0) return out;
  const at = draw.pick(places);
  const put = (offset: number, length: number, text: string): void => {
    out.fill(0, at + offset, at + offset + length);
    out.set(encoder.encode(text).subarray(0, length), at + offset);
  };
  const way = draw.below(5);
  if (way === 0) put(0, 100, draw.pick(NAMES));
  else if (way === 1)
    put(
      124,
      12,
      draw.pick(['0', '1', '777', '400000000', '377777777777', '777777777777', '-1', '8', '', ' 12 ', '\x80', '0x10', '1000', '2000']),
    );
  else if (way === 2) put(156, 1, draw.pick(['x', 'g', '0', '1', '2', '3', '5', '6', 'L', 'K', 'S', 'V', '\0', ' ']));
  else if (way === 3) put(345, 155, draw.pick([...NAMES, 'x'.repeat(155)]));
  else put(257, 8, draw.pick(['ustar\0', 'ustar  \0', 'xxxxx', '']));
  if (!draw.oneIn(10)) sum(out.subarray(at, at + BLOCK));
  return out;
};

const PAX = ['path', 'size', 'linkpath', 'mtime', '__proto__', '', 'GNU.sparse.size'];

/** A pax header before an entry. */
const withPax: Mutator = (draw, tar) => {
  const value = draw.oneIn(2)
    ? draw.pick(VALUES)
    : draw.pick([...NAMES, '0', '12', '-1', '1e3', '0x10', ' 5', '', '99999999999', '67108864']);
  const body = ` ${draw.pick(PAX)}=${value}\n`;
  let length = Buffer.byteLength(body) + 2;
  length += String(length).length > 2 ? 1 : 0;
  const record = draw.oneIn(5) ? `${draw.pick(['0', '-1', '1', '999999', '1e1', 'x', ''])}${body}` : `${length}${body}`;
  const at = draw.pick([...headers(tar), 0]);
  return concat(tar.subarray(0, at), entry('PaxHeader/x', record, draw.oneIn(4) ? 'g' : 'x'), tar.subarray(at));
};

/** An entry's content as JSON: a file of poems. */
const changeContent: Mutator = (draw, tar, donor) => {
  const places = headers(tar);
  const at = draw.pick(places);
  if (at === undefined) return tar;
  const size = Number.parseInt(Buffer.from(tar.subarray(at + 124, at + 136)).toString('latin1'), 8) || 0;
  const name = Buffer.from(tar.subarray(at, at + 100))
    .toString('latin1')
    .replace(/\0.*$/s, '');
  const content = tar.subarray(at + BLOCK, at + BLOCK + size);
  const next = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  return concat(tar.subarray(0, at), entry(name, mutateJSON(draw, content, donor)), tar.subarray(next));
};

const zip = (tar: Uint8Array): Uint8Array => new Uint8Array(gzipSync(tar, { level: 1 }));

/** The archive is damaged as a tar file, which is not read, and then zipped. */
const zipped = (tar: Uint8Array): Files => filesOf({ 'a.tar': tar, 'a.tgz': zip(tar) });

const poems = JSON.stringify([
  { title: '靜夜思', author: '李白', paragraphs: ['牀前明月光，', '疑是地上霜。'], id: 'x' },
  { title: 'b', author: 'c', paragraphs: [] },
]);

export const corpusArchive: Format = {
  name: 'archive',
  seeds: async () => [
    zipped(
      archive(
        entry('package', '', '5'),
        entry('package/package.json', '{}'),
        entry('package/data/chapter_1.txt', 'Call me Ishmael.\r\n'),
        entry('PaxHeader/x', '35 path=package/data/chapter_2.txt\n11 mtime=1\n', 'x'),
        entry('y', 'Some years ago'),
      ),
    ),
    zipped(
      archive(entry('package/dist/quantangshi/poet.tang.0.json', poems), entry('package/dist/quantangshi/poet.tang.1000.json', poems)),
    ),
  ],
  mutators: { 'a.tar': { weight: 1, mutate: oneOf([3, changeHeader], [2, withPax], [3, changeContent], [1, mutateBytes]) } },
  seal(files, draw) {
    const tar = files.get('a.tar');
    if (!(tar instanceof Uint8Array)) files.delete('a.tgz');
    else files.set('a.tgz', draw.oneIn(8) ? mutateBytes(draw, zip(tar), zip(tar)) : zip(tar));
  },
  async read(folder) {
    const file = join(folder, 'a.tgz');
    for await (const { path, data } of readTarGz(file, () => true)) {
      assert(path !== '' && !path.startsWith('/') && !path.split('/').includes('..'));
      assert(data.length <= 2 ** 20);
    }
    for (const recipe of Object.values(CORPORA)) {
      try {
        assert((await buildCorpusText(recipe, file)).endsWith('\n'));
      } catch (error) {
        if (!(error instanceof Error && error.message.includes('holds none of the files'))) throw error;
      }
    }
  },
};
