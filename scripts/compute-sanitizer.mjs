// NVIDIA's compute-sanitizer over an op of every kernel family (the doctor's self-test, forward and backward). A part of `npm run check:gpu`.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { nvcc, root } from './tools.mjs';

const TOOLS = ['memcheck', 'racecheck', 'initcheck'];
const FOUND = 99; // exit code for errors that the tool reports
const WORK = path.join(root, 'build/canary-sanitizer');

function find() {
  const { CUDA_HOME, CUDA_PATH } = process.env;
  const homes = [CUDA_HOME, CUDA_PATH, '/usr/local/cuda', nvcc() && path.dirname(path.dirname(nvcc()))].filter(Boolean);
  const places = ['compute-sanitizer', ...homes.map((home) => path.join(home, 'bin/compute-sanitizer'))];
  return places.find((command) => spawnSync(command, ['--version']).status === 0);
}

function sanitize(program, tool, command, index) {
  const args = ['--tool', tool, '--error-exitcode', String(FOUND), '--target-processes', 'all', ...command];
  const { status, signal, stdout, stderr } = spawnSync(program, args, {
    ...{ cwd: root, encoding: 'utf8', timeout: 600_000, maxBuffer: 2 ** 28 },
    env: { ...process.env, CUDA_VISIBLE_DEVICES: String(index) },
  });
  return { status: signal ?? status, said: `${stdout}${stderr}` };
}

// A line of the tool's output that says why: it marks its own with =====.
const reason = (said) => said.split('\n').find((line) => /^=+ .*(error|not supported|unable|failed|denied)/i.test(line)) ?? said.trim();

const short = (text) => text.replace(/^=+ */, '').slice(0, 300);

// The tool must report a planted bug here: a machine may have it and not allow it (containers, virtual GPUs).
function works(program, tool, index) {
  mkdirSync(WORK, { recursive: true });
  const planted = path.join(WORK, 'planted');
  if (!existsSync(planted)) {
    const args = ['-arch=native', '-lineinfo', '-o', planted, path.join(root, 'test/card/planted.cu')];
    const { status, stderr } = spawnSync(nvcc(), args, { encoding: 'utf8' });
    if (status !== 0) return `test/card/planted.cu does not compile: ${stderr}`;
  }
  const { status, said } = sanitize(program, tool, [planted, tool], index);
  return status === FOUND ? undefined : `it does not report a planted bug here (exit code ${status}): ${short(reason(said))}`;
}

// One entry a tool: name and outcome.
export function computeSanitizer(index) {
  const program = find();
  if (!program) return TOOLS.map((name) => ({ name, outcome: 'waiting: compute-sanitizer is not installed' }));
  if (!nvcc())
    return TOOLS.map((name) => ({ name, outcome: 'waiting: no CUDA compiler for the planted bug that the tool must report first' }));
  return TOOLS.map((name) => {
    const why = works(program, name, index);
    if (why) return { name, outcome: `waiting: ${why}` };
    const { status, said } = sanitize(program, name, [process.execPath, 'dist/cli/self_test.js', 'cuda:0'], index);
    if (status === FOUND) return { name, outcome: `failed: ${said.slice(0, 4000)}` };
    if (status !== 0 || !said.includes('"matmul":"ok"'))
      return { name, outcome: `failed: the self-test ended with ${status}: ${said.slice(-2000)}` };
    return { name, outcome: 'passed' };
  });
}
