// A GPU, but no CUDA compiler: the set-up, npm test and the doctor say so in one line with the command that installs it, and a prebuilt binary
// of this version comes first. In a project made for the test, whose packages are stand-ins, on a machine that only seems to have a GPU.
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { hasGpu, packageRoot } from '../../../lib/native/load.ts';

const root = packageRoot();
const addon = path.join(root, 'build/Release/heddle.node');
const withCuda = path.join(root, 'build/sim/Release/heddle.node'); // has kernels, and says for which architectures
const fake = `--import=${pathToFileURL(path.join(root, 'test/run/fake_gpu.mjs')).href}`;
const NO_COMPILER = /an NVIDIA GPU is here, but not the CUDA compiler that its kernels need\. Install with: (.+)/;

function run(folder: string, ...args: string[]): string {
  const env: NodeJS.ProcessEnv = { ...process.env, NODE_OPTIONS: fake, HEDDLE_PREBUILD: undefined, HEDDLE_CUDA: undefined };
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

/** A clone in which compiling is copying: tsc, esbuild, cmake-js and ava are stand-ins. */
function project(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-setup-'));
  const write = (name: string, text: string): void => {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  };
  cpSync(path.join(root, 'scripts'), path.join(folder, 'scripts'), { recursive: true });
  copyFileSync(path.join(root, 'package.json'), path.join(folder, 'package.json'));
  write('package-lock.json', '{ "packages": { "": {} } }');
  write('node_modules/.package-lock.json', '{ "packages": {} }');
  write('lib/index.ts', '');
  write(
    'node_modules/typescript/bin/tsc',
    "const fs = require('fs'); fs.mkdirSync('dist/cli', { recursive: true }); fs.writeFileSync('dist/cli/main.js', '');",
  );
  write('node_modules/tsx/index.js', '');
  write('node_modules/esbuild/index.js', 'exports.buildSync = () => ({ metafile: { outputs: {} } });');
  write('node_modules/node-addon-api/package.json', '{}');
  write(
    'node_modules/cmake-js/bin/cmake-js',
    `const fs = require('fs');
     fs.mkdirSync('build/Release', { recursive: true });
     fs.mkdirSync('build/cmake', { recursive: true });
     fs.copyFileSync(${JSON.stringify(addon)}, 'build/Release/heddle.node');
     fs.writeFileSync('build/cmake/note.txt', 'compiled');`,
  );
  write('node_modules/ava/entrypoints/cli.mjs', '');
  return folder;
}

test.before((t) => {
  if (!existsSync(addon)) t.fail('no native addon: run node scripts/setup.mjs');
});

test('the set-up compiles without CUDA and says in one line what is missing; so does npm test', (t) => {
  const folder = project();
  try {
    const said = run(folder, 'scripts/setup.mjs');
    t.regex(said, /native addon \.\.\. .*: compiled/);
    const lines = said.split('\n').filter((line) => NO_COMPILER.test(line));
    t.is(lines.length, 1, said);
    t.regex(NO_COMPILER.exec(lines[0] ?? '')?.[1] ?? '', /cuda/i);
    t.is(run(folder, 'scripts/setup.mjs'), '', 'all is fresh');
    if (!hasGpu()) t.regex(run(folder, 'scripts/test.mjs').trimEnd().split('\n').at(-1) ?? '', NO_COMPILER);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const ifBuilt = existsSync(withCuda) ? test : test.skip;
ifBuilt('a prebuilt binary of this version with CUDA is taken, also when it comes later, and nothing is compiled', (t) => {
  const folder = project();
  try {
    run(folder, 'scripts/setup.mjs');
    const prebuilt = path.join(folder, `prebuilds/${process.platform}-${process.arch}/heddle.node`);
    mkdirSync(path.dirname(prebuilt), { recursive: true });
    copyFileSync(withCuda, prebuilt);
    const said = run(folder, 'scripts/setup.mjs');
    t.regex(said, /native addon \.\.\. .*: prebuilds\/.*heddle\.node, with CUDA/);
    t.notRegex(said, NO_COMPILER);
    t.true(readFileSync(path.join(folder, 'build/Release/heddle.node')).equals(readFileSync(withCuda)));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

ifBuilt('one of another version is not', (t) => {
  const folder = project();
  try {
    const manifest = path.join(folder, 'package.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(/"version": "[^"]+"/, '"version": "99.0.0"'));
    mkdirSync(path.join(folder, `prebuilds/${process.platform}-${process.arch}`), { recursive: true });
    copyFileSync(withCuda, path.join(folder, `prebuilds/${process.platform}-${process.arch}/heddle.node`));
    t.regex(run(folder, 'scripts/setup.mjs'), /native addon \.\.\. .*: compiled/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const ifNoGpu = hasGpu() ? test.skip : test; // a real one answers for itself
ifNoGpu('the doctor names the command that installs the compiler, or the driver that a binary with kernels lacks', (t) => {
  const script = "import('./lib/cli/doctor.ts').then((m) => m.runDoctor({ json: true }))";
  const { native, findings } = JSON.parse(run(root, '--import=tsx', '-e', script)) as {
    native: { cudaArchs: string };
    findings: { name: string; status: string; value: string; remedy?: string }[];
  };
  const cuda = findings.find((f) => f.name === 'CUDA');
  t.is(cuda?.status, 'note');
  t.regex(cuda?.value ?? '', /an NVIDIA GPU is here/);
  t.regex(
    cuda?.remedy ?? '',
    native.cudaArchs ? /^install driver \d+/ : /^install the CUDA compiler: .*(cuda-nvcc|developer\.nvidia\.com).*; then npx heddle build$/,
  );
});
