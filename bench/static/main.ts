// npm run bench -- SUBJECT ... --static [--archs 80,90] [--python PYTHON] [--record]: what bounds our kernels, read from their machine code. A
// model, not a measurement.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { packageRoot } from '../../lib/native/load.ts';
import { ArgumentError } from '../../lib/util/errors.ts';
import { archOf } from './archs.ts';
import { budgetLines } from './budget.ts';
import { DISASSEMBLER_REMEDY, findDisassembler } from './disassembler.ts';
import { JOBS, SUBJECTS } from './jobs.ts';
import { MEMORY_JOBS, memoryLines } from './memory.ts';
import { compilerVersion, cudaRemedy, nvcc, type Own, ownKernels } from './ours.ts';
import { tritonPeers } from './peers.ts';
import { plansOf, planTile } from './plans.ts';
import { ownLines, peerLines } from './print.ts';
import { GPT2_PRODUCTS } from './products.ts';
import { profileJobs } from './profile.ts';
import { record } from './recorded.ts';
import { shapeLines, shapeShares } from './shapes.ts';
import { tileKernels } from './tiles.ts';

export interface StaticOptions {
  subjects: readonly string[];
  archs: readonly number[];
  /** An interpreter that has triton. */
  python?: string | undefined;
  record: boolean;
}

const hasTriton = (python: string): boolean => spawnSync(python, ['-c', 'import triton']).status === 0;

/** The simulated CUDA device that launches are counted on: built where it is missing or stale. */
function buildSimulator(): void {
  const setup = path.join(packageRoot(), 'scripts', 'setup.mjs');
  if (spawnSync(process.execPath, [setup, '--sim'], { stdio: 'inherit' }).status !== 0)
    throw new Error('static report: npm run build:sim failed');
}

export async function staticReport(o: StaticOptions): Promise<unknown> {
  const compiler = nvcc();
  if (!compiler) throw new ArgumentError(`static report: no CUDA compiler here. Install with\n    ${cudaRemedy()}`);
  if (o.python !== undefined && !hasTriton(o.python))
    throw new ArgumentError(`--python must name an interpreter that has triton (pip install triton), got ${o.python}`);
  const budget = o.subjects.includes('gpt2');
  const subjects = o.subjects.length > 0 && !budget ? o.subjects : SUBJECTS;
  const nvdisasm = findDisassembler(compiler, o.python);
  const version = compilerVersion(compiler);
  console.log(`model, not measured: from machine code of nvcc ${version} and launches on the simulator`);
  if (!nvdisasm) console.log(`without machine code: ${DISASSEMBLER_REMEDY}`);
  if ((o.record || budget) && !nvdisasm) throw new ArgumentError(`--record and gpt2 need a disassembler: ${DISASSEMBLER_REMEDY}`);
  if (o.record && o.subjects.length > 0) throw new ArgumentError(`--record records all subjects, got ${o.subjects.join(' ')}`);
  buildSimulator();
  const rows: { sm: number; own: Own }[] = [];
  for (const sm of o.archs) {
    console.log(`\nsm_${sm} (${archOf(sm).name})`);
    const jobs = JOBS.filter((job) => subjects.includes(job.subject));
    const how = { compiler, nvdisasm, sm };
    const tiles = await tileKernels({ ...how, jobs: jobs.filter((job) => job.product) });
    const plans = plansOf(sm, tiles.length > 0 ? GPT2_PRODUCTS : []);
    const taken = tiles.filter(({ job, tile }) => [...plans].some(([p, plan]) => p.kind === job.product && planTile(plan) === tile));
    const owns = [...taken, ...(await ownKernels({ ...how, jobs: jobs.filter((job) => !job.product) }))];
    const wanted = [...new Set(jobs.flatMap((job) => job.peer ?? []))];
    const peers = o.python && nvdisasm ? tritonPeers(o.python, nvdisasm, sm, wanted, (line) => console.log(`  ${line}`)) : [];
    for (const own of owns) {
      if (!budget) for (const line of [...ownLines(own), ...peerLines(peers.filter((p) => p.job === own.job.peer))]) console.log(line);
      rows.push({ sm, own });
    }
    const shares = shapeShares(tiles, plans, peers);
    for (const line of budget ? budgetLines(owns, shares) : shapeLines(shares)) console.log(line);
    if (o.subjects.length === 0 || o.subjects.includes('memory'))
      for (const line of memoryLines(profileJobs(MEMORY_JOBS, sm))) console.log(line);
  }
  if (o.record) record(version, rows);
  return rows.map(({ sm, own }) => ({
    ...{ sm, subject: own.job.subject, job: own.job.name, kernel: own.profile.main.kernel, source: own.source, profile: own.profile },
    ...(own.code && { registers: own.code.kernel.registers, blocksPerSm: own.code.kernel.blocksPerSm, loop: own.code.loop }),
  }));
}
