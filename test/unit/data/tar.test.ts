import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { readTarGz } from '../../../lib/data/tar.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { folderOf, utf8 } from './support.ts';
import { type Entry, tar } from './tar_support.ts';

function archive(t: ExecutionContext, bytes: Uint8Array, zip = true): string {
  const path = join(folderOf(t), 'a.tgz');
  writeFileSync(path, zip ? gzipSync(bytes) : bytes);
  return path;
}

async function read(
  path: string,
  limits: Parameters<typeof readTarGz>[2] = {},
  wanted: (name: string) => boolean = () => true,
): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const file of readTarGz(path, wanted, limits)) files[file.path] = new TextDecoder().decode(file.data);
  return files;
}

const fails = (t: ExecutionContext, entries: Entry[], message: RegExp): Promise<unknown> =>
  t.throwsAsync(read(archive(t, tar(entries))), { instanceOf: FileError, message });

test('reads files in order, with folders, prefixes and pax headers', async (t) => {
  const long = `package/${'x'.repeat(140)}.txt`;
  const path = archive(
    t,
    tar([
      { name: 'package/', type: '5' },
      { name: 'package/a.txt', data: 'A' },
      { name: 'b.txt', prefix: 'package/deep', data: 'B'.repeat(1300) },
      { name: 'ignored', type: 'x', data: `${`path=${long}\n`.length + 4} path=${long}\n` },
      { name: 'short', data: 'long name' },
      { name: 'package/empty', data: '' },
    ]),
  );
  t.deepEqual(await read(path), { 'package/a.txt': 'A', 'package/deep/b.txt': 'B'.repeat(1300), [long]: 'long name', 'package/empty': '' });
  t.deepEqual(await read(path, {}, (name) => name === 'package/a.txt'), { 'package/a.txt': 'A' });
});

test('names that leave the archive are refused', async (t) => {
  for (const name of ['../a', 'package/../../a', '/etc/passwd', 'C:/a', 'c:a', 'package\\..\\a', '..']) {
    await fails(t, [{ name, data: 'x' }], /entry name must be a relative path inside the archive/);
  }
  await fails(t, [{ name: 'b', prefix: '/abs', data: 'x' }], /entry name/);
  await fails(
    t,
    [
      { name: 'x', type: 'x', data: '16 path=../../a\n' },
      { name: 'fine', data: 'x' },
    ],
    /entry name/,
  );
});

test('links and devices are refused', async (t) => {
  for (const type of ['1', '2', '3', '4', '6', 'L'])
    await fails(t, [{ name: 'package/a', type }], /must be a file or a folder, got entry type/);
});

test('sizes and counts have limits', async (t) => {
  await fails(t, [{ name: 'a', data: 'x', size: '77777777777' }], /size of "a" must be at most 67108864 bytes, got 8589934591/);
  await fails(t, [{ name: 'a', data: 'x', size: 'x' }], /size of "a" must be an octal number/);
  await fails(t, [{ name: 'a', data: 'x', size: '\x80\0\0\0\0\0\0\0\0\0\0\x01' }], /size of "a" must be an octal number/);
  await fails(
    t,
    [
      { name: 'p', type: 'x', data: '12 size=-99\n' },
      { name: 'a', data: 'x' },
    ],
    /size of "a" must be a decimal number, got "-99"/,
  );
  await fails(
    t,
    [
      { name: 'p', type: 'x', data: '99 size=1\n' },
      { name: 'a', data: 'x' },
    ],
    /damaged pax header/,
  );
  const path = archive(
    t,
    tar([
      { name: 'a', data: 'x' },
      { name: 'b', data: 'y'.repeat(5000) },
    ]),
  );
  await t.throwsAsync(read(path, { entries: 1 }), { instanceOf: FileError, message: /at most 1 entries/ });
  await t.throwsAsync(read(path, { fileBytes: 4999 }), { instanceOf: FileError, message: /at most 4999 bytes, got 5000/ });
  await t.throwsAsync(read(path, { totalBytes: 3000 }), { instanceOf: FileError, message: /must unpack to at most 3000 bytes/ });
});

test('a header that was changed is noticed', async (t) => {
  const good = tar([{ name: 'package/a', data: 'abc' }]);
  for (const at of [0, 10, 100, 124, 130, 156, 257, 345]) {
    const bad = good.slice();
    bad[at] = (bad[at] as number) ^ 1;
    await t.throwsAsync(read(archive(t, bad)), { instanceOf: FileError, message: /header checksum must be/ }, `byte ${at}`);
  }
});

test('an archive that ends early is noticed, wherever it ends', async (t) => {
  const good = tar([
    { name: 'package/a', data: 'abc' },
    { name: 'package/b', data: 'd'.repeat(700) },
  ]);
  const contentEnd = good.length - 1024;
  for (const end of [0, 1, 511, 512, 513, 700, 1024, 1536, contentEnd - 1, contentEnd]) {
    await t.throwsAsync(
      read(archive(t, good.subarray(0, end))),
      { instanceOf: FileError, message: /archive ends|cannot be unpacked/ },
      `${end} bytes`,
    );
  }
  const zipped = gzipSync(good);
  await t.throwsAsync(read(archive(t, zipped.subarray(0, zipped.length - 20), false)), {
    instanceOf: FileError,
    message: /cannot be unpacked/,
  });
  await t.throwsAsync(read(archive(t, utf8('no gzip at all'), false)), { instanceOf: FileError, message: /cannot be unpacked/ });
  await t.throwsAsync(read(join(folderOf(t), 'missing.tgz')), { instanceOf: FileError, message: /cannot be unpacked/ });
});
