// npm run mutants [-- --sample N | NAME ...]: plants bugs in CUDA kernels, one at a time, and fails for each that the npm test of its op
// does not notice on the simulated device. The bugs are in test/mutants/*.json:
//   { "name": what it breaks, "file": "cuda/...", "find": text that occurs once, "replace": what takes its place,
//     "units": the .cu files to compile anew when `file` is a header, "tests": files for ava, "match": titles (optional), "env": {} (optional) }
// Only the unit is compiled; it is linked before the engine's archive, whose own copy of it is then left out.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './tools.mjs';

process.chdir(root);
const BUILT = path.join(root, 'build/sim/cmake');
const WORK = path.join(root, 'build/mutants');
const SOURCES = path.join(WORK, 'src');

const mutants = readdirSync('test/mutants')
  .filter((name) => name.endsWith('.json'))
  .sort()
  .flatMap((name) => JSON.parse(readFileSync(`test/mutants/${name}`, 'utf8')));
const args = process.argv.slice(2);
const at = args.indexOf('--sample');
const chosen = at >= 0 ? sample(Number(args[at + 1])) : args.length ? mutants.filter((m) => args.includes(m.name)) : mutants;
if (chosen.length === 0) {
  console.error(`mutants: no such mutant; there are:\n${mutants.map((m) => `  ${m.name}`).join('\n')}`);
  process.exit(1);
}
if (!existsSync(path.join(BUILT, 'libengine.a'))) {
  console.error('mutants: the simulated device is not built: npm run build:sim');
  process.exit(1);
}

// Others at every commit, the same ones for the same commit.
function sample(n) {
  const commits = Number(spawnSync('git', ['rev-list', '--count', 'HEAD'], { encoding: 'utf8' }).stdout) || 0;
  const step = Math.max(1, Math.floor(mutants.length / n));
  return Array.from({ length: Math.min(n, mutants.length) }, (_, i) => mutants[(commits + i * step) % mutants.length]);
}

const objects = (folder) =>
  readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.o'))
    .map((name) => path.join(folder, name));

// The unit as CMake compiles it, from the changed sources.
function compile(unit, object) {
  const entry = JSON.parse(readFileSync(path.join(BUILT, 'compile_commands.json'), 'utf8')).find((c) => c.file === path.join(root, unit));
  if (!entry) throw new Error(`${unit} is not a source of the simulated build`);
  const command = entry.command
    .replaceAll(`${root}/cuda`, `${SOURCES}/cuda`)
    .replaceAll(`${root}/native`, `${SOURCES}/native`)
    .replace(/ -o \S+/, ` -o ${object}`);
  execFileSync('sh', ['-c', command], { cwd: BUILT, stdio: ['ignore', 'ignore', 'pipe'] });
}

function link(changed, binary) {
  mkdirSync(path.dirname(binary), { recursive: true });
  const archives = [path.join(BUILT, 'libengine.a'), path.join(BUILT, 'sim/libcudart_sim.a')];
  const inputs = [...objects(path.join(BUILT, 'CMakeFiles/heddle.dir')), ...changed, ...archives];
  execFileSync(process.env.CXX ?? 'c++', ['-shared', '-fPIC', '-o', binary, ...inputs, '-Wl,--exclude-libs,ALL', '-ldl', '-lpthread'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

// 'noticed', 'MISSED', or why it could not be tried.
function attempt({ file, find, replace, units = [file], tests, match, env }) {
  rmSync(WORK, { recursive: true, force: true });
  for (const folder of ['cuda', 'native']) cpSync(folder, path.join(SOURCES, folder), { recursive: true });
  const text = readFileSync(file, 'utf8');
  if (text.split(find).length !== 2) return `STALE: ${file} must have this text once: ${find}`;
  writeFileSync(
    path.join(SOURCES, file),
    text.replace(find, () => replace),
  );
  const binary = path.join(WORK, 'build/Release/heddle.node');
  try {
    const changed = units.map((unit, i) => {
      const object = path.join(WORK, `${i}.o`);
      compile(unit, object);
      return object;
    });
    link(changed, binary);
  } catch (e) {
    return `STALE: does not compile: ${
      String(e.stderr ?? e.message)
        .trim()
        .split('\n')[0]
    }`;
  }
  return testsPass({ tests, match, env }, WORK) ? 'MISSED' : 'noticed';
}

// With the addon of that folder; '': the simulated build itself.
function testsPass({ tests, match = [], env = {} }, prebuild) {
  const titles = match.flatMap((title) => ['--match', title]);
  const { status } = spawnSync(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', ...titles, ...tests], {
    env: { ...process.env, ...(prebuild ? { HEDDLE_PREBUILD: prebuild } : {}), HEDDLE_TEST_DEVICE: 'cuda', SIM_CARDS: '80', ...env },
    stdio: 'ignore',
    timeout: 300_000,
  });
  return status === 0;
}

// A test that fails without any bug notices nothing.
const sound = new Map();
function soundWithoutBug({ tests, match, env }) {
  const key = JSON.stringify([tests, match, env]);
  if (!sound.has(key)) sound.set(key, testsPass({ tests, match, env }, ''));
  return sound.get(key);
}

let failures = 0;
for (const mutant of chosen) {
  const start = Date.now();
  const outcome = soundWithoutBug(mutant) ? attempt(mutant) : 'UNSOUND: its tests fail without the bug';
  if (outcome !== 'noticed') failures++;
  console.log(`${outcome.padEnd(8)} ${mutant.name} (${((Date.now() - start) / 1000).toFixed(0)} s)`);
}
rmSync(WORK, { recursive: true, force: true });
console.log(`mutants: ${chosen.length - failures} of ${chosen.length} noticed`);
process.exitCode = failures ? 1 : 0;
