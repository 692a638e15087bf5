// npm run release: makes the published tarball for this platform and checks it. No network. Must run through npm, whose
// node-gyp prebuildify uses; node-gyp needs Python, nothing else here does.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { gpuCode } from './fatbin.mjs';
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

// Every .cu gave either the whole portable list or sm_90a alone.
function checkGpuCode(name, bytes, wanted) {
  const found = gpuCode(bytes);
  const sorted = (archs) => [...new Set(archs)].sort().join(' ');
  assert(found.length > 0 && sorted(found.flat()) === sorted(wanted), `${name} has GPU code for ${sorted(wanted)}`);
  const portable = sorted(wanted.filter((a) => a !== 'sm_90a'));
  assert(
    found.every((archs) => ['sm_90a', portable].includes(sorted(archs))),
    `each of its ${found.length} .cu files has all of its architectures`,
  );
}

if (linux) assert(nvcc(), `nvcc ${CUDA_MINIMUM} or newer is here: a release has the CUDA kernels`);
assert(prebuild(), 'prebuildify');
const folder = `prebuilds/${process.platform}-${process.arch}`;
for (const name of linux ? readdirSync(folder) : []) {
  const file = path.join(root, folder, name);
  const bytes = readFileSync(file);
  checkLibraries(name, bytes.toString('latin1'));
  checkGpuCode(name, bytes, require(file).info().cudaArchs.split(' '));
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
