// `heddle doctor --report`: what a bug report needs to know of a machine and an installation, as Markdown, without private paths or data.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { packageRoot, packageVersion, platformName } from '../native/load.ts';
import { FileError } from '../util/errors.ts';
import { fileError, writeAll, writeFileAtomic } from '../util/files.ts';
import { driverVersion, type Examination, examine, line } from './doctor.ts';
import { gib, machine, operatingSystem } from './machine.ts';
import { note, print } from './output.ts';
import { redact, whatIsPrivate } from './private.ts';

/** Variables whose values say how heddle was asked to run: of others, at most the name is told. */
const TOLD = [
  ...[
    'HEDDLE_CPU',
    'HEDDLE_BF16',
    'HEDDLE_THREADS',
    'HEDDLE_DEBUG',
    'HEDDLE_CUDA',
    'HEDDLE_ARCHS',
    'HEDDLE_SANITIZE',
    'HEDDLE_TEST',
    'HEDDLE_TEST_DEVICE',
  ],
  ...['SIM_CARDS', 'SIM_MEMORY', 'SIM_DRIVER', 'CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS', 'UV_THREADPOOL_SIZE'],
];
const NAMED = ['NODE_OPTIONS', 'LD_PRELOAD', 'LD_LIBRARY_PATH'];
const PLAIN_VALUE = /^[\w.,:+-]{0,40}$/;

/** The longest stack that is worth its room. */
const STACK_LINES = 60;

type Hide = (text: string) => string;
type Facts = readonly (readonly [name: string, value: string | undefined])[];

const facts = (rows: Facts, hide: Hide): string =>
  rows.flatMap(([name, value]) => (value === undefined || value === '' ? [] : [`- ${name}: ${hide(value)}`])).join('\n');

