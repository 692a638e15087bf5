// npm run resources [-- 80,90a] [-- --table]: compiles every CUDA source for every architecture and fails on what would make a
// kernel slow or unable to start: spilled registers, stack frames, serialised wgmma, more registers than a block of its
// __launch_bounds__ may have. Needs nvcc, no GPU.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { HOPPER, PORTABLE } from './archs.mjs';
import { kernelSources } from './kernel-sources.mjs';
import { examine } from './ptxas.mjs';
import { cudaRemedy, nvcc, root } from './tools.mjs';

// As in cmake/cuda.cmake.
const FLAGS = ['-std=c++17', '-O3', '--fmad=false', '--expt-relaxed-constexpr', '-Inative', '-Icuda'];

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
const work = mkdtempSync(path.join(tmpdir(), 'heddle-resources-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

// What CMake would generate from native/build_info.h.in.
writeFileSync(path.join(work, 'build_info.h'), '#define HEDDLE_CUDA_ARCHS ""\n');

const sources = kernelSources();
const archsOf = (source) =>
  (source.endsWith('_sm90.cu') ? [HOPPER] : PORTABLE).filter(
    (arch) => !asked || asked.includes(arch) || (arch === '90' && asked.includes('90a')),
  );
const jobs = sources.flatMap((source) => archsOf(source).map((arch) => ({ source, arch })));

function compile({ source, arch }, index) {
  const folder = path.join(work, String(index));
  mkdirSync(folder);
  const how = [`-arch=sm_${arch}`, '-cubin', '-Xptxas=-v', '--keep', '--keep-dir', folder, '-o', path.join(folder, 'out.cubin'), source];
  return new Promise((done) => {
    const child = spawn(compiler, [...FLAGS, `-I${work}`, ...how]);
    let said = '';
    child.stdout.on('data', (data) => {
      said += data;
    });
    child.stderr.on('data', (data) => {
      said += data;
    });
    child.on('close', (status) => {
      if (status !== 0) done({ kernels: [], problems: [`does not compile:\n${said}`] });
      else done(examine(said, readFileSync(path.join(folder, `${path.basename(source, '.cu')}.ptx`), 'utf8')));
      rmSync(folder, { recursive: true });
    });
  });
}

async function main() {
  const results = new Array(jobs.length);
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) {
      const index = next++;
      results[index] = await compile(jobs[index], index);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
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
  process.exitCode = failed ? 1 : 0;
}

await main();
