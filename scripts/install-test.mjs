// npm run test:package: packs what would be published, installs it as a stranger would (npm i, then npm ci with the lock file)
// in an empty folder with no compiler, CMake, make or Python on PATH, and trains three steps there. Makes prebuilds/ anew, with CUDA kernels
// where nvcc is: for one architecture and Hopper, which takes a minute or two; HEDDLE_ARCHS asks for others.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { codeFor, SMALL } from './archs.mjs';
import { gpuCodeProblem } from './fatbin.mjs';
import { kernelSources } from './kernel-sources.mjs';
import { fromBuild } from './prebuild.mjs';
import { root } from './tools.mjs';

const MAX_PACKAGES = 40;
const TOOLS = ['c++', 'g++', 'gcc', 'cc', 'clang', 'clang++', 'cmake', 'make', 'ninja', 'python', 'python3', 'node-gyp'];
const PROGRAMS = ['node', 'npm', 'sh', 'env', 'tar', 'gzip', 'uname', 'ldd', 'cat']; // the whole PATH of the test
process.chdir(root);
const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-install-'));
const consumer = path.join(folder, 'consumer');
const bin = path.join(folder, 'bin');

function assert(ok, message) {
  console.log(`${ok ? 'ok' : 'NOT OK'}: ${message}`);
  if (!ok) throw new Error(message);
}

function barePath() {
  mkdirSync(bin, { recursive: true });
  for (const name of PROGRAMS) {
    const found =
      name === 'node'
        ? process.execPath
        : process.env.PATH.split(path.delimiter)
            .map((d) => path.join(d, name))
            .find(existsSync);
    if (found) symlinkSync(found, path.join(bin, name));
  }
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|HEDDLE_|CXX$|CC$)/.test(name)));
  return { ...env, PATH: bin };
}

function run(env, program, ...args) {
  const { status, stdout, stderr } = spawnSync(path.join(bin, program), args, { cwd: consumer, env, encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`);
  return stdout;
}

function checkPackages() {
  const { packages } = JSON.parse(readFileSync(path.join(consumer, 'node_modules/.package-lock.json'), 'utf8'));
  const names = Object.keys(packages).filter(Boolean);
  assert(
    names.length <= MAX_PACKAGES,
    `${names.length} packages installed, at most ${MAX_PACKAGES}: ${names.map((n) => n.replace('node_modules/', '')).join(', ')}`,
  );
  const scripts = names.filter((name) => {
    const { scripts = {} } = JSON.parse(readFileSync(path.join(consumer, name, 'package.json'), 'utf8'));
    return ['preinstall', 'install', 'postinstall'].some((s) => s in scripts) || existsSync(path.join(consumer, name, 'binding.gyp'));
  });
  assert(scripts.length === 0, `none with an install script${scripts.length ? `, but ${scripts.join(', ')}` : ''}`);
}

function checkItWorks(env) {
  const report = JSON.parse(run(env, 'node', 'node_modules/heddle/dist/cli/main.js', 'doctor', '--json'));
  assert(report.ok, 'heddle doctor finds no problem');
  assert(report.findings.find((f) => f.name === 'binary').value.includes('prebuilds'), 'the prebuilt binary is used');
  cpSync(path.join(root, 'test/package/train.mjs'), path.join(consumer, 'train.mjs'));
  const { losses } = JSON.parse(run(env, 'node', 'train.mjs').trim().split('\n').at(-1));
  assert(
    losses.length === 3 && losses.every(Number.isFinite) && losses[2] < losses[0],
    `three training steps: loss ${losses.map((l) => l.toFixed(4)).join(', ')}`,
  );
}

// A TypeScript user's view: compiled strictly against the installed package, with this repository's compiler.
function checkTypes() {
  cpSync(path.join(root, 'test/package/types.ts'), path.join(consumer, 'types.ts'));
  const compilerOptions = {
    ...{ noEmit: true, strict: true, target: 'es2022', lib: ['es2023', 'esnext.disposable'], module: 'nodenext' },
    ...{ typeRoots: [path.join(root, 'node_modules/@types')], types: ['node'] }, // as every TypeScript user of Node has
  };
  writeFileSync(path.join(consumer, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['types.ts'] }));
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', '.'], { cwd: consumer, encoding: 'utf8' });
  assert(status === 0, `its types serve a strict TypeScript user${status === 0 ? '' : `, but:\n${stdout}`}`);
}

// Only what was read in the file counts.
function checkGpuCode() {
  if (process.env.HEDDLE_CUDA !== 'ON') return console.log('not checked: GPU code (no CUDA compiler here, or HEDDLE_CUDA says no)');
  const folder = path.join(root, `prebuilds/${process.platform}-${process.arch}`);
  const wanted = codeFor(process.env.HEDDLE_ARCHS.split(','));
  for (const name of readdirSync(folder)) {
    const problem = gpuCodeProblem(readFileSync(path.join(folder, name)), wanted, kernelSources());
    assert(!problem, `${name} holds GPU code for ${wanted.join(' ')}${problem ? `, but ${problem}` : ''}`);
  }
}

try {
  process.env.HEDDLE_ARCHS ??= SMALL.join(',');
  assert(fromBuild(), 'prebuilt binary');
  checkGpuCode();
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { encoding: 'utf8' });
  const tarball = `../${JSON.parse(packed)[0].filename}`;
  mkdirSync(consumer);
  writeFileSync(path.join(consumer, 'package.json'), '{ "name": "consumer", "private": true, "type": "module" }\n');
  const env = barePath();
  const found = TOOLS.filter((name) => existsSync(path.join(bin, name)));
  assert(found.length === 0, 'no compiler, CMake, make or Python on PATH');

  for (const [title, args] of [
    ['npm i', ['i', tarball]],
    ['npm ci', ['ci']],
  ]) {
    console.log(`\n== ${title}`);
    rmSync(path.join(consumer, 'node_modules'), { recursive: true, force: true });
    run(env, 'npm', ...args, '--no-audit', '--no-fund');
    checkPackages();
    checkItWorks(env);
    checkTypes();
  }
} catch (e) {
  console.error(`install test: ${e.message}`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
