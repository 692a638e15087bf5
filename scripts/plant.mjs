// Plants a bug in a kernel: compiles the changed unit as an existing build does, and links an addon that holds it in place of the sound one.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './tools.mjs';

const objects = (folder) =>
  readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.o'))
    .map((name) => path.join(folder, name));

// The unit as CMake compiles it, from the changed sources; of several architectures for `card` alone, if it is given.
function compile(unit, object, { built, sources, card }) {
  const commands = JSON.parse(readFileSync(path.join(built, 'compile_commands.json'), 'utf8'));
  const entry = commands.find((c) => c.file === path.join(root, unit));
  if (!entry) throw new Error(`${unit} is not a source of the build in ${built}`);
  const command = entry.command
    .replaceAll(`${root}/cuda`, `${sources}/cuda`)
    .replaceAll(`${root}/native`, `${sources}/native`)
    .replace(/ --generate-code=arch=compute_(\d+),\S+/g, (option, arch) => (!card || arch === card ? option : ''))
    .replace(/ -o \S+/, ` -o ${object}`);
  execFileSync('sh', ['-c', command], { cwd: built, stdio: ['ignore', 'ignore', 'pipe'] });
}

// What takes cudart's place in a simulated build; cudart itself in another.
function runtime(built) {
  const simulator = path.join(built, 'sim/libcudart_sim.a');
  if (existsSync(simulator)) return [simulator];
  const cache = readFileSync(path.join(built, 'CMakeCache.txt'), 'utf8');
  return [/^CUDA_cudart_static_LIBRARY:\w+=(.+)$/m.exec(cache)?.[1] ?? '-lcudart_static', '-lrt'];
}

// The changed units come before the engine's archive, whose own copies of them are then left out.
function link(changed, built, binary) {
  mkdirSync(path.dirname(binary), { recursive: true });
  const inputs = [...objects(path.join(built, 'CMakeFiles/heddle.dir')), ...changed, path.join(built, 'libengine.a'), ...runtime(built)];
  execFileSync(process.env.CXX ?? 'c++', ['-shared', '-fPIC', '-o', binary, ...inputs, '-Wl,--exclude-libs,ALL', '-ldl', '-lpthread'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

const firstLine = (text) => text.trim().split('\n')[0];

// `file` with `find`, a text that occurs once, replaced (or lists of both); `units`: the .cu files to compile anew where `file` is a header.
// `built`: a folder of CMake. Leaves the addon in `work`, to be used as HEDDLE_PREBUILD; throws, with a reason in one line, where it cannot
// be planted.
export function plant({ file, find, replace, units = [file] }, { built, work, card }) {
  rmSync(work, { recursive: true, force: true });
  const sources = path.join(work, 'src');
  for (const folder of ['cuda', 'native']) cpSync(path.join(root, folder), path.join(sources, folder), { recursive: true });
  let text = readFileSync(path.join(root, file), 'utf8');
  for (const [i, part] of [find].flat().entries()) {
    if (text.split(part).length !== 2) throw new Error(`${file} must have this text once: ${part}`);
    text = text.replace(part, () => [replace].flat()[i]);
  }
  writeFileSync(path.join(sources, file), text);
  const binary = path.join(work, 'build/Release/heddle.node');
  try {
    const changed = units.map((unit, i) => {
      const object = path.join(work, `${i}.o`);
      compile(unit, object, { built, sources, card });
      return object;
    });
    link(changed, built, binary);
    // one that does not even load would fail every test, and seem noticed
    execFileSync(process.execPath, ['-e', 'require(process.argv[1])', binary], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (e) {
    throw new Error(`the planted bug does not build: ${firstLine(String(e.stderr ?? e.message))}`);
  }
}
