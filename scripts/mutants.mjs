// npm run mutants [-- --sample N | NAME ...]: plants bugs in CUDA kernels, one at a time, and fails for each that the npm test of its op
// does not notice on the simulated device. The bugs are in test/mutants/*.json:
//   { "name": what it breaks, "file": "cuda/...", "find": text that occurs once, "replace": what takes its place (or lists of both),
//     "units": the .cu files to compile anew when `file` is a header, "tests": files for ava, "match": titles (optional), "env": {} (optional),
//     "says": what the failing tests' output must contain, where a check of the simulator is to notice it (optional) }
// Only the unit is compiled (scripts/plant.mjs), for the one card simulated.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { plant } from './plant.mjs';
import { root } from './tools.mjs';

process.chdir(root);
const BUILT = path.join(root, 'build/sim/cmake');
const WORK = path.join(root, 'build/mutants');

const mutants = readdirSync('test/mutants')
  .filter((name) => name.endsWith('.json'))
  .sort()
  .flatMap((name) => JSON.parse(readFileSync(`test/mutants/${name}`, 'utf8')));
const twice = mutants.find(({ name }, i) => mutants.findIndex((m) => m.name === name) !== i);
if (twice) throw new Error(`two mutants are called ${twice.name}`);
const args = process.argv.slice(2);
const at = args.indexOf('--sample');
const chosen = at >= 0 ? sample(Number(args[at + 1])) : args.length ? mutants.filter((m) => args.includes(m.name)) : mutants;
const unknown = at >= 0 ? [] : args.filter((name) => !mutants.some((m) => m.name === name));
if (chosen.length === 0 || unknown.length > 0) {
  console.error(
    `mutants: no such mutant: ${unknown.join(', ') || args.join(' ')}; there are:\n${mutants.map((m) => `  ${m.name}`).join('\n')}`,
  );
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

const cardOf = (env = {}) => env.SIM_CARDS ?? '80';

// What became of it, and by which test or why.
function attempt({ tests, match, env, says = '', ...bug }) {
  try {
    plant(bug, { built: BUILT, work: WORK, card: cardOf(env) });
  } catch (e) {
    return ['STALE', e.message];
  }
  const { passed, output } = runTests({ tests, match, env });
  if (passed) return ['MISSED', 'its tests pass'];
  const why = /^sim: (?!no PTX|error in)(.*)/m.exec(output)?.[1] ?? / \[fail\]: (.*)/.exec(output)?.[1] ?? 'the tests do not end';
  return output.includes(says) ? ['noticed', why.slice(0, 140)] : ['MISSED', `nothing says "${says}", but: ${why.slice(0, 140)}`];
}

// With the addon in WORK, on a machine with a GPU too.
function runTests({ tests, match = [], env = {} }) {
  const titles = match.flatMap((title) => ['--match', title]);
  const { status, stdout, stderr } = spawnSync(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', ...titles, ...tests], {
    env: { ...process.env, HEDDLE_PREBUILD: WORK, HEDDLE_TEST_DEVICE: 'cuda', SIM_CARDS: cardOf(env), ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 28,
    timeout: 300_000,
  });
  return { passed: status === 0, output: stdout + stderr }; // the simulator's messages come on stderr
}

// A test that fails without any bug notices nothing.
const sound = new Map();
function soundWithoutBug({ tests, match, env }) {
  const key = JSON.stringify([tests, match, env]);
  if (!sound.has(key)) {
    const folder = path.join(WORK, 'build/Release');
    rmSync(WORK, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    symlinkSync(path.join(root, 'build/sim/Release/heddle.node'), path.join(folder, 'heddle.node'));
    sound.set(key, runTests({ tests, match, env }).passed);
  }
  return sound.get(key);
}

let failures = 0;
for (const mutant of chosen) {
  const start = Date.now();
  const [outcome, by] = soundWithoutBug(mutant) ? attempt(mutant) : ['UNSOUND', 'its tests fail without the bug'];
  if (outcome !== 'noticed') failures++;
  console.log(`${outcome.padEnd(8)} ${mutant.name} (${((Date.now() - start) / 1000).toFixed(0)} s): ${by}`);
}
rmSync(WORK, { recursive: true, force: true });
console.log(`mutants: ${chosen.length - failures} of ${chosen.length} noticed`);
process.exitCode = failures ? 1 : 0;
