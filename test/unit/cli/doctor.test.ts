import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { packageRoot } from '../../../lib/native/load.ts';

interface Report {
  ok: boolean;
  version: string;
  node: string;
  native: { isa: string; isas: string[]; compiledIsas: string[] } | null;
  findings: { name: string; status: string; value: string; remedy?: string }[];
}

const SCRIPT =
  "import('./lib/cli/doctor.ts').then(async (m) => (process.exitCode = await m.runDoctor({ json: process.argv[1] === 'json' })))";

function doctor(format: 'json' | 'text', env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import=tsx', '-e', SCRIPT, format], {
    cwd: packageRoot(),
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

function report(env?: Record<string, string>): { status: number | null; report: Report } {
  const { status, stdout, stderr } = doctor('json', env);
  try {
    return { status, report: JSON.parse(stdout) as Report };
  } catch {
    throw new Error(`no JSON from the doctor: ${stdout}${stderr}`);
  }
}

test('a working installation', (t) => {
  const { status, report: r } = report();
  t.is(status, 0);
  t.true(r.ok);
  t.is(r.node, process.versions.node);
  t.true(r.native?.isas.includes(r.native.isa));
  t.deepEqual(
    r.findings.filter((f) => f.status === 'problem'),
    [],
  );
  for (const name of ['Node', 'binary', 'instructions', 'threads', 'memory', 'CUDA'])
    t.true(
      r.findings.some((f) => f.name === name),
      name,
    );
});

test('the report for people', (t) => {
  const { status, stdout } = doctor('text');
  t.is(status, 0);
  t.regex(stdout, /^heddle \d+\.\d+\.\d+ on /);
  t.true(stdout.includes('heddle works here.'), stdout);
});

test('a forced lower level is said to be forced', (t) => {
  const { report: r } = report({ HEDDLE_CPU: 'baseline' });
  t.is(r.native?.isa, 'baseline');
  t.true(r.findings.find((f) => f.name === 'instructions')?.value.includes('forced by HEDDLE_CPU'));
});

test('a level that does not exist: the variable is named, not the binary blamed', (t) => {
  const { status, report: r } = report({ HEDDLE_CPU: 'mmx' });
  t.is(status, 1);
  const binary = r.findings.find((f) => f.name === 'binary');
  t.true(binary?.value.includes('mmx'), binary?.value);
  t.is(binary?.remedy, 'correct HEDDLE_CPU or unset it');
});

test('so is what multiplies in bf16', (t) => {
  const { report: r } = report({ HEDDLE_BF16: 'f32' });
  const value = r.findings.find((f) => f.name === 'instructions')?.value;
  t.regex(value ?? '', /forced by .*HEDDLE_BF16/); // and by HEDDLE_CPU, where the suite runs at another level
  t.false(value?.includes('products in bf16'));
  const { report: unknown } = report({ HEDDLE_BF16: 'tiles' });
  t.is(unknown.findings.find((f) => f.name === 'binary')?.remedy, 'correct HEDDLE_BF16 or unset it');
});

test('no binary for this platform', (t) => {
  const { status, report: r } = report({ HEDDLE_PREBUILD: mkdtempSync(path.join(os.tmpdir(), 'heddle-doctor-')) });
  t.is(status, 1);
  t.false(r.ok);
  t.is(r.findings.find((f) => f.name === 'binary')?.remedy, 'npx heddle build');
});

test('a binary that crashes as it is loaded is reported, not suffered', (t) => {
  const { status, report: r } = report({ HEDDLE_PREBUILD: path.join(packageRoot(), 'build/crash') });
  t.is(status, 1);
  t.true(r.findings.find((f) => f.name === 'binary')?.value.includes('crashed with SIGABRT'));
});
