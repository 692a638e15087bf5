// npm run check:gpu [-- --only STEP,...]: everything that only a real GPU can show, in order: the build, the simulator's instructions against
// the card's, every kernel's tests on each card, a planted bug that these tests must notice, compute-sanitizer, speed. Writes a record for
// each kind of card to bench/results; `npm run gpu:status` reads them.
//   --simulated --out FOLDER    the same steps on the simulated device, as far as that makes sense, with the record in FOLDER
//   --tests FILE,...            these instead of all kernel tests; the record then verifies nothing
//   --no-build                  with what is built; the record then verifies nothing, because it may be of other sources
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { canary } from './canary.mjs';
import { RESULTS } from './check-record.mjs';
import { computeSanitizer } from './compute-sanitizer.mjs';
import { conformance } from './conformance.mjs';
import { kernelHashes } from './kernel-sources.mjs';
import { kernelTests } from './kernel-tests.mjs';
import { ava, node } from './run.mjs';
import { gpus, nvcc, root } from './tools.mjs';

const STEPS = ['conformance', 'known-good', 'kernels', 'canary', 'sanitizer', 'benchmarks'];
const { values: options } = parseArgs({
  options: {
    ...{ only: { type: 'string' }, tests: { type: 'string' }, out: { type: 'string' } },
    ...{ simulated: { type: 'boolean' }, 'no-build': { type: 'boolean' } },
  },
});
const simulated = options.simulated ?? false;
const only = options.only?.split(',') ?? STEPS;

function refuse(message) {
  console.error(`check:gpu: ${message}`);
  process.exit(1);
}

if (!simulated && gpus().length === 0)
  refuse('this needs an NVIDIA GPU, and there is none here; npm test runs every kernel on simulated cards instead');
if (simulated && !options.out) refuse('--simulated needs --out FOLDER: bench/results is for real cards');
for (const name of only.filter((name) => !STEPS.includes(name))) refuse(`--only: steps are ${STEPS.join(', ')}, got ${name}`);

process.chdir(root);
if (simulated) process.env.SIM_CARDS ??= '80,90';
const built = path.join(root, simulated ? 'build/sim/cmake' : 'build/cmake');
const addon = path.join(root, simulated ? 'build/sim/Release/heddle.node' : 'build/Release/heddle.node');

// Outcomes: passed, partly: ..., skipped: ..., waiting: why this machine cannot, failed: why.
const kind = (outcome) => outcome.split(':')[0];

function summary(entries) {
  const worst = ['failed', 'waiting'].map((k) => entries.find(({ outcome }) => kind(outcome) === k)).find(Boolean);
  return { outcome: worst ? `${worst.outcome.split('\n')[0]} (${worst.name})` : 'passed', entries };
}

// With the simulated device on a real card's machine, too: its test programs are what the card is compared with.
function build() {
  const asBuilt = options['no-build'] ?? false;
  if (!asBuilt && !node(['scripts/setup.mjs', '--sim'])) return { outcome: 'failed: the set-up' };
  if (!existsSync(addon)) return { outcome: `failed: there is no ${path.relative(root, addon)}` };
  const script = 'const m = require(process.argv[1]); process.stdout.write(JSON.stringify([m.info(), m.devices()]))';
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script, addon], { encoding: 'utf8' });
  if (status !== 0) return { outcome: `failed: the addon does not load: ${stderr.trim().split('\n').at(-1)}` };
  const [info, devices] = JSON.parse(stdout);
  const working = devices.filter(({ problem }) => !problem);
  const reason = info.cuda || devices.map(({ name, problem }) => `${name}: ${problem}`).join('; ');
  if (working.length === 0) return { outcome: `failed: no card can be used: ${reason}` };
  return { outcome: asBuilt ? 'partly: as built before' : 'passed', info, working };
}

