// npm test: native tests (at every instruction-set level of this machine), then the suite, then what touches kernels again at each
// other level and on each CUDA device: real ones, or, where there is none but nvcc is, simulated cards of three generations.
// --all: with test/long/, the whole suite at each level and on real cards, and what emulated.mjs has: processors that this machine is not.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { emulated } from './emulated.mjs';
import { kernelTests } from './kernel-tests.mjs';
import { ava, ctest, node, runSteps } from './run.mjs';
import { cudaRemedy, gpus, noCompiler, nvcc, root } from './tools.mjs';

const all = process.argv.includes('--all');
const tests = all ? [] : kernelTests;
const env = all ? { HEDDLE_TEST: 'all' } : {}; // once: nothing in test/long/ knows of levels

process.env.SIM_CARDS ??= '80,90,75';
const simulated = path.join(root, 'build/sim/Release/heddle.node');
const usesSimulator = existsSync(simulated) && gpus().length === 0; // as lib/native/load.ts chooses
const addon = createRequire(import.meta.url)(usesSimulator ? simulated : path.join(root, 'build/Release/heddle.node'));
const { isa, isas, compiledIsas, cuda } = addon.info();
const cards = addon.devices();
const working = cards.filter(({ problem }) => !problem);
const others = isas.filter((name) => name !== isa);
const absent = compiledIsas.filter((name) => !isas.includes(name));

// Real cards take one test file at a time: their memory is not shared out.
const onDevice = (name) => ava(usesSimulator ? kernelTests : ['--concurrency=1', ...tests], { HEDDLE_TEST_DEVICE: name });

// Every kernel once more with what the simulator checks on request: races, reads of what nobody wrote, habits that only a lenient device forgives.
const CHECKED = [
  ...['forward', 'gradient', 'paths', 'special'].map((name) => `test/unit/ops/${name}.test.ts`),
  'test/unit/optim/*.test.ts',
];
const CHECKS = { SIM_RACE: '1', SIM_INIT: '1', SIM_STRICT: '1', SIM_SEED: '2' };
const checked = (name) => ava(CHECKED, { ...CHECKS, HEDDLE_TEST_DEVICE: name });

// Hopper's products once more in each tile (kHopperTiles in cuda/matmul/hopper_tile.h), which shapes choose otherwise.
const inTiles = ['128x256', '128x128', '128x64', '64x128'].map((tile) => [
  `Hopper's products in tiles of ${tile}`,
  () => {
    const titles = ['matmul *, bf16*', 'linear in *, bf16*', 'chunks side by side *, bf16*', "Hopper's kernel *"].flatMap((t) => [
      '--match',
      t,
    ]);
    const tests = ['test/unit/ops/paths.test.ts', 'test/unit/ops/kernels.test.ts'];
    return ava([...titles, ...tests], { HEDDLE_MATMUL_TILE: tile, HEDDLE_TEST_DEVICE: 'cuda', SIM_CARDS: '90' });
  },
]);

// Where setup took a prebuilt binary instead of compiling, for lack of nvcc, there are none.
const nativeTests = existsSync(path.join(root, 'build/cmake/CTestTestfile.cmake'));

const simulatorTests = [
  ["simulator's own tests", () => ctest('build/sim/cmake', ['--parallel', String(availableParallelism())])],
  ['known-good kernels', () => node(['scripts/known-good.mjs'])],
];

const inEmulator = all ? emulated() : { steps: [], notRun: ['x86-64-v2 and arm64 in QEMU (npm run test:all)'] };

await runSteps([
  ...(nativeTests ? [['native tests', () => ctest('build/cmake')]] : []),
  ...(existsSync(simulated) ? simulatorTests : []),
  [`suite at ${isa}`, () => ava([], { ...env, ...(working.length ? { HEDDLE_TEST_CARDS: 'apart' } : {}) })],
  ...working.map(({ name, card }) => [`kernel tests on ${name} (${card})`, () => onDevice(name)]),
  ...(usesSimulator ? working : []).map(({ name, card }) => [`every access checked on ${name} (${card})`, () => checked(name)]),
  ...(usesSimulator && working.length ? inTiles : []),
  ...others.map((name) => [`${all ? 'suite' : 'kernel tests'} at ${name}`, () => ava(tests, { HEDDLE_CPU: name })]),
  ...inEmulator.steps,
]);
if (!nativeTests) console.log('not run: native tests (nothing was compiled here)');
if (absent.length) console.log(`not run: ${absent.join(', ')} (this CPU does not have it)`);
for (const line of inEmulator.notRun) console.log(`not run: ${line}`);
for (const { name, card, problem } of cards.filter((c) => c.problem)) console.log(`not run: ${name} (${card}): ${problem}`);
if (cards.length === 0) {
  console.log(`not run: CUDA (${cuda})`);
  if (!nvcc()) console.log(gpus().length ? noCompiler() : `The CUDA compiler would add a simulated GPU. Install with: ${cudaRemedy()}`);
}
