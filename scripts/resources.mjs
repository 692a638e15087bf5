// npm run resources [-- 80,90a] [-- --table]: compiles every CUDA source for every architecture and fails on what would make a
// kernel slow or unable to start: spilled registers, stack frames, serialised wgmma, more registers than a block of its
// __launch_bounds__ may have, narrow ldmatrix or Hopper's mma.sync in a loop. Then compares hot loops with those recorded in
// bench/static/recorded.json: instructions per MFLOP, predicted ceiling. Needs nvcc, no GPU; nvdisasm for the comparison.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { HOPPER, PORTABLE } from './archs.mjs';
import { compileCubins } from './cubins.mjs';
import { kernelSources } from './kernel-sources.mjs';
import { examine, loopProblems } from './ptxas.mjs';
import { cudaRemedy, nvcc, root } from './tools.mjs';

process.chdir(root);
const args = process.argv.slice(2);
const list = args.filter((a) => !a.startsWith('--')).flatMap((a) => a.split(','));
const asked = list.length ? list : undefined;
const compiler = nvcc();
if (!compiler) {
  console.error(`resources: no CUDA compiler here. Install with\n    ${cudaRemedy()}`);
  process.exit(1);
}
const unknown = list.filter((arch) => ![...PORTABLE, HOPPER].includes(arch)); // nothing would be compiled, and nothing found wrong
if (unknown.length) {
  console.error(`resources: architectures are ${[...PORTABLE, HOPPER].join(', ')}, got ${unknown.join(', ')}`);
  process.exit(1);
}
const sources = kernelSources();
const archsOf = (source) =>
  (source.endsWith('_sm90.cu') ? [HOPPER] : PORTABLE).filter(
    (arch) => !asked || asked.includes(arch) || (arch === '90' && asked.includes('90a')),
  );
const jobs = sources.flatMap((source) => archsOf(source).map((arch) => ({ source, arch })));

async function main() {
  const results = await compileCubins(compiler, jobs, ({ source, error, said, ptx }) => {
    if (error) return { kernels: [], problems: [error] };
    const { kernels, problems } = examine(said, ptx);
    return { kernels, problems: [...problems, ...loopProblems(ptx, source)] };
  });
  let failed = 0;
  let kernels = 0;
  for (const [i, { source, arch }] of jobs.entries()) {
    const { kernels: found, problems } = results[i];
    kernels += found.length;
    if (args.includes('--table'))
      for (const k of found) console.log(`${source} sm_${arch} ${k.registers} registers, ${k.threads} threads: ${k.name}`);
    for (const problem of problems) console.error(`${source} for sm_${arch}: ${problem}`);
    failed += problems.length;
  }
  const most = results.flatMap((r) => r.kernels).reduce((a, k) => Math.max(a, k.registers), 0);
  console.log(
    `resources: ${sources.length} sources, ${[...new Set(jobs.map((j) => `sm_${j.arch}`))].join(' ')}: ${kernels} kernels, at most ${most} registers, ` +
      (failed ? `${failed} problems` : 'no spills, no stack frames'),
  );
  const archs = [...new Set(jobs.map((j) => j.arch))];
  const gate = spawnSync(process.execPath, ['--import=tsx', path.join(root, 'bench', 'static', 'gate.ts'), ...archs], { stdio: 'inherit' });
  process.exitCode = failed || gate.status !== 0 ? 1 : 0;
}

await main();