const CHECKS = {
  async conformance({ capability, index }) {
    if (simulated) return { outcome: 'skipped: it is the simulator that is compared' };
    if (!nvcc()) return { outcome: 'waiting: no CUDA compiler for the test programs' };
    return summary(await conformance({ capability, index }));
  },

  // PTX in, results out, through the driver.
  'known-good'({ index }) {
    if (!existsSync('build/sim/cmake/test/sim/run_case'))
      return { outcome: 'waiting: the simulated build, which holds the runner, is not here' };
    const args = simulated ? ['--seeds', '0'] : ['--driver', 'libcuda.so.1'];
    const passed = node(['scripts/known-good.mjs', ...args], { CUDA_VISIBLE_DEVICES: String(index) });
    return { outcome: passed ? 'passed' : 'failed: a known-good program' };
  },

  // One file at a time on a real card: its memory is not shared out.
  async kernels({ names }) {
    const files = options.tests?.split(',') ?? kernelTests;
    const args = [...(simulated ? [] : ['--concurrency=1']), ...files];
    const failed = [];
    for (const name of names) if (!(await ava(args, { HEDDLE_TEST_DEVICE: name }))) failed.push(name);
    if (failed.length) return { outcome: `failed: on ${failed.join(', ')}` };
    return { outcome: options.tests ? `partly: only ${options.tests}` : 'passed', devices: names };
  },

  canary({ names }) {
    if (!nvcc()) return { outcome: 'waiting: no CUDA compiler for the planted bug' };
    return canary(names[0], built);
  },

  sanitizer({ index }) {
    if (simulated) return { outcome: 'skipped: the simulated device has checks of its own' };
    return summary(computeSanitizer(index));
  },

  benchmarks({ names }) {
    const file = path.join(root, 'build/check-gpu-bench.json');
    const args = ['--device', names[0], '--json', file, ...(simulated ? ['--small', '--rounds', '1'] : [])];
    if (!node(['--import=tsx', 'bench/main.ts', 'kernels', ...args])) return { outcome: 'failed: npm run bench -- kernels' };
    return { outcome: 'passed', rows: JSON.parse(readFileSync(file, 'utf8')).rows };
  },
};

async function timed(name, step) {
  console.log(`\n== ${name}`);
  const start = Date.now();
  let result;
  try {
    result = await step();
  } catch (e) {
    result = { outcome: `failed: ${e.message}` };
  }
  const seconds = Math.round((Date.now() - start) / 100) / 10;
  console.log(`${name}: ${result.outcome} (${seconds} s)`);
  return { name, seconds, ...result };
}

const said = (program, ...args) => spawnSync(program, args, { encoding: 'utf8' }).stdout?.trim() ?? '';

// Cards of one kind have one record: the first of them stands for all, but the kernels run on each.
function kindsOf(devices) {
  const kinds = new Map();
  for (const d of devices) {
    const known = kinds.get(d.card);
    if (known) known.names.push(d.name);
    else kinds.set(d.card, { card: d.card, capability: d.capability, index: Number(d.name.split(':')[1]), names: [d.name] });
  }
  return [...kinds.values()];
}

async function check(card, buildStep, info) {
  const kernels = kernelHashes(card.capability);
  const steps = [buildStep];
  for (const name of STEPS.filter((step) => only.includes(step)))
    steps.push(await timed(`${name} on ${card.card}`, () => CHECKS[name](card)).then((step) => ({ ...step, name })));
  return {
    ...{ kind: 'check:gpu', simulated, date: new Date().toISOString(), card: card.card, capability: card.capability },
    ...{ driver: simulated ? 'simulated' : said('nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader').split('\n')[0] },
    ...{ cuda: info.cudaVersion, archs: info.cudaArchs, version: info.version, node: process.version },
    ...{ commit: said('git', 'rev-parse', 'HEAD'), changed: said('git', 'status', '--porcelain', '--', 'cuda', 'native', 'cmake') !== '' },
    ...{ steps, kernels },
  };
}

function write(record) {
  const folder = options.out ?? RESULTS;
  mkdirSync(folder, { recursive: true });
  const slug = record.card.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const file = path.join(folder, `${record.date.slice(0, 16).replace(':', '')}-check-gpu-${slug}.json`);
  writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`);
  console.log(`\n${record.steps.map((s) => `${s.name.padEnd(12)} ${s.outcome.split('\n')[0]}`).join('\n')}\nrecord: ${file}`);
}

const { info, working, ...buildStep } = await timed('build', build);
if (kind(buildStep.outcome) === 'failed') refuse(`${buildStep.outcome}; nothing else was tried`);
for (const card of kindsOf(working)) {
  const record = await check(card, buildStep, info);
  write(record);
  if (record.steps.some((step) => kind(step.outcome) === 'failed')) process.exitCode = 1;
}
