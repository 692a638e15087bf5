// npm run prebuildify: the binary of this platform into prebuilds/, for npm pack. CUDA is built in where nvcc is
// (HEDDLE_CUDA=OFF leaves it out; HEDDLE_ARCHS=80 makes a smaller one, in less time). No network: node-gyp gets an empty set of headers, because our target compiles nothing with gyp.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';
import { node, passes } from './run.mjs';
import { nvcc, root } from './tools.mjs';

export function prebuild() {
  const hasPython = ['python3', 'python'].some((name) => spawnSync(name, ['--version']).status === 0);
  if (!hasPython) console.log('prebuild: no Python for node-gyp, so without prebuildify');
  return hasPython ? withPrebuildify() : fromBuild();
}

function empty() {
  rmSync(path.join(root, 'prebuilds'), { recursive: true, force: true });
  if (process.platform === 'linux') process.env.HEDDLE_CUDA ??= nvcc() ? 'ON' : 'OFF';
}

function withPrebuildify() {
  empty();
  const nodedir = path.join(root, 'node_modules/.cache/no-headers');
  mkdirSync(path.join(nodedir, 'include/node'), { recursive: true });
  for (const name of ['common.gypi', 'config.gypi']) writeFileSync(path.join(nodedir, 'include/node', name), '{}\n');
  const args = ['node_modules/prebuildify/bin.js', '--napi', '--strip', '--tag-libc', '-t', '20.19.0'];
  return node(args, { npm_config_nodedir: nodedir });
}

// Without node-gyp, which needs Python and begins by deleting build/. All that it does for us is to call the same build;
// prebuildify then strips and copies.
export function fromBuild() {
  empty();
  build();
  const libc = process.platform === 'linux' ? (existsSync('/etc/alpine-release') ? '.musl' : '.glibc') : '';
  const file = path.join(root, `prebuilds/${process.platform}-${process.arch}/heddle${libc}.node`);
  mkdirSync(path.dirname(file), { recursive: true });
  copyFileSync(path.join(root, 'build/Release/heddle.node'), file);
  return passes('strip', [file, ...(process.platform === 'darwin' ? ['-Sx'] : ['--strip-all'])]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = prebuild() ? 0 : 1;
