// npm run resources [-- 80,90a] [-- --table]: compiles every CUDA source for every architecture and fails on what would make a
// kernel slow or unable to start: spilled registers, stack frames, serialised wgmma, more registers than a block of its
// __launch_bounds__ may have. Needs nvcc, no GPU.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { cudaRemedy, nvcc, root } from './tools.mjs';

const PORTABLE = ['75', '80', '86', '89', '90', '100', '120'];
const HOPPER = '90a'; // *_sm90.cu is compiled for it alone, as in cmake/cuda.cmake
const REGISTERS = 65536; // of a multiprocessor, on every architecture in the list
// As in cmake/cuda.cmake.
const FLAGS = ['-std=c++17', '-O3', '--fmad=false', '--expt-relaxed-constexpr', '-Inative', '-Icuda'];
// What ptxas says when it has given up on something that the source relies on.
const COMPLAINT = /Potential Performance Loss|setmaxnreg ignored|C75\d\d/;

process.chdir(root);
const args = process.argv.slice(2);
const asked = args.find((a) => !a.startsWith('--'))?.split(',');
const compiler = nvcc();
if (!compiler) {
  console.error(`resources: no CUDA compiler here. Install with\n    ${cudaRemedy()}`);
  process.exit(1);
}
const work = mkdtempSync(path.join(tmpdir(), 'heddle-resources-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

// What CMake would generate from native/build_info.h.in.
writeFileSync(path.join(work, 'build_info.h'), '#define HEDDLE_CUDA_ARCHS ""\n');

const sources = readdirSync('cuda', { recursive: true })
  .filter((name) => name.endsWith('.cu'))
  .map((name) => `cuda/${name}`)
  .sort();
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

// One entry per kernel of ptxas' report, with the block size that its PTX states.
function examine(report, ptx) {
  const problems = report.split('\n').filter((text) => COMPLAINT.test(text));
  const kernels = [];
  const pattern =
    /Compiling entry function '(\w+)'[\s\S]*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads[\s\S]*?Used (\d+) registers/g;
  for (const [, name, stack, stores, loads, registers] of report.matchAll(pattern)) {
    const entry = new RegExp(`\\.entry ${name}\\([^{]*\\{`).exec(ptx)?.[0] ?? '';
    const threads = (/\.maxntid (\d+)(?:, (\d+), (\d+))?/.exec(entry)?.slice(1) ?? []).reduce((n, d) => n * Number(d ?? 1), 1);
    const bounded = /\.maxntid/.test(entry);
    const kernel = {
      name,
      registers: Number(registers),
      stack: Number(stack),
      spills: Number(stores) + Number(loads),
      threads: bounded ? threads : 0,
    };
    kernels.push(kernel);
    if (kernel.spills) problems.push(`${name} spills ${kernel.spills} bytes of registers`);
    if (kernel.stack) problems.push(`${name} has a stack frame of ${kernel.stack} bytes`);
    if (!bounded) problems.push(`${name} has no __launch_bounds__: nothing says how many registers a thread may have`);
    else if (Math.ceil(kernel.registers / 8) * 8 * threads > REGISTERS)
      problems.push(`${name} needs ${kernel.registers} registers for ${threads} threads, a multiprocessor has ${REGISTERS}`);
  }
  return { kernels, problems };
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
