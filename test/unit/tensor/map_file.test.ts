import { constants } from 'node:buffer';
import { mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { mapFile } from '../../../lib/tensor/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'heddle-map-'));

test('a mapping holds the bytes of the file; writing to it does not reach the file', (t) => {
  const file = join(folder, 'bytes');
  const bytes = Uint8Array.from({ length: 100_003 }, (_, i) => (i * 31) % 251);
  writeFileSync(file, bytes);
  const mapped = mapFile(file);
  t.deepEqual(mapped, bytes);
  mapped[0] = 200;
  t.is(readFileSync(file)[0], bytes[0]);
});

test('an empty file is an empty array', (t) => {
  const file = join(folder, 'empty');
  writeFileSync(file, '');
  t.is(mapFile(file).length, 0);
});

test('what cannot be mapped is named', (t) => {
  const missing = join(folder, 'missing');
  t.throws(() => mapFile(missing), { message: `mapFile: cannot open ${missing}: No such file or directory` });
  t.throws(() => mapFile(folder), { message: new RegExp(`^mapFile: cannot map ${folder}: `) });
  t.throws(() => mapFile('/dev/null'), { message: 'mapFile: cannot map /dev/null: it is no file' });
});

test('a file longer than a buffer may be is refused, not a crash', (t) => {
  const file = join(folder, 'long');
  writeFileSync(file, '');
  try {
    truncateSync(file, constants.MAX_LENGTH + 1); // takes no place on the disk
  } catch {
    t.pass('this file system holds no file of that length');
    return;
  }
  t.throws(() => mapFile(file), {
    message: `mapFile: ${file} must be at most ${constants.MAX_LENGTH} bytes long, got ${constants.MAX_LENGTH + 1}`,
  });
});
