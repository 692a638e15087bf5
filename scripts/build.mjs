// Builds the addon from source with cmake-js: for `npx heddle build` in an installed package, for setup.mjs and binding.gyp
// in a clone. Options come as environment variables, see CMakeLists.txt.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { explain, hasNinja, installer, installTools, missingTools, root } from './tools.mjs';

const require = createRequire(import.meta.url);
const BUILD_PACKAGES = ['cmake-js', 'node-addon-api'];

function isAbsent(name) {
  try {
    require.resolve(`${name}/package.json`);
    return false;
  } catch {
    return true;
  }
}

// Throws with a message for people. `stdio` as in child_process. Returns what was built, in words.
export function build(stdio = 'inherit') {
  const missing = missingTools();
  if (missing.length) throw new Error(explain(missing));
  const absent = BUILD_PACKAGES.filter(isAbsent);
  if (absent.length) {
    const { peerDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    const list = absent.map((name) => `${name}@${peerDependencies[name].replace(/^\^(\d+).*/, '$1')}`).join(' ');
    throw new Error(`Missing: ${absent.join(', ')}. Install with\n    npm install --no-save ${list}\nand run this command again.`);
  }
  const out = path.join(root, 'build', 'cmake');
  const program = require.resolve('cmake-js/bin/cmake-js');
  const cmakeJs = (...args) =>
    spawnSync(process.execPath, [program, ...args, '--directory', root, '--out', out], { stdio, cwd: root }).status === 0;
  // A CMake folder made at another place, or before ninja was installed, cannot be used again.
  const cacheFile = path.join(out, 'CMakeCache.txt');
  const cache = existsSync(cacheFile) ? readFileSync(cacheFile, 'utf8') : '';
  const fits =
    cache.includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`) && cache.includes('CMAKE_GENERATOR:INTERNAL=Ninja\n') === hasNinja();
  if (!fits) rmSync(out, { recursive: true, force: true });
  // configure every time: `build` alone keeps the options of the last one
  if (!cmakeJs('configure')) throw new Error('CMake could not configure the build.');
  if (!cmakeJs('build', '--parallel', String(availableParallelism()))) throw new Error('The build failed.');
  return readFileSync(path.join(out, 'note.txt'), 'utf8').trim();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const how = missingTools().length ? installer() : undefined;
    if (how) {
      console.log(`installing ${missingTools().join(', ')} with ${how}`);
      installTools(how, 'inherit');
    }
    console.log(`built: ${build()}`);
  } catch (e) {
    console.error(`build: ${e.message}`);
    process.exitCode = 1;
  }
}
