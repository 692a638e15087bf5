// Runs the fuzzer in a process of its own, with limits: a case that hangs, crashes or takes all memory is a failure like any other,
// and lies in the folder where it stopped.
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Outcome } from './attempt.ts';
import type { Failure, Report } from './fuzz.ts';

/**
 * Without a word for so long, of the processor's time where the system tells it, the process is taken for hung; it says one after
 * every case that takes longer than a moment.
 */
const SILENCE_MS = 10_000;
/** The same by the clock, while the machine may be busy with other things, and to load everything and make the seeds. */
const PATIENCE = 12;
/** Of JavaScript's own objects. */
const HEAP_MB = 400;
/** Of all private memory: a reader that believes a header which claims more dies of it. Linux only: elsewhere there is no such limit. */
const DATA_KB = 1200 << 10;

export const FAILURES = fileURLToPath(new URL('../../build/fuzz', import.meta.url));
const CHILD = fileURLToPath(new URL('child.ts', import.meta.url));

export interface ChildTask {
  readonly formats: readonly string[];
  readonly cases: number;
  readonly seed: number;
  readonly folder: string;
  readonly failures: string;
  readonly replay?: string;
}

export type Said =
  | { readonly type: 'begins'; readonly format: string }
  | { readonly type: 'alive'; readonly number: number }
  | ({ readonly type: 'failed'; readonly kept: string } & Failure)
  | { readonly type: 'ends'; readonly report: Report }
  | ({ readonly type: 'replayed'; readonly format: string } & Outcome);

export interface FuzzOptions {
  readonly formats: readonly string[];
  readonly cases: number;
  readonly seed: number;
  /** Where failing cases go. */
  readonly failures?: string;
  /** After which a process is taken for hung; default 10 s. */
  readonly silenceMs?: number;
  readonly onReport?: (report: Report) => void;
}

export interface FoundFailure extends Failure {
  /** The folder to replay. */
  readonly kept: string;
}

export interface FuzzResult {
  readonly reports: readonly Report[];
  readonly failures: readonly FoundFailure[];
}

/** In memory where the system has such a folder: thousands of small files are written. */
function workFolder(): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'heddle-fuzz-'));
}

function start(task: ChildTask): ChildProcess {
  const node = [process.execPath, `--max-old-space-size=${HEAP_MB}`, '--import=tsx', CHILD, JSON.stringify(task)];
  const [command, ...args] =
    process.platform === 'linux' ? ['sh', '-c', `ulimit -c 0; ulimit -d ${DATA_KB}; exec "$@"`, 'sh', ...node] : node;
  return spawn(command as string, args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What a process has had of the processor; undefined where the system does not say so. */
function cpuMs(pid: number | undefined): number | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    // Behind the name in parentheses, which may hold anything: user and system time are fields 14 and 15, in hundredths of a second.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  } catch {
    return undefined; // it has ended
  }
}

interface End {
  /** How the process ended where it did not end well. */
  readonly problem: string | undefined;
  readonly stderr: string;
}

/** Runs a child to its end, or kills it when it is silent for too long. */
function watch(task: ChildTask, onSaid: (said: Said) => void, silenceMs = SILENCE_MS): Promise<End> {
  const child = start(task);
  let stderr = '';
  let hung = false;
  let last = { clock: performance.now(), cpu: 0 };
  let started = false; // a case has been said to run
  const timer = setInterval(() => {
    const silent = performance.now() - last.clock;
    const busy = cpuMs(child.pid);
    hung = silent > PATIENCE * silenceMs || (started && (busy === undefined ? silent : busy - last.cpu) > silenceMs);
    if (hung) child.kill('SIGKILL');
  }, 250);
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    stderr = (stderr + chunk).slice(-20_000);
  });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  lines.on('line', (line) => {
    const said = JSON.parse(line) as Said;
    started = said.type === 'alive' || said.type === 'failed';
    last = { clock: performance.now(), cpu: cpuMs(child.pid) ?? 0 };
    onSaid(said);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearInterval(timer);
      const problem = hung
        ? `hung for ${silenceMs / 1000} s`
        : code === 0
          ? undefined
          : `the process ended with ${signal ?? `exit code ${code}`}`;
      resolve({ problem, stderr });
    });
  });
}

/** Fuzzes the formats one after the other. A format whose process dies ends there; the next ones begin in a new process. */
export async function runFuzz({ formats, cases, seed, failures = FAILURES, silenceMs, onReport }: FuzzOptions): Promise<FuzzResult> {
  const folder = workFolder();
  const reports: Report[] = [];
  const found: FoundFailure[] = [];
  let left = [...formats];
  try {
    while (left.length > 0) {
      let current = left[0] as string;
      let number = 0;
      const { problem, stderr } = await watch(
        { formats: left, cases, seed, folder: join(folder, 'case'), failures },
        (said) => {
          if (said.type === 'begins') [current, number] = [said.format, 0];
          else if (said.type === 'alive') number = said.number;
          else if (said.type === 'failed') found.push(said);
          else if (said.type === 'ends') {
            reports.push(said.report);
            onReport?.(said.report);
            left = left.slice(1);
          }
        },
        silenceMs,
      );
      if (problem === undefined) break;
      const kept = join(failures, `${current}-${seed}-dead`);
      const failure = { format: current, number, what: `${problem} after case ${number}\n${stderr}`.trim() };
      rmSync(kept, { recursive: true, force: true });
      mkdirSync(kept, { recursive: true });
      if (existsSync(join(folder, 'case'))) cpSync(join(folder, 'case'), join(kept, 'files'), { recursive: true });
      writeFileSync(join(kept, 'case.json'), `${JSON.stringify({ ...failure, seed }, null, 1)}\n`);
      found.push({ ...failure, kept });
      left = left.slice(1);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { reports, failures: found };
}

/** Reads a failing case again; what became of it, or how its process ended. */
export async function replay(kept: string): Promise<{ outcome: Outcome | undefined; problem: string | undefined }> {
  const folder = workFolder();
  let outcome: Outcome | undefined;
  try {
    const task = { formats: [], cases: 0, seed: 0, folder: join(folder, 'case'), failures: kept, replay: kept };
    const { problem, stderr } = await watch(task, (said) => {
      if (said.type === 'replayed') outcome = said;
    });
    return { outcome, problem: problem && `${problem}\n${stderr}`.trim() };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The command that reads a failing case again. */
export const replayCommand = (kept: string): string => `npm run fuzz -- --replay ${relative(process.cwd(), kept)}`;
