// Hostile files: 2,000 damaged copies of each kind of file that heddle reads. More of them: npm run fuzz -- FORMAT --cases N --seed N.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { formats } from './formats/index.ts';
import { replay, replayCommand, runFuzz } from './run.ts';

const SEED = 1;
const CASES = 2000;
const names = Object.keys(formats).filter((name) => !name.startsWith('planted'));
const PROCESSES = 4;

function hostile(group: readonly string[]): void {
  test.serial(`hostile files: ${group.join(', ')}`, async (t) => {
    t.timeout(10 * 60_000, 'it takes half a minute on an idle core');
    const { reports, failures } = await runFuzz({ formats: group, cases: CASES, seed: SEED });
    for (const { format, number, what, kept } of failures)
      t.fail(`${format}, case ${number} of seed ${SEED}: ${what}\n  ${replayCommand(kept)}`);
    for (const { format, cases, read, refused, messages } of reports) {
      t.is(cases, CASES);
      // A fuzzer whose cases all end at the first check, or pass, finds nothing.
      t.true(read > CASES / 100 && refused > CASES / 10, `${format}: ${read} read, ${refused} refused`);
      t.true(Object.keys(messages).length >= 3, format);
    }
    t.is(reports.length, group.length);
  });
}

for (let first = 0; first < PROCESSES; first++) hostile(names.filter((_, i) => i % PROCESSES === first));

test.serial('the fuzzer finds planted faults: a wrong type, a nameless error, a hang, an allocation, a crash, an open file', async (t) => {
  t.timeout(10 * 60_000);
  const planted = Object.keys(formats).filter((name) => name.startsWith('planted'));
  const folder = mkdtempSync(join(tmpdir(), 'heddle-fuzz-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const { failures } = await runFuzz({ formats: planted, cases: 300, seed: SEED, failures: folder, silenceMs: 3000 });
  const found = (name: string): string => failures.find((failure) => failure.format === `planted-${name}`)?.what ?? '';
  t.regex(found('type'), /^threw TypeError: /);
  t.regex(found('nameless'), /^the error names no file: /);
  t.regex(found('foreign'), /^threw Error: /);
  t.regex(found('hang'), /^hung for 3 s/);
  t.regex(found('allocation'), /^took \d+ bytes of buffers and tensors for files of \d+ bytes|^threw RangeError/);
  t.regex(found('crash'), /^the process ended with SIGABRT/);
  if (process.platform === 'linux') t.regex(found('file'), /^left \d+ files open/);

  const kept = failures.find(({ format }) => format === 'planted-type')?.kept ?? '';
  const { outcome } = await replay(kept);
  t.is(outcome?.kind, 'failed');
  t.regex(outcome?.failure ?? '', /^threw TypeError: /);
});
