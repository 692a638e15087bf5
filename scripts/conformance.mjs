// Whether the simulator is like a card: the programs of test/sim that check their own results, once with the simulator in cudart's place and
// once compiled for the card and linked with cudart, must come to the same verdicts. A part of `npm run check:gpu`.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { nvcc, root } from './tools.mjs';

const TESTS = path.join(root, 'test/sim');
const WORK = path.join(root, 'build/conformance');
const LIMIT_MS = 300_000;
// Planted bugs would hang or end a real card's process: deadlocks, overruns. Those programs (detect_*.cu, too) ask for the simulator's message.
const SIMULATOR_ONLY = /\b(expect_error|EXPECT_PLANTED|expect_detected|simPrintInstructions)\b/;

// { status, said }; never rejects.
function run(program, args, options = {}) {
  return new Promise((done) => {
    const child = spawn(program, args, { timeout: LIMIT_MS, ...options });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data) => {
        said += data;
      });
    child.on('error', (e) => done({ status: -1, said: e.message }));
    child.on('close', (status, signal) => done({ status, said: signal ? `${said}\nended with ${signal}` : said }));
  });
}

// name -> its sources.
export function portablePrograms() {
  const units = [...readdirSync(TESTS), ...readdirSync(path.join(TESTS, 'programs')).map((name) => `programs/${name}`)];
  const programs = new Map();
  for (const unit of units.filter((name) => /\.(cu|cc)$/.test(name) && !name.startsWith('detect_')).sort()) {
    const text = readFileSync(path.join(TESTS, unit), 'utf8');
    if (!/\bint main\(/.test(text) || SIMULATOR_ONLY.test(text)) continue;
    const kernels = text.includes('"kernels/kernels.h"') ? readdirSync(path.join(TESTS, 'kernels')).filter((f) => f.endsWith('.cu')) : [];
    programs.set(path.parse(unit).name, [unit, ...kernels.map((name) => `kernels/${name}`)]);
  }
  return programs;
}

// The build of test/sim/CMakeLists.txt: part of the simulated build, or one of its own.
async function simulatorFolder() {
  const built = path.join(root, 'build/sim/cmake/test/sim');
  if (existsSync(built) && readdirSync(built).some((name) => /^\w+\.\d+$/.test(name))) return built;
  const folder = path.join(WORK, 'simulator');
  const env = { ...process.env, CUDACXX: nvcc() };
  for (const args of [
    ['-S', TESTS, '-B', folder],
    ['--build', folder, '--parallel', String(availableParallelism())],
  ]) {
    const { status, said } = await run('cmake', args, { env, timeout: 3 * LIMIT_MS });
    if (status !== 0) throw new Error(`test/sim does not build:\n${said.trim().split('\n').slice(-20).join('\n')}`);
  }
  return folder;
}

// A program of the simulator for the newest of its architectures that is no newer than the card; the "a" of 90a is for Hopper alone.
function simulatedFor(folder, name, capability) {
  const cards = readdirSync(folder)
    .filter((file) => file.startsWith(`${name}.`) && /\.\d+$/.test(file))
    .map((file) => Number(file.split('.')[1]));
  return Math.max(0, ...cards.filter((card) => (card === 90 ? capability === 90 : card <= capability)));
}

// The program for the card: true, or what the compiler said.
export async function compileForCard(name, sources, capability, out = path.join(WORK, 'card')) {
  mkdirSync(out, { recursive: true });
  const arch = `sm_${capability}${capability === 90 ? 'a' : ''}`;
  const flags = ['-std=c++17', '-O1', '--extended-lambda', '--expt-relaxed-constexpr', `-arch=${arch}`, '-cudart', 'static', '-w'];
  const folders = [path.join(root, 'test/card'), TESTS].flatMap((folder) => ['-I', folder]);
  const { status, said } = await run(nvcc(), [...flags, ...folders, '-o', path.join(out, name), ...sources, '-ldl', '-lpthread'], {
    cwd: TESTS,
  });
  return status === 0 ? true : said;
}

// ok and FAIL lines without the figures behind them, which may differ: errors, times.
export function verdicts(said) {
  return said
    .split('\n')
    .filter((line) => /^(ok|FAIL)\b/.test(line))
    .map((line) =>
      line
        .replace(/^(ok|FAIL)\s+/, '$1 ')
        .replace(/( error | {2}).*$/, '')
        .trim(),
    )
    .filter((line, i, all) => all.indexOf(line) === i) // some programs repeat themselves with other seeds
    .sort();
}

async function compare(name, sources, { folder, capability, index }) {
  const card = simulatedFor(folder, name, capability);
  if (!card) return { name, outcome: `skipped: not for compute capability ${capability / 10}` };
  const built = await compileForCard(name, sources, capability);
  if (built !== true) return { name, outcome: `failed: does not compile for the card:\n${built}` };
  const args = name === 'test_kernels' ? ['--seeds', '1'] : [];
  const env = { ...process.env, SIM_CARDS: String(card) };
  const simulated = await run(path.join(folder, `${name}.${card}`), args, { env });
  const real = await run(path.join(WORK, 'card', name), args, { env: { ...process.env, CUDA_VISIBLE_DEVICES: String(index) } });
  const [want, got] = [verdicts(simulated.said), verdicts(real.said)];
  const differing = [...want.filter((v) => !got.includes(v)).map((v) => `simulated: ${v}`), ...got.filter((v) => !want.includes(v))];
  if (simulated.status !== 0) return { name, outcome: `failed: on the simulator:\n${simulated.said.slice(-2000)}` };
  if (real.status !== 0 || differing.length || got.length === 0)
    return { name, outcome: `failed: on the card (exit code ${real.status}):\n${differing.join('\n')}\n${real.said.slice(-2000)}` };
  return { name, outcome: 'passed', verdicts: got.length };
}

// One entry a program: name and outcome. Compilers run side by side.
export async function conformance({ capability, index }) {
  const folder = await simulatorFolder();
  const jobs = [...portablePrograms()];
  const results = [];
  const worker = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) results.push(await compare(job[0], job[1], { folder, capability, index }));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results.sort((a, b) => (a.name < b.name ? -1 : 1));
}
