// Training tokens per second of heddle and, where it is installed, of PyTorch, both in f32 or both with products in bf16; heddle on one thread,
// too, and its step without kernels. Every contestant is a process of its own; they take turns, so that two are always compared under the same load of the
// machine.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { flopsPerToken } from '../lib/models/index.ts';
import { ArgumentError } from '../lib/util/errors.ts';
import { TRAIN_JOBS } from './configs.ts';
import { median } from './machine.ts';

const here = path.dirname(fileURLToPath(import.meta.url));
// The build without the CUDA simulator, which alone takes 140 MiB.
const CPU_BUILD = { HEDDLE_PREBUILD: path.join(here, '..') };

interface Turn {
  rows: number[];
  /** Share of its threads' time that the process got. */
  cpu: number;
  /** KiB. */
  rss: number;
  /** heddle only: GFLOP/s of the FMA bursts between the steps. */
  peak?: number;
}

export interface TrainRow {
  job: string;
  who: string;
  msMedian: number;
  msMin: number;
  tokensPerSecond: number;
  rssMiB: number;
  firstStepSeconds: number;
  /** Turns in which the process got 95 % of its threads' time, of all. */
  clean: string;
  threads: number;
  /** Model FLOPs per second: 6·N a token and the unmasked half of attention (`flopsPerToken`, llmc). */
  gflops: number;
  /** heddle only: GFLOP/s of fused multiply-adds between the steps, and the share of it that the step reaches. */
  peakGflops?: number;
  share?: number;
  /** heddle only: milliseconds of a step whose kernels return at once (TypeScript and the binder). */
  hollowMs?: number;
  /** PyTorch only: GFLOP/s of its own product of 1024 × 3072 × 768. */
  matmulGflops?: number;
}

export interface TrainBenchOptions {
  jobs: readonly string[];
  modes: readonly string[];
  /** What products are computed in. */
  compute: 'f32' | 'bf16';
  threads: number;
  rounds: number;
  python: string;
}

class Contestant {
  readonly who: string;
  readonly turns: Turn[] = [];
  readonly threads: number;
  start: { start_s: number; loss: number; params: number; matmul_gflops?: number } = { start_s: 0, loss: 0, params: 0 };
  hollow: number[] = [];
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(who: string, command: string, args: readonly string[], threads: number) {
    this.who = who;
    this.threads = threads;
    const limits = { OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) };
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...limits, ...CPU_BUILD } });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  async read<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.who} ended without an answer`);
    return JSON.parse(value) as T;
  }

  async turn(steps: number): Promise<void> {
    this.#child.stdin?.write(`${steps}\n`);
    this.turns.push(await this.read<Turn>());
  }

  async hollowTurn(): Promise<void> {
    this.#child.stdin?.write('hollow\n');
    this.hollow = (await this.read<{ rows: number[] }>()).rows;
  }

  end(): void {
    this.#child.stdin?.end();
  }
}

/** The version of PyTorch, or null. */
export function torchVersion(python: string): string | null {
  const answer = spawnSync(python, ['-c', 'import torch; print(torch.__version__)'], { encoding: 'utf8' });
  return answer.status === 0 ? answer.stdout.trim() : null;
}

function summarise(job: string, c: Contestant): TrainRow {
  const { batch, length, model } = TRAIN_JOBS[job] as (typeof TRAIN_JOBS)[string];
  const clean = c.turns.filter((t) => t.cpu > 0.95);
  const turns = clean.length >= 3 ? clean : c.turns;
  const ms = turns.flatMap((t) => t.rows);
  const operations = flopsPerToken(model, length, 'llmc') * batch * length;
  const peaks = turns.flatMap((t) => (t.peak ? [t.peak] : []));
  return {
    ...{ job, who: c.who, msMedian: median(ms), msMin: Math.min(...ms), tokensPerSecond: (batch * length * 1000) / median(ms) },
    ...{ rssMiB: (c.turns.at(-1) as Turn).rss / 1024, firstStepSeconds: c.start.start_s, clean: `${clean.length}/${c.turns.length}` },
    ...{ threads: c.threads, gflops: operations / median(ms) / 1e6 },
    ...(peaks.length && {
      peakGflops: median(peaks),
      share: median(turns.map((t) => operations / median(t.rows) / 1e6 / (t.peak as number))),
    }),
    ...(c.hollow.length && { hollowMs: median(c.hollow) }),
    ...(c.start.matmul_gflops && { matmulGflops: c.start.matmul_gflops }),
  };
}

export async function benchTrain(o: TrainBenchOptions): Promise<TrainRow[]> {
  const torch = o.modes.length > 0 ? torchVersion(o.python) : null;
  if (!torch && o.modes.length > 0) console.error(`PyTorch is not installed for ${o.python}: heddle alone is timed`);
  const rows: TrainRow[] = [];
  for (const job of o.jobs) {
    const steps = TRAIN_JOBS[job]?.steps;
    if (!steps) throw new ArgumentError(`--jobs must be of ${Object.keys(TRAIN_JOBS).join(', ')}, got ${job}`);
    const threads = String(o.threads);
    const heddle = (who: string, n: number) => () =>
      new Contestant(who, process.execPath, ['--import=tsx', path.join(here, 'train_worker.ts'), job, String(n), o.compute], n);
    const all = [
      heddle('heddle', o.threads),
      ...(o.threads > 1 ? [heddle('heddle, 1 thread', 1)] : []),
      ...(torch ? o.modes : []).map(
        (mode) => () =>
          new Contestant(
            `torch ${torch} ${mode}`,
            o.python,
            [path.join(here, 'peers/torch_train.py'), job, mode, threads, o.compute],
            o.threads,
          ),
      ),
    ];
    const running: Contestant[] = [];
    for (const make of all) {
      const c = make(); // one at a time: starting and compiling do not disturb the others
      c.start = await c.read();
      running.push(c);
    }
    for (let round = 0; round < o.rounds; round++) for (const c of running) await c.turn(steps);
    for (const c of running) {
      if (c.who === 'heddle') await c.hollowTurn();
      c.end();
      rows.push(summarise(job, c));
    }
  }
  return rows;
}
