// Our own kernels of a set of jobs: launched on the simulator, compiled, read.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../../lib/native/load.ts';
import { demangle } from './demangle.ts';
import { disassemble } from './disassembler.ts';
import type { Job } from './jobs.ts';
import type { Loop } from './loops.ts';
import { analyseKernel, hotLoop, type Launched, type LoopReport, launched, loopOf } from './model.ts';
import { type Profile, profileJobs } from './profile.ts';
import { functionsOf } from './symbols.ts';

const root = packageRoot();
const load = <T>(name: string): Promise<T> => import(pathToFileURL(path.join(root, 'scripts', name)).href) as Promise<T>;

interface Cubin {
  source: string;
  arch: string;
  cubin: string;
  ptx: string;
  said: string;
  error?: string;
}
const { archFor, compileCubins, compilerVersion } = await load<{
  archFor(source: string, arch: string): string | undefined;
  compileCubins(compiler: string, jobs: { source: string; arch: string }[]): Promise<Cubin[]>;
  compilerVersion(compiler: string): string;
}>('cubins.mjs');
const { kernelFiles } = await load<{ kernelFiles(source: string, top?: string, folders?: string[]): [string, string][] }>(
  'kernel-sources.mjs',
);
const { nvcc, cudaRemedy } = await load<{ nvcc(): string | undefined; cudaRemedy(): string }>('tools.mjs');

export { compilerVersion, cudaRemedy, nvcc };

export interface Own {
  job: Job;
  profile: Profile;
  source: string;
  /** Without a disassembler there is none of these. */
  code?: { kernel: Launched; hash: string; loop: LoopReport; hot: Loop };
}

/** `80`: compiled for sm_80; `90` and `90a`: for sm_90, *_sm90.cu for sm_90a. */
async function cubinOf(compiler: string, source: string, sm: number): Promise<Cubin | undefined> {
  const arch = archFor(source, String(sm));
  if (arch === undefined || !existsSync(path.join(root, source))) return undefined;
  const [cubin] = await compileCubins(compiler, [{ source, arch }]);
  if (cubin?.error !== undefined) throw new Error(`${source} for sm_${arch} ${cubin.error}`);
  return cubin;
}

/** Whether a source or a header of it names the kernel: compiling them all to see takes minutes. */
const mentions = (source: string, kernel: string): boolean =>
  existsSync(path.join(root, source)) && kernelFiles(source, root).some(([, text]) => text.includes(`${kernel.split('<')[0]}(`));

export interface Found {
  kernel: Launched;
  /** Of its machine code. */
  hash: string;
  loop: LoopReport;
  hot: Loop;
  source: string;
}

function hashIn(cubin: string, kernel: string): string | undefined {
  const [, found] = [...functionsOf(cubin)].find(([symbol]) => demangle(symbol) === kernel) ?? [];
  return found && createHash('sha256').update(found.code).digest('hex').slice(0, 16);
}

/** Of a kernel's machine code: the same digits, the same instructions. Needs no disassembler. */
export async function codeHash(compiler: string, kernel: string, source: string, sm: number): Promise<string | undefined> {
  const cubin = mentions(source, kernel) ? await cubinOf(compiler, source, sm) : undefined;
  return cubin && hashIn(cubin.cubin, kernel);
}

/** The kernel of that name in the first of the sources that has it. */
export async function findKernel(
  o: { compiler: string; nvdisasm: string; sm: number; sources: readonly string[]; schedule?: boolean },
  name: string,
  shape: { threads: number; dynamicShared: number; dramShare: number; walks?: boolean | undefined },
): Promise<Found | undefined> {
  for (const source of o.sources.filter((s) => mentions(s, name))) {
    const cubin = await cubinOf(o.compiler, source, o.sm);
    const [code] = cubin ? disassemble(o.nvdisasm, cubin.cubin, (n) => n === name) : [];
    if (!code) continue;
    const kernel = launched(code, shape);
    const loop = hotLoop(analyseKernel(kernel, o.schedule ?? true));
    const hot = loop && loopOf(kernel, loop);
    const hash = cubin && hashIn(cubin.cubin, name);
    if (loop && hot && hash) return { kernel, hash, loop, hot, source };
  }
  return undefined;
}

/** Of the bytes that a launch asks for, the share that its operands have once: the rest is found in a cache. A loop over rows has all. */
export function dramShareOf({ bytes, main }: Profile, walks = false): number {
  if (walks) return 1;
  const moved = main.globalLoad.bytes + main.globalStore.bytes;
  return bytes > 0 && moved > bytes ? bytes / moved : 1;
}

/** `nvdisasm` undefined: what the simulator tells, alone. `env`: what makes the launches take other kernels than by themselves. */
export async function ownKernels(o: {
  compiler: string;
  nvdisasm: string | undefined;
  sm: number;
  jobs: readonly Job[];
  env?: Record<string, string>;
}): Promise<Own[]> {
  const found: Own[] = [];
  for (const [job, profile] of profileJobs(o.jobs, o.sm, o.env)) {
    const { kernel: name, threads, dynamicShared } = profile.main;
    const own: Own = { job, profile, source: job.sources.find((s) => mentions(s, name)) ?? '' };
    if (o.nvdisasm) {
      const shape = { threads, dynamicShared, dramShare: dramShareOf(profile, job.walks), walks: job.walks };
      const code = await findKernel({ compiler: o.compiler, nvdisasm: o.nvdisasm, sm: o.sm, sources: job.sources }, name, shape);
      if (!code) throw new Error(`static report: ${name} (${job.subject}: ${job.name}) is in none of ${job.sources.join(', ')}`);
      found.push({ ...own, code, source: code.source });
    } else found.push(own);
  }
  return found;
}
