// The machine code of a CUDA source for one architecture, as nvcc makes it for a release (cmake/cuda.cmake), with its PTX and what ptxas
// said. Kept in build/cubins until the source, a header of it, or the compiler changes.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { HOPPER } from './archs.mjs';
import { kernelFiles } from './kernel-sources.mjs';
import { simulatedPtx } from './sim-ptx.mjs';
import { root } from './tools.mjs';

// As in cmake/cuda.cmake; -lineinfo adds a table and leaves the instructions alone.
const FLAGS = ['-std=c++17', '-O3', '--fmad=false', '--expt-relaxed-constexpr', '-lineinfo', '-Inative', '-Icuda'];
// What CMake would generate from native/build_info.h.in.
const BUILD_INFO = '#define HEDDLE_CUDA_ARCHS ""\n';

// `V13.0.88`
export function compilerVersion(compiler) {
  const said = spawnSync(compiler, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  return /release [\d.]+, (V[\d.]+)/.exec(said)?.[1] ?? 'unknown';
}

// Files that a header of the ops belongs to, too: a change of an argument struct is a change of the code.
const hashOf = (source, arch, version) => {
  const hash = createHash('sha256').update(JSON.stringify([source, arch, version, FLAGS, BUILD_INFO]));
  for (const [file, text] of kernelFiles(source, root, ['cuda', 'native'])) hash.update(`${file}\n${text.length}\n`).update(text);
  return hash.digest('hex');
};

// *_sm90.cu is compiled for Hopper alone, and every other source for whatever is asked.
export const archFor = (source, arch) =>
  source.endsWith('_sm90.cu') ? (arch.startsWith('90') ? HOPPER : undefined) : arch.replace('a', '');

function run(compiler, args) {
  return new Promise((done) => {
    const child = spawn(compiler, args, { cwd: root });
    let said = '';
    const listen = (data) => {
      said += data;
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.on('error', (e) => done({ status: -1, said: e.message }));
    child.on('close', (status) => done({ status, said }));
  });
}

// { source, arch, cubin: a path, ptx: text, said: what ptxas -v printed } or, where it does not compile, { source, arch, error }.
async function compileOne(compiler, version, { source, arch }) {
  const folder = path.join(root, 'build', 'cubins', arch, source.slice('cuda/'.length, -'.cu'.length).replaceAll('/', '.'));
  const files = { cubin: path.join(folder, 'code.cubin'), ptx: path.join(folder, 'code.ptx'), said: path.join(folder, 'ptxas.txt') };
  const stamp = path.join(folder, 'stamp');
  const hash = hashOf(source, arch, version);
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== hash) {
    mkdirSync(path.dirname(folder), { recursive: true });
    const work = mkdtempSync(`${folder}.`); // beside it, so that two processes never write into one another's
    writeFileSync(path.join(work, 'build_info.h'), BUILD_INFO);
    const out = path.join(work, 'code.cubin');
    const ptxFile = path.join(work, `${path.basename(source, '.cu')}.ptx`);
    const half = simulatedPtx(source, arch, version);
    if (half) writeFileSync(ptxFile, half);
    const how = [`-arch=sm_${arch}`, '-cubin', '-Xptxas=-v', ...(half ? [] : ['--keep', '--keep-dir', work]), '-o', out];
    const { status, said } = await run(compiler, [...FLAGS, `-I${work}`, ...how, half ? ptxFile : source]);
    if (status !== 0) {
      rmSync(work, { recursive: true });
      return { source, arch, error: `does not compile:\n${said}` };
    }
    const ptx = readFileSync(ptxFile, 'utf8');
    const keep = mkdtempSync(`${folder}.`);
    renameSync(out, path.join(keep, 'code.cubin'));
    writeFileSync(path.join(keep, 'code.ptx'), ptx);
    writeFileSync(path.join(keep, 'ptxas.txt'), said);
    writeFileSync(path.join(keep, 'stamp'), hash);
    rmSync(work, { recursive: true });
    rmSync(folder, { recursive: true, force: true });
    renameSync(keep, folder);
  }
  return { source, arch, cubin: files.cubin, ptx: readFileSync(files.ptx, 'utf8'), said: readFileSync(files.said, 'utf8') };
}

// jobs: { source: 'cuda/….cu', arch: '80' }, compiled side by side; what `use` makes of the results, in their order.
export async function compileCubins(compiler, jobs, use = (result) => result) {
  const version = compilerVersion(compiler);
  const results = new Array(jobs.length);
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) {
      const index = next++;
      results[index] = use(await compileOne(compiler, version, jobs[index]));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}
