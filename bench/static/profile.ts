// What the simulator counts when a job runs: which kernel, how it is launched, bank conflicts, sectors. PTX is counted, not machine code.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { shortName } from './demangle.ts';
import { type Job, jobName } from './jobs.ts';

export interface Traffic {
  requests: number;
  bytes: number;
  sectors: number;
  idealSectors: number;
}

/** Of a launch, by the simulator. */
interface Counts {
  dynamicShared: number;
  warpInstructions: number;
  mmaFlops: number;
  globalLoad: Traffic;
  globalStore: Traffic;
  bulkBytes: number;
}

export interface Launch extends Counts {
  /** As demangle.ts has it. */
  kernel: string;
  blocks: number;
  threads: number;
  conflicts: number;
  wavefronts: number;
}

export interface Profile {
  /** The job's kernel. */
  main: Launch;
  /** The same at twice the depth, where the job has one. */
  deeper?: Launch;
  /** Of the operands, each read once and written once. */
  bytes: number;
  /** Of all launches of the op: products, and bytes that the kernels without them move. */
  total: { mmaFlops: number; bytes: number };
}

interface Counted extends Counts {
  kernel: string;
  grid: number[];
  block: number[];
  sharedLoad: Record<'wavefronts' | 'conflicts', number>;
  sharedStore: Record<'wavefronts' | 'conflicts', number>;
  matrix: Record<'wavefronts' | 'conflicts', number>;
}

function launchOf(o: Counted): Launch {
  const product = (xs: number[]): number => xs.reduce((a, b) => a * b, 1);
  const shared = [o.sharedLoad, o.sharedStore, o.matrix];
  const total = (what: 'wavefronts' | 'conflicts'): number => shared.reduce((s, t) => s + t[what], 0);
  return {
    ...{ kernel: shortName(o.kernel), blocks: product(o.grid), threads: product(o.block), dynamicShared: o.dynamicShared },
    ...{ warpInstructions: o.warpInstructions, mmaFlops: o.mmaFlops, bulkBytes: o.bulkBytes },
    ...{ globalLoad: o.globalLoad, globalStore: o.globalStore, conflicts: total('conflicts'), wavefronts: total('wavefronts') },
  };
}

/** Launches of each `job NAME|DEPTH|BYTES` in what launches.ts printed. */
export function parseLaunches(text: string): Map<string, { launches: Launch[]; bytes: number }> {
  const found = new Map<string, { launches: Launch[]; bytes: number }>();
  let now: Launch[] | undefined;
  for (const line of text.split('\n')) {
    const job = /^job (.*)\|(\d+)\|(\d+)$/.exec(line);
    if (job) {
      now = [];
      found.set(`${job[1]}|${job[2]}`, { launches: now, bytes: Number(job[3]) });
    } else if (line === 'end') now = undefined;
    else if (now && line.startsWith('{"kernel":')) now.push(launchOf(JSON.parse(line) as Counted));
  }
  return found;
}

/**
 * Profiles of jobs on a simulated card; a job whose kernel that card does not launch is missing. `special`: of the environment, on top.
 * @throws Error where the simulated device cannot run them
 */
export function profileJobs(jobs: readonly Job[], sm: number, special: Record<string, string> = {}): Map<Job, Profile> {
  if (jobs.length === 0) return new Map();
  const program = path.join(import.meta.dirname, 'launches.ts');
  // One multiprocessor: the small launch then fills it, and the kernel is that of large ones.
  const env = { ...process.env, SIM_CARDS: String(sm), SIM_SMS: '1', SIM_PROFILE: 'json', HEDDLE_PREBUILD: '', ...special };
  const run = spawnSync(process.execPath, ['--import=tsx', program, ...jobs.map(jobName)], { env, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (run.status !== 0) {
    const said = run.stderr.split('\n').find((line) => line.includes('Error')) ?? run.stderr.slice(-200);
    throw new Error(`the simulated sm_${sm} could not run the jobs (npm run build:sim builds it): ${said}`);
  }
  const all = parseLaunches(run.stderr);
  const largest = (job: Job, depth: number): Launch | undefined =>
    (all.get(`${jobName(job)}|${depth}`)?.launches ?? [])
      .filter((l) => job.kernel.test(l.kernel))
      .sort((a, b) => b.warpInstructions - a.warpInstructions)[0];
  const profiles = new Map<Job, Profile>();
  for (const job of jobs) {
    const main = largest(job, job.depth ?? 0);
    const deeper = job.depth ? largest(job, 2 * job.depth) : undefined;
    const { bytes, launches } = all.get(`${jobName(job)}|${job.depth ?? 0}`) ?? { bytes: 0, launches: [] };
    const total = { mmaFlops: 0, bytes: 0 };
    for (const l of launches) {
      total.mmaFlops += l.mmaFlops;
      if (l.mmaFlops === 0) total.bytes += l.globalLoad.bytes + l.globalStore.bytes;
    }
    if (main) profiles.set(job, { main, bytes, total, ...(deeper && { deeper }) });
  }
  return profiles;
}
