// node scripts/known-good.mjs [--seeds 0,1,2,7] [--filter TEXT] [--driver LIB] [--build FOLDER] [FOLDER]: runs the kernels of a folder
// in the layout of test/known-good (its cases by default) on the simulator, under several schedules. --driver libcuda.so.1: on a real card
// instead, once. --build: another CMake folder of test/sim than the simulated build's.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './tools.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seeds: { type: 'string' }, filter: { type: 'string' }, driver: { type: 'string' }, build: { type: 'string' } },
});
const build = path.resolve(values.build ?? path.join(root, 'build/sim/cmake'));
const runner = path.join(build, values.build ? '' : 'test/sim', 'run_case');
const driver = values.driver ?? path.join(build, 'sim/libcuda_sim.so');
const seeds = (values.seeds ?? (values.driver ? '0' : '0,1,2,7')).split(',');
const given = path.resolve(positionals[0] ?? path.join(root, 'test/known-good'));
const folder = existsSync(path.join(given, 'cases')) ? path.join(given, 'cases') : given;

function fail(message) {
  console.error(`known-good: ${message}`);
  process.exit(1);
}
if (!existsSync(runner)) fail('no simulated build here; npm run build:sim makes it');
const files = readdirSync(folder).filter((name) => name.endsWith('.json') && name.includes(values.filter ?? ''));
if (!files.length) fail(`no cases in ${folder}`);

// One line for a case under a seed. Each case gets a card of its target.
function run(file, seed) {
  const card = /\d+/.exec(JSON.parse(readFileSync(path.join(folder, file), 'utf8')).target)[0];
  const env = { ...process.env, SIM_CARDS: card, SIM_SEED: seed, SIM_THREADS: '1' };
  const args = ['--driver', driver, path.join(folder, file)];
  return new Promise((done) => {
    execFile(runner, args, { env }, (_, stdout, stderr) => {
      const line = stdout.split('\n').find((text) => /^(ok|FAIL|skip) /.test(text));
      done({ result: line?.split(' ')[0] ?? 'FAIL', line: line ?? `FAIL  ${file}`, stderr });
    });
  });
}

const start = Date.now();
const tasks = files.flatMap((file) => seeds.map((seed) => [file, seed])).reverse();
const count = { ok: 0, FAIL: 0, skip: 0 };
async function work() {
  for (let task = tasks.pop(); task; task = tasks.pop()) {
    const { result, line, stderr } = await run(...task);
    ++count[result];
    if (result === 'FAIL') console.log(`${line}  (seed ${task[1]})${stderr ? `\n${stderr.trim().replace(/^/gm, '        ')}` : ''}`);
    else if (result === 'skip' && task[1] === seeds[0]) console.log(line);
  }
}
// A card takes one case at a time; the simulator's processes share nothing.
await Promise.all(Array.from({ length: values.driver ? 1 : availableParallelism() }, work));
console.log(
  `${files.length} cases, ${seeds.length > 1 ? `seeds ${seeds.join(' ')}` : `seed ${seeds[0]}`}: ${count.ok} passed, ${count.FAIL} failed, ` +
    `${count.skip} skipped (${((Date.now() - start) / 1000).toFixed(1)} s)`,
);
process.exitCode = count.FAIL ? 1 : 0;
