// heddle doctor --report: what it says, where it goes, and that nothing private comes out, whatever goes wrong.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { packageVersion } from '../../../lib/native/load.ts';
import { heddle, noBinary } from './support.ts';

const USER = 'joplanted';
const HOST = 'planted-laptop';
const SECRETS = {
  HF_TOKEN: 'hf_PLANTEDplantedPLANTEDplanted',
  AWS_SECRET_ACCESS_KEY: 'planted/aws+secret/9x',
  DATABASE_PASSWORD: 'planted-word',
  ACME_INTERNAL: 'planted-internal-value',
  HEDDLE_FOLDER: '/mnt/planted/corpus of acme',
  HEDDLE_ACME_TOKEN: 'planted-acme-0123',
};

/** What each of these people, machines, folders and secrets is called; none may stand in a report. */
const PLANTED = /planted|Secret Client|patients|acme|corp\.example/i;

/** A project below a home, with a module that Node loads first: it gives the machine its name, and makes the self-test fail. */
function plantedProject(): { cwd: string; env: Record<string, string> } {
  const home = join(mkdtempSync(join(tmpdir(), 'heddle-report-')), 'home', USER);
  const cwd = join(home, 'Secret Client');
  mkdirSync(cwd, { recursive: true });
  const module = join(cwd, 'patients.mjs');
  writeFileSync(
    module,
    `import os from 'node:os';
     os.hostname = () => '${HOST}.corp.example';
     os.userInfo = () => ({ username: '${USER}' });
     const places = '/home/${USER}/patients.csv, ${cwd}/patients.csv, /mnt/planted/corpus of acme/x, https://${USER}:pw@corp.example/acme';
     if (/self_test/.test(process.argv[1]) && process.argv[2] === 'cpu') {
       const names = '${USER} on ${HOST}, ${HOST}.corp.example, ${USER}@corp.example, ${SECRETS.HF_TOKEN}, ${SECRETS.AWS_SECRET_ACCESS_KEY}';
       throw new Error('the kernels failed for ' + names + ', ${SECRETS.DATABASE_PASSWORD}: ' + places);
     }`,
  );
  const env = { HOME: home, USER, LOGNAME: USER, HOSTNAME: HOST, NODE_OPTIONS: `--import=${pathToFileURL(module).href}`, ...SECRETS };
  return { cwd, env };
}

function hasNothingPrivate(t: ExecutionContext, text: string): void {
  const found = text.split('\n').filter((line) => PLANTED.test(line.replace(/^- HEDDLE_\w+: \(set\)$/, ''))); // names of variables are told
  t.deepEqual(found, []);
}

test('a self-test that fails: its words and its stack are there, names, paths and secrets are not', async (t) => {
  const { cwd, env } = plantedProject();
  const { code, stdout, stderr } = await heddle(['doctor', '--report'], { cwd, env: { ...env, HEDDLE_THREADS: '1' } });
  t.is(code, 1, stderr);
  t.is(stdout, 'heddle-report.md\n');
  const text = readFileSync(join(cwd, 'heddle-report.md'), 'utf8');
  hasNothingPrivate(t, text);
  t.regex(
    text,
    /### cpu: the test ended with code 1: the kernels failed for <user> on <host>, <host>, <address>, <secret>, <secret>, <secret>: /,
  );
  t.regex(text, /^ {4}at .*~?\/…:\d+:\d+/m);
  for (const part of [
    `- version: ${packageVersion()}`,
    '- instruction set in use: ',
    '- threads: 1',
    `- Node: ${process.version} (V8 ${process.versions.v8}`,
    '- processors: ',
    '- memory: ',
    '- HEDDLE_THREADS: 1\n',
    '- HEDDLE_FOLDER: (set)\n',
    '- HEDDLE_ACME_TOKEN: (set)\n',
    '- NODE_OPTIONS: (set)\n',
    '<heddle>/build/',
  ])
    t.true(text.includes(part), `${part} is not in\n${text}`);
});

test('a binary that does not load: what the loader said', async (t) => {
  const { cwd, env } = plantedProject();
  mkdirSync(join(cwd, 'build/Release'), { recursive: true });
  writeFileSync(join(cwd, 'build/Release/heddle.node'), 'no binary');
  const { code, stdout } = await heddle(['doctor', '--report', '-'], { cwd, env: { ...env, HEDDLE_PREBUILD: cwd } });
  t.is(code, 1);
  hasNothingPrivate(t, stdout);
  t.true(stdout.includes('- binary: from HEDDLE_PREBUILD: <HEDDLE_PREBUILD>/…/heddle.node\n'), stdout);
  t.regex(stdout, /### The binary did not load\n\n```text\n(?:.*\n)*Error: <HEDDLE_PREBUILD>\/…\/heddle\.node: /);
  t.deepEqual(readdirSync(cwd).sort(), ['build', 'patients.mjs']);
});

test('where it works: exit code 0, every kernel family, on stdout', async (t) => {
  const { code, stdout, stderr } = await heddle(['doctor', '--report', '-']);
  t.is(code, 0, stderr);
  t.true(stdout.startsWith('# heddle: a report of this machine\n'));
  t.regex(stdout, /### cpu\n\n(- \w+: ok\n){12}/);
});

test('files: numbered without a name, never written over without --force', async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), 'heddle-report-'));
  const run = (...args: string[]) => heddle(['doctor', '--report', ...args], { cwd, env: noBinary() });
  t.is((await run()).stdout, 'heddle-report.md\n');
  const first = readFileSync(join(cwd, 'heddle-report.md'), 'utf8');
  t.is((await run()).stdout, 'heddle-report-2.md\n');
  t.is(readFileSync(join(cwd, 'heddle-report.md'), 'utf8'), first);

  writeFileSync(join(cwd, 'mine.md'), 'mine');
  const refused = await run('mine.md');
  t.is(refused.code, 1);
  t.is(refused.stderr, 'heddle: mine.md: is there already\n  --force writes over it.\n');
  t.is(readFileSync(join(cwd, 'mine.md'), 'utf8'), 'mine');
  t.is((await run('mine.md', '--force')).stdout, 'mine.md\n');
  t.true(readFileSync(join(cwd, 'mine.md'), 'utf8').startsWith('# heddle'));
  t.regex((await run('none/x.md')).stderr, /^heddle: none\/x\.md: cannot be written: ENOENT/);
  mkdirSync(join(cwd, 'folder'));
  t.regex((await run('folder', '--force')).stderr, /^heddle: folder: must be a file to write, got a folder$/m);
  t.deepEqual(readdirSync(cwd).sort(), ['folder', 'heddle-report-2.md', 'heddle-report.md', 'mine.md']);
});

test('command lines that cannot be understood', async (t) => {
  const cases: [string[], RegExp][] = [
    [['--report', '--json'], /^heddle: doctor: --report and --json contradict each other\n/],
    [['report.md'], /^heddle: doctor: FILE goes with --report\n {2}heddle doctor --report report\.md\n/],
    [['--force'], /^heddle: doctor: --force goes with --report\n/],
    [['--report', 'a.md', 'b.md'], /^heddle: doctor: unexpected argument "b\.md"\n/],
  ];
  const outcomes = await Promise.all(cases.map(([args]) => heddle(['doctor', ...args])));
  for (const [i, { code, stderr }] of outcomes.entries()) {
    t.is(code, 2);
    t.regex(stderr, cases[i]?.[1] as RegExp);
  }
  t.false(existsSync(join(tmpdir(), 'report.md')));
});
