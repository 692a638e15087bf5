// Reading a file straight into a tensor of the CPU.
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { transpose } from '../../../lib/ops/index.ts';
import { isDense, readFileInto } from '../../../lib/tensor/file.ts';
import { empty, scope, synchronize, zeros } from '../../../lib/tensor/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'heddle-file-'));
const path = join(folder, 'numbers');
const values = Float32Array.from({ length: 700_001 }, (_, i) => i); // several pieces, and a part of one
writeFileSync(path, new Uint8Array(values.buffer));
test.after.always(() => rmSync(folder, { recursive: true }));

test.serial('from any offset, in pieces; the file may be closed at once', async (t) => {
  const whole = empty([values.length], { device: 'cpu' });
  const part = empty([3, 2], { device: 'cpu' });
  const file = openSync(path, 'r');
  readFileInto(whole, file, 0);
  readFileInto(part, file, 4 * 1000);
  closeSync(file);
  t.deepEqual(await whole.data(), values);
  t.deepEqual(await part.data(), values.slice(1000, 1006));
  for (const x of [whole, part]) x.dispose();
});

test.serial('a file that is too short is an error at the next wait, and the device works on', async (t) => {
  const x = empty([10], { device: 'cpu' });
  const file = openSync(path, 'r');
  readFileInto(x, file, 4 * (values.length - 9));
  closeSync(file);
  await t.throwsAsync(synchronize('cpu'), { message: /readFile: the file is cut short/ });
  t.deepEqual([...zeros([2], { device: 'cpu' }).dataSync()], [0, 0]);
  t.throws(() => readFileInto(x, 1 << 20, 0), { message: /readFile: file must be open, got: Bad file descriptor/ });
  scope(() => {
    const turned = transpose(zeros([2, 3], { device: 'cpu' }));
    t.deepEqual([isDense(turned), isDense(x)], [false, true]);
    t.throws(() => readFileInto(turned, 0, 0), { message: /readFile: out must be dense, got a strided view/ });
  });
  x.dispose();
});
