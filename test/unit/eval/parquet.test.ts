// Parquet as data sets come: what Node decompresses is read, a page that grows beyond its claim is not.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import test from 'ava';
import { readParquetRows } from '../../../lib/eval/parquet.ts';
import { type CODECS, parquetFile, zstandardFrame } from './parquet_support.ts';

const COLUMNS = { text: ['the whale', '', 'naïve 🐳', 'x'.repeat(5000)], id: ['a', 'b', 'c', 'd'] };
const COMPRESS: Readonly<Record<string, ((bytes: Buffer) => Buffer) | undefined>> = {
  gzip: zlib.gzipSync,
  brotli: zlib.brotliCompressSync,
  zstd: (zlib as unknown as { zstdCompressSync?: (bytes: Buffer) => Buffer }).zstdCompressSync, // from Node 22.15 on
};
const folder = mkdtempSync(join(tmpdir(), 'heddle-parquet-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

const WANT = COLUMNS.text.map((text, i) => ({ text, id: COLUMNS.id[i] }));

async function rowsOf(name: string, bytes: Uint8Array): Promise<unknown[]> {
  const path = join(folder, `${name}.parquet`);
  writeFileSync(path, bytes);
  const rows: unknown[] = [];
  for await (const { value } of readParquetRows(path)) rows.push(value);
  return rows;
}

test('plain, and compressed as Node can read', async (t) => {
  t.deepEqual(await rowsOf('none', parquetFile(COLUMNS)), WANT);
  for (const [codec, compress] of Object.entries(COMPRESS)) {
    if (!compress) t.log(`this Node has no ${codec}`);
    else t.deepEqual(await rowsOf(codec, parquetFile(COLUMNS, codec as keyof typeof CODECS, compress)), WANT, codec);
  }
});

test('Zstandard: read where Node can, and no more than a page claims; elsewhere an error that says which Node can', async (t) => {
  const stored = parquetFile(COLUMNS, 'zstd', (bytes) => zstandardFrame([bytes], bytes.length));
  if (!COMPRESS.zstd) {
    t.log('not tested: pages in Zstandard (this Node has none; from 22.15 on)');
    await t.throwsAsync(rowsOf('zstd', stored), {
      code: 'ERR_HEDDLE_FILE',
      message: /zstd\.parquet: must be a Parquet file: it is compressed with Zstandard, which Node reads from 22\.15 on, and this is v\d/,
    });
    return;
  }
  t.deepEqual(await rowsOf('stored', stored), WANT);
  const run = { byte: 0, times: 128 << 10 };
  const bomb = zstandardFrame(Array(256).fill(run), 32 << 20);
  await t.throwsAsync(
    rowsOf(
      'bomb-zstd',
      parquetFile(COLUMNS, 'zstd', () => bomb),
    ),
    {
      code: 'ERR_HEDDLE_FILE',
      message: /bomb-zstd\.parquet: must be a Parquet file: .*larger than/,
    },
  );
});

test('compressed otherwise, or to more than it claims, is an error that names the file', async (t) => {
  await t.throwsAsync(rowsOf('lz4', parquetFile(COLUMNS, 'lz4')), {
    code: 'ERR_HEDDLE_FILE',
    message: /lz4\.parquet: must be a Parquet file: parquet unsupported compression codec: LZ4/,
  });
  const bomb = parquetFile(COLUMNS, 'gzip', () => zlib.gzipSync(Buffer.alloc(32 << 20)));
  await t.throwsAsync(rowsOf('bomb', bomb), { code: 'ERR_HEDDLE_FILE', message: /bomb\.parquet: must be a Parquet file: .*larger than/ });
});

test('file after file, also behind damaged ones and several at once', async (t) => {
  const whole = parquetFile(COLUMNS);
  for (let at = whole.length - 300; at < whole.length; at += 3) {
    const damaged = Uint8Array.from(whole, (byte, i) => (i === at ? byte ^ 0xff : byte));
    await rowsOf('damaged', damaged).catch((error: Error) => t.regex(error.message, /damaged\.parquet: must be a Parquet file/));
    t.deepEqual(await rowsOf('whole', whole), WANT, `after byte ${at}`);
  }
  const [one, other] = ['one', 'other'].map((name) => {
    const path = join(folder, `${name}.parquet`);
    writeFileSync(path, whole);
    return readParquetRows(path);
  }) as [ReturnType<typeof readParquetRows>, ReturnType<typeof readParquetRows>];
  t.deepEqual((await one.next()).value.value, WANT[0]);
  t.deepEqual((await other.next()).value.value, WANT[0]);
  t.deepEqual((await one.next()).value.value, WANT[1]);
  await one.return(undefined); // given up amid it
  t.deepEqual((await other.next()).value.value, WANT[1]);
  await other.return(undefined);
});
