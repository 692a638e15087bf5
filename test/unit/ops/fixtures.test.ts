import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import { computesIn, DEVICES, onDevice } from '../../run/devices.ts';
import { scaledError } from '../../run/error.ts';
import { readIndex } from '../../run/fixture_files.ts';
import { runCases } from '../../run/fixture_suite.ts';

const FOLDER = 'test/fixtures';

const failures = (results: Awaited<ReturnType<typeof runCases>>) => results.filter((r) => r.outcome === 'fail');

for (const device of DEVICES) {
  test(`ops and optimizers agree with the golden fixtures${onDevice(device)}`, async (t) => {
    const results = await runCases(FOLDER, { device });
    const { cases } = await readIndex(FOLDER);
    t.is(results.length, cases.flatMap((c) => c.outputs).length);
    t.deepEqual(failures(results), []);
    t.true(results.every((r) => r.outcome === 'pass'));
  });

  for (const dtype of ['bf16', 'f16'] as const)
    if (device === 'cpu' || computesIn(device, dtype))
      test(`on ${dtype} inputs ops err no more than twice as much as PyTorch in bf16${onDevice(device)}`, async (t) => {
        const results = await runCases(FOLDER, { dtype, device });
        t.deepEqual(failures(results), []);
        t.true(results.filter((r) => r.outcome === 'pass').length > 300);
      });
}

test('a wrong formula fails', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'heddle-fixtures-'));
  try {
    await copyFile(path.join(FOLDER, 'rmsnorm.safetensors'), path.join(folder, 'rmsnorm.safetensors'));
    const index = await readIndex(FOLDER);
    const [row] = index.cases.filter((c) => c.op === 'rmsnorm');
    const wrong = [
      { ...row, attrs: { eps: 1e-2 } },
      { ...row, op: 'layernorm', attrs: { eps: 1e-5 } },
      { ...row, op: 'unheard of' },
    ];
    await writeFile(path.join(folder, 'index.json'), JSON.stringify({ ...index, cases: wrong, models: [] }));
    const results = await runCases(folder);
    t.deepEqual(
      results.map((r) => r.outcome),
      Array.from({ length: 7 }, () => 'fail' as const),
    );
    t.is(results.at(-1)?.message, 'no op family is called unheard of');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the scaled error is that of the fixtures', (t) => {
  t.is(scaledError([1, 2.5], [1, 2]), 0.25);
  t.is(scaledError([1e-4], [0]), 0.1);
  t.is(scaledError([-Infinity, 1], [-Infinity, 1]), 0);
  t.is(scaledError([0, 1], [-Infinity, 1]), Infinity);
  t.true(Number.isNaN(scaledError([Number.NaN, 9], [1, 1])));
  t.true(Number.isNaN(scaledError([5, Number.NaN], [1, 1])));
  t.true(Number.isNaN(scaledError([1], [1, 2])));
});