/** A block of text as it came, whatever backticks are in it. */
function block(text: string, hide: Hide): string {
  const lines = hide(text).split('\n');
  const shown = lines.length > STACK_LINES ? [...lines.slice(0, STACK_LINES), `(${lines.length - STACK_LINES} more lines)`] : lines;
  const fence = '`'.repeat(Math.max(3, ...[...shown.join('\n').matchAll(/`+/g)].map(([run]) => run.length + 1)));
  return `${fence}text\n${shown.join('\n')}\n${fence}`;
}

/** How the binary came here. */
function origin(binary: string): string {
  const below = path.relative(packageRoot(), binary).split(path.sep);
  const how = process.env.HEDDLE_PREBUILD
    ? 'from HEDDLE_PREBUILD'
    : below[0] === 'prebuilds'
      ? 'prebuilt'
      : below[1] === 'sim'
        ? 'built here, with the simulated CUDA device'
        : 'built here from source';
  return `${how}: ${binary}`;
}

function fingerprint(binary: string): string {
  try {
    const bytes = readFileSync(binary);
    return `${bytes.length} bytes, SHA-256 ${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}…`;
  } catch (error) {
    return `cannot be read: ${error instanceof Error ? error.message : error}`;
  }
}

function heddle({ binary, info }: Examination): Facts {
  return [
    ['version', packageVersion()],
    ['package', packageRoot().includes(`${path.sep}node_modules${path.sep}`) ? 'installed' : 'a clone'],
    ['binary', binary === undefined ? 'none' : origin(binary)],
    ['file', binary === undefined ? undefined : fingerprint(binary)],
    ['built from version', info?.version],
    ['instruction sets compiled', info?.compiledIsas.join(', ')],
    ['instruction sets of this CPU', info?.isas.join(', ')],
    ['products in bf16', info && (info.bf16 === 'f32' ? 'computed in f32' : `by ${info.bf16}`)],
    ['instruction set in use', info && `${info.isa}${process.env.HEDDLE_CPU ? ' (forced by HEDDLE_CPU)' : ''}`],
    ['threads', info && String(info.threads)],
    ['CUDA', info && (info.cudaArchs === '' ? 'built without' : `${info.cudaVersion}; kernels for ${info.cudaArchs}`)],
    ['CUDA device', info && (info.cuda || 'works')],
  ];
}

function system(): Facts {
  const { cpu, processors, available, quota, memory, free, memoryLimit } = machine();
  const { userLimits } = process.report.getReport() as unknown as { userLimits?: Record<string, { soft: unknown }> };
  const limits = [
    'virtual_memory_kbytes',
    'data_seg_size_kbytes',
    'max_memory_size_kbytes',
    'max_locked_memory_bytes',
    'max_user_processes',
    'open_files',
  ];
  return [
    ['system', operatingSystem()],
    ['platform', platformName()],
    ['Node', `${process.version} (V8 ${process.versions.v8}, libuv ${process.versions.uv}, Node-API ${process.versions.napi})`],
    ['CPU', cpu],
    ['processors', `${processors}, ${available} available to this process`],
    ["the container's quota", quota === undefined ? 'none' : `${Number(quota.toFixed(2))} processors`],
    ['memory', `${gib(memory)}, ${gib(free)} free${memoryLimit === undefined ? '' : ' (a limit of the container)'}`],
    ['limits', limits.map((name) => `${name} ${userLimits?.[name]?.soft ?? 'unknown'}`).join(', ')],
    ['NVIDIA driver', driverVersion() ?? 'none found'],
  ];
}

/** Variables by name; the values of those that are on the list and look like what they should hold. */
function environment(hide: Hide): Facts {
  const names = Object.keys(process.env).filter((name) => name.startsWith('HEDDLE_') || TOLD.includes(name) || NAMED.includes(name));
  return names.sort().map((name) => {
    const value = process.env[name] ?? '';
    const shown = TOLD.includes(name) && PLAIN_VALUE.test(value) ? value || '(empty)' : '(set)';
    return [hide(name), shown];
  });
}

function selfTests({ tests, said }: Examination, hide: Hide): string[] {
  const parts = tests.map(({ device, verdicts, failure }) => {
    if (failure) return `### ${device}: the test ${hide(failure.how)}\n\n${block(failure.said, hide)}`;
    const rows = Object.entries(verdicts).map(([family, { error, stack }]) =>
      error === undefined ? `- ${family}: ok` : `- ${family}: wrong\n\n${block(stack ?? error, hide)}\n`,
    );
    return `### ${device}\n\n${rows.join('\n')}`;
  });
  return said === '' ? parts : [`### The binary did not load\n\n${block(said, hide)}`, ...parts];
}

/** The report as Markdown. */
export async function report(): Promise<{ ok: boolean; text: string }> {
  const found = await examine();
  const root = packageRoot();
  const ours = ['dist', 'lib', 'build/Release', 'build/sim', 'prebuilds', 'scripts'].map(
    (name) => [path.join(root, name), `<heddle>/${name}`] as const,
  );
  const folders = [[root, '<heddle>'] as const, [process.env.HEDDLE_PREBUILD, '<HEDDLE_PREBUILD>'] as const];
  const open = process.env.HEDDLE_PREBUILD ? [...ours, [found.binary, '<HEDDLE_PREBUILD>/…/heddle.node'] as const] : ours;
  const secret = whatIsPrivate(open, folders);
  const hide: Hide = (text) => redact(text, secret);
  const set = environment(hide);
  const sections = [
    '# heddle: a report of this machine',
    [
      'Written by `heddle doctor --report`. The names of people, machines, folders and files, addresses and secrets are left out; nothing of',
      'the environment but what is listed. Please read it before you attach it to a bug report, and say there what you did and what you saw.',
    ].join('\n'),
    `heddle ${found.ok ? 'works' : 'does not work'} here, the doctor says.`,
    `## heddle\n\n${facts(heddle(found), hide)}`,
    `## Machine\n\n${facts(system(), hide)}`,
    `## GPUs\n\n${found.devices.length === 0 ? 'none' : block(found.devices.map((d) => JSON.stringify(d)).join('\n'), hide)}`,
    `## Environment\n\n${set.length === 0 ? 'no variable that matters is set' : facts(set, hide)}`,
    `## What the doctor found\n\n${block(found.findings.map(line).join('\n'), hide)}`,
    `## Self-tests\n\n${selfTests(found, hide).join('\n\n') || 'none: the binary does not load'}`,
  ];
  return { ok: found.ok, text: `${sections.join('\n\n')}\n` };
}

const NAME = 'heddle-report';

/** A file that must not be there yet. */
function writeNew(file: string, text: string): void {
  const fd = openSync(file, 'wx');
  try {
    writeAll(file, fd, Buffer.from(text));
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

const isThere = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EEXIST';

/** Without a name given: heddle-report.md, or the first of heddle-report-2.md, ... that is free. */
function writeNumbered(text: string): string {
  for (let n = 1; ; n++) {
    const file = n === 1 ? `${NAME}.md` : `${NAME}-${n}.md`;
    try {
      writeNew(file, text);
      return file;
    } catch (error) {
      if (!isThere(error) || n === 999) throw error instanceof FileError ? error : fileError(file, 'write', error);
    }
  }
}

/** @throws FileError where the file is there and may not be replaced, or cannot be written */
function writeNamed(file: string, text: string, force: boolean): string {
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) throw new FileError(file, 'must be a file to write, got a folder');
  try {
    if (force) writeFileAtomic(file, Buffer.from(text));
    else writeNew(file, text);
  } catch (cause) {
    if (isThere(cause)) throw new FileError(file, 'is there already', { hint: '--force writes over it.', cause });
    if (cause instanceof FileError) throw cause;
    throw new FileError(file, `cannot be written: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  return file;
}

/** Writes the report; returns the exit code, which is the doctor's. */
export async function runReport({ file, force }: { file: string | undefined; force: boolean }): Promise<number> {
  // Told before the examination, which takes a while.
  if (file !== undefined && file !== '-' && !force && statSync(file, { throwIfNoEntry: false }))
    throw new FileError(file, 'is there already', { hint: '--force writes over it.' });
  const { ok, text } = await report();
  if (file === '-') process.stdout.write(text);
  else {
    const written = file === undefined ? writeNumbered(text) : writeNamed(file, text, force);
    print(written);
    note('Please read it before you attach it to a bug report.');
  }
  return ok ? 0 : 1;
}
