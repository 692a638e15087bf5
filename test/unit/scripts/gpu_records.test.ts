// When a kernel counts as verified on a card: hashes of sources and headers, records of npm run check:gpu.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { packageRoot } from '../../../lib/native/load.ts';

interface Record {
  simulated: boolean;
  date: string;
  card: string;
  steps: { name: string; outcome: string }[];
  kernels: { [source: string]: string };
}
type Status = { source: string; record?: Record; before?: Record };

const load = <T>(name: string): Promise<T> => import(pathToFileURL(path.join(packageRoot(), 'scripts', name)).href) as Promise<T>;
const { kernelFiles, kernelHash, kernelHashes, kernelSources } = await load<{
  kernelFiles(source: string, top?: string): [string, string][];
  kernelHash(source: string, top?: string): string;
  kernelHashes(capability: number, top?: string): { [source: string]: string };
  kernelSources(top?: string): string[];
}>('kernel-sources.mjs');
const { statusOf, verifies } = await load<{
  statusOf(hashes: object, records: Record[]): Status[];
  verifies(record: Record): boolean;
}>('check-record.mjs');
const { verdicts } = await load<{ verdicts(said: string): string[] }>('conformance.mjs');

const FILES = {
  'cuda/a/k.cu': '#include "a/near.cuh"\n#include "core/number.h"\n#include "ops/backend.h"\n',
  'cuda/a/near.cuh': '  # include "far.h"\n',
  'cuda/a/far.h': '#include <cuda_runtime.h>\n',
  'cuda/a/other.h': '',
  'cuda/b/h_sm90.cu': '#include "missing.h"\n',
  'native/core/number.h': '',
  'native/ops/backend.h': '',
};

function withSources(changes: Partial<typeof FILES>, work: (top: string) => void): void {
  const top = mkdtempSync(path.join(os.tmpdir(), 'heddle-kernels-'));
  for (const [name, text] of Object.entries({ ...FILES, ...changes })) {
    mkdirSync(path.dirname(path.join(top, name)), { recursive: true });
    writeFileSync(path.join(top, name), text);
  }
  try {
    work(top);
  } finally {
    rmSync(top, { recursive: true });
  }
}

test('a kernel is its source and the headers behind it, of cuda/ and native/core', (t) => {
  const hash = (changes: Partial<typeof FILES>): string => {
    let found = '';
    withSources(changes, (top) => {
      found = kernelHash('cuda/a/k.cu', top);
    });
    return found;
  };
  withSources({}, (top) => {
    t.deepEqual(kernelSources(top), ['cuda/a/k.cu', 'cuda/b/h_sm90.cu']);
    const names = kernelFiles('cuda/a/k.cu', top).map(([name]) => name);
    t.deepEqual(names, ['cuda/a/far.h', 'cuda/a/k.cu', 'cuda/a/near.cuh', 'native/core/number.h']);
    t.deepEqual(Object.keys(kernelHashes(80, top)), ['cuda/a/k.cu'], 'code for Hopper does not run on sm_80');
    t.deepEqual(Object.keys(kernelHashes(90, top)), ['cuda/a/k.cu', 'cuda/b/h_sm90.cu']);
  });
  t.is(hash({}), hash({ 'cuda/a/other.h': 'int x;', 'native/ops/backend.h': 'int x;' }));
  for (const name of ['cuda/a/k.cu', 'cuda/a/near.cuh', 'cuda/a/far.h', 'native/core/number.h'] as const)
    t.not(hash({}), hash({ [name]: `${FILES[name]}// more\n` }), name);
});

test('every kernel of this checkout has its files', (t) => {
  t.true(kernelSources().length > 0);
  for (const source of kernelSources()) t.regex(kernelHash(source), /^[0-9a-f]{16}$/, source);
});

const passed = ['build', 'kernels', 'canary'].map((name) => ({ name, outcome: 'passed' }));
const record = (changes: Partial<Record>): Record => ({
  ...{ simulated: false, date: '2026-01-01T00:00:00Z', card: 'NVIDIA A', steps: passed, kernels: { 'cuda/k.cu': 'one' } },
  ...changes,
});

test('only records of real cards count, whose kernel tests passed and noticed the planted bug', (t) => {
  t.true(verifies(record({})));
  t.false(verifies(record({ simulated: true })));
  t.false(verifies(record({ steps: passed.slice(0, 2) })));
  for (const outcome of ['failed: it', 'partly: one file', 'waiting: no compiler'])
    t.false(verifies(record({ steps: passed.map((step) => (step.name === 'kernels' ? { ...step, outcome } : step)) })), outcome);
});

test('a kernel is verified by the latest record of its present text', (t) => {
  const status = (records: Record[]): Status => statusOf({ 'cuda/k.cu': 'one' }, records)[0] as Status;
  t.is(status([]).record, undefined);
  const [early, late] = [record({}), record({ date: '2026-02-01T00:00:00Z', card: 'NVIDIA B' })];
  t.is(status([early, late]).record?.card, 'NVIDIA B');
  const changed = status([record({ kernels: { 'cuda/k.cu': 'two' } })]);
  t.is(changed.record, undefined);
  t.is(changed.before?.card, 'NVIDIA A');
});

test('verdicts of a program: without figures, each once', (t) => {
  t.deepEqual(verdicts('ok   sin error 0.000001\nFAIL cos  seed 1  error 2\nok sin error 3\nnoise\nok   printf 0  1.50 text\n'), [
    'FAIL cos',
    'ok printf 0',
    'ok sin',
  ]);
});

const script = (name: string, ...args: string[]) =>
  spawnSync(process.execPath, [path.join(packageRoot(), 'scripts', name), ...args], { encoding: 'utf8' });

test('gpu:status lists every kernel', (t) => {
  const { status, stdout } = script('gpu-status.mjs');
  t.is(status, 0);
  for (const source of kernelSources()) t.true(stdout.includes(source), source);
});

test('check:gpu says what it needs', (t) => {
  const simulated = script('check-gpu.mjs', '--simulated');
  t.is(simulated.status, 1);
  t.regex(simulated.stderr, /--simulated needs --out FOLDER/);
  const unknown = script('check-gpu.mjs', '--simulated', '--out', os.tmpdir(), '--only', 'kernel');
  t.is(unknown.status, 1);
  t.regex(unknown.stderr, /steps are conformance, known-good, kernels/);
});
