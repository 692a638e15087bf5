// Builds the addon from source with cmake-js: for `npx heddle build` in an installed package, for setup.mjs and binding.gyp
// in a clone. Options come as environment variables, see CMakeLists.txt.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  CUDA_MINIMUM,
  cudaRemedy,
  explain,
  fetchPackages,
  hasNinja,
  installer,
  installTools,
  missingTools,
  nvcc,
  resolve,
  root,
} from './tools.mjs';

// Paths of cmake-js and of node-addon-api's headers. In a clone they are development dependencies; in an installed package they are
// fetched into build/tools at the first build, because as dependencies they would bring 40 packages to everyone.
function locateBuildPackages(stdio) {
  const files = { 'cmake-js': 'cmake-js/bin/cmake-js', 'node-addon-api': 'node-addon-api/package.json' };
  const absent = Object.keys(files).filter((name) => !resolve(files[name]));
  if (absent.length) {
    const { devDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    const specs = absent.map((name) => `${name}@${devDependencies[name]}`);
    if (stdio === 'inherit') console.log(`fetching ${specs.join(' and ')} with npm`);
    if (!fetchPackages(specs, stdio))
      throw new Error(
        `Missing: ${absent.join(', ')}. Install with\n    npm install --no-save ${absent.join(' ')}\nand run this command again.`,
      );
  }
  return { program: resolve(files['cmake-js']), headers: path.dirname(resolve(files['node-addon-api'])) };
}

// What the build without the simulator has compiled for the CPU, if all of it is there.
function cpuObjects() {
  const list = path.join(root, 'build/cmake/cpu_objects.txt');
  const complete = existsSync(list) && readFileSync(list, 'utf8').trim().split('\n').every(existsSync);
  return complete ? list : '';
}

// Throws with a message for people. `stdio` as in child_process. Returns what was built, in words. `sim`: the addon whose CUDA device
// is simulated, in build/sim/Release. `tests`: the native tests, too.
export function build(stdio = 'inherit', { sim = false, tests = sim } = {}) {
  const missing = missingTools();
  if (missing.length) throw new Error(explain(missing));
  if (sim && !nvcc()) throw new Error(`Missing: nvcc, the CUDA compiler, ${CUDA_MINIMUM} or newer. Install with\n    ${cudaRemedy()}`);
  const { program, headers } = locateBuildPackages(stdio);
  const env = { ...process.env, HEDDLE_NODE_ADDON_API: headers };
  const out = path.join(root, 'build', ...(sim ? ['sim'] : []), 'cmake');
  // kept in the CMake folder: ninja may configure it anew by itself
  const options = sim ? ['--CDHEDDLE_SIM=ON', `--CDHEDDLE_CPU_OBJECTS=${cpuObjects()}`] : [];
  const cmakeJs = (...args) =>
    spawnSync(process.execPath, [program, ...args, ...options, '--directory', root, '--out', out], { stdio, cwd: root, env }).status === 0;
  // A CMake folder made at another place, or before ninja was installed, cannot be used again.
  const cacheFile = path.join(out, 'CMakeCache.txt');
  const cache = existsSync(cacheFile) ? readFileSync(cacheFile, 'utf8') : '';
  const fits =
    cache.includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`) && cache.includes('CMAKE_GENERATOR:INTERNAL=Ninja\n') === hasNinja();
  if (!fits) rmSync(out, { recursive: true, force: true });
  // configure every time: `build` alone keeps the options of the last one
  if (!cmakeJs('configure')) throw new Error('CMake could not configure the build.');
  if (!cmakeJs('build', ...(tests ? [] : ['--target', 'heddle']), '--parallel', String(availableParallelism())))
    throw new Error('The build failed.');
  return readFileSync(path.join(out, 'note.txt'), 'utf8').trim();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const how = missingTools().length ? installer() : undefined;
    if (how) {
      console.log(`installing ${missingTools().join(', ')} with ${how}`);
      installTools(how, 'inherit');
    }
    console.log(`built: ${build('inherit', { sim: process.argv.includes('--sim') })}`);
  } catch (e) {
    console.error(`build: ${e.message}`);
    process.exitCode = 1;
  }
}
