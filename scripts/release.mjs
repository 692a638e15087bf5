// npm run release: makes the published tarball for this platform and checks it. No network. Must run through npm, whose
// node-gyp prebuildify uses; node-gyp needs Python, nothing else here does.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { codeFor, PORTABLE } from './archs.mjs';
import { gpuCodeProblem } from './fatbin.mjs';
import { kernelSources } from './kernel-sources.mjs';
import { prebuild } from './prebuild.mjs';
import { CUDA_MINIMUM, nvcc, root } from './tools.mjs';

const GLIBC_FLOOR = 34; // 2.34
const MAX_MB = 50;
const linux = process.platform === 'linux';
process.chdir(root);
const require = createRequire(import.meta.url);

function assert(ok, message) {
  console.log(`${ok ? 'ok' : 'NOT OK'}: ${message}`);
  if (!ok) process.exit(1);
}

function checkLibraries(name, text) {
  const glibc = Math.max(...[...text.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor)));
  assert(glibc <= GLIBC_FLOOR, `${name} asks for glibc 2.${glibc}, the floor is 2.${GLIBC_FLOOR}`);
  assert(!text.includes('GLIBCXX_3'), 'it does not ask for libstdc++');
}

// HEDDLE_ARCHS makes a smaller tarball, which is no release.
const archs = process.env.HEDDLE_ARCHS?.split(',') ?? PORTABLE;

if (linux) assert(nvcc(), `nvcc ${CUDA_MINIMUM} or newer is here: a release has the CUDA kernels`);
assert(prebuild(), 'prebuildify');
const folder = `prebuilds/${process.platform}-${process.arch}`;
for (const name of linux ? readdirSync(folder) : []) {
  const file = path.join(root, folder, name);
  const bytes = readFileSync(file);
  checkLibraries(name, bytes.toString('latin1'));
  const wanted = codeFor(archs);
  const problem = gpuCodeProblem(bytes, wanted, kernelSources());
  assert(
    !problem,
    `each .cu file of ${name} has GPU code for ${wanted.join(' ')}, *_sm90.cu for sm_90a alone${problem ? `, but ${problem}` : ''}`,
  );
  assert(require(file).info().cudaArchs === wanted.join(' '), 'and it says so itself');
}

// --ignore-scripts: the lines of `prepare` would spoil the JSON
const [{ filename, files }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--ignore-scripts'], { encoding: 'utf8' }));
const mb = statSync(filename).size / 2 ** 20;
const has = (test) => files.some((f) => test(f.path));
assert(mb < MAX_MB, `${filename} is ${mb.toFixed(2)} MB, the limit is ${MAX_MB}`);
assert(!has((name) => name === 'binding.gyp'), 'no binding.gyp in it'); // npm ci would run node-gyp
for (const name of [
  'dist/index.js',
  'dist/index.d.ts',
  'dist/cli/main.js',
  'CMakeLists.txt',
  'scripts/build.mjs',
  'LICENSE',
  'README.md',
]) {
  assert(
    has((file) => file === name),
    `${name} in it`,
  );
}
assert(
  has((name) => name.startsWith(folder) && name.endsWith('.node')),
  `the binary of ${process.platform}-${process.arch} in it`,
);
