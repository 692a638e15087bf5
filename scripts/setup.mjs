// From a fresh clone to a working build: `npm start`, `npm test` and npm's `prepare` begin here. Plain Node, because it
// runs before npm ci. Does only what is missing or stale, one line a step; silent when all is fresh.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from './build.mjs';
import { bundle } from './bundle.mjs';
import { explain, gpus, installer, installTools, missingTools, noCompiler, npm, nvcc, root } from './tools.mjs';

const LOG = 'build/setup.log';
const STAMPS = 'build/setup.json';
const LOCK = 'build/setup.lock';
const NATIVE_INPUTS = ['native', 'cuda', 'cmake', 'CMakeLists.txt', 'scripts/build.mjs', 'scripts/tools.mjs', 'package-lock.json'];
const SIM_BINARY = 'build/sim/Release/heddle.node';
const withSim = process.argv.includes('--sim'); // what tests want: the simulated CUDA device too, where nvcc is
const withTests = withSim || process.argv.includes('--tests'); // the native test programs, which no one else waits for
const NATIVE_OPTIONS = ['HEDDLE_CUDA', 'HEDDLE_ARCHS', 'HEDDLE_SANITIZE'];
process.chdir(root);

const json = (file) => JSON.parse(readFileSync(file, 'utf8'));
const read = (file, otherwise) => {
  try {
    return json(file);
  } catch {
    return otherwise;
  }
};

function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

function step(name, work) {
  process.stdout.write(`setup: ${name} ... `);
  const log = openSync(LOG, 'w');
  const start = Date.now();
  try {
    const note = work(['ignore', log, log]);
    console.log(`${((Date.now() - start) / 1000).toFixed(1)} s${note ? `: ${note}` : ''}`);
  } catch (e) {
    console.log('failed');
    const lines = readFileSync(LOG, 'utf8').trimEnd().split('\n');
    const errors = lines.slice(0, -20).filter((line) => /error/i.test(line)); // the first one is the cause, the end often only its echo
    const tail = [...errors.slice(0, 15), ...lines.slice(-20)].join('\n');
    fail(`${e.message}\n${tail}\n(all of it in ${LOG})`);
  }
}

// A hash of contents, not times: checking out another branch and back builds nothing.
function fingerprint(paths, ...more) {
  const hash = createHash('sha1').update(JSON.stringify(more));
  const add = (p) => {
    if (statSync(p).isDirectory()) for (const name of readdirSync(p).sort()) add(`${p}/${name}`);
    else hash.update(p).update(readFileSync(p));
  };
  paths.filter((p) => existsSync(p)).forEach(add);
  return hash.digest('hex');
}

// Is every package of the lock file installed, in that version? (Optional ones may be for another platform.)
function installed() {
  const have = read('node_modules/.package-lock.json', { packages: {} }).packages;
  return Object.entries(json('package-lock.json').packages).every(
    ([where, p]) => !where || (have[where] ? have[where].integrity === p.integrity : p.optional),
  );
}

function state() {
  const stamps = read(STAMPS, {});
  const options = NATIVE_OPTIONS.map((name) => process.env[name] ?? '');
  // With a GPU it matters whether its compiler is here: one that came since is used, and until then a prebuilt binary that came since.
  const compiler = gpus().length > 0 ? [Boolean(nvcc())] : [];
  const inputs = compiler.includes(false) ? [...NATIVE_INPUTS, 'prebuilds'] : NATIVE_INPUTS;
  const native = fingerprint(inputs, options, gpus(), ...compiler, process.platform, process.arch);
  const nativeTests = fingerprint(['test/native'], native);
  const sim = fingerprint([...NATIVE_INPUTS, 'sim', 'test/sim', 'test/known-good/run_case.cc'], process.platform, process.arch);
  const types = fingerprint(['lib', 'tsconfig.json', 'scripts/bundle.mjs', 'package-lock.json']);
  return {
    native,
    nativeTests,
    types,
    stamps,
    packagesStale: process.env.npm_lifecycle_event !== 'prepare' && !installed(), // in `prepare` npm ci is running this very moment
    sim,
    simStale: stamps.sim !== sim || !existsSync(SIM_BINARY),
    nativeStale: stamps.native !== native || !existsSync('build/Release/heddle.node'),
    testsStale: withTests && stamps.nativeTests !== nativeTests,
    typesStale: stamps.types !== types || !existsSync('dist/cli/main.js'),
  };
}

// A GPU but no compiler for it: a binary that was made elsewhere (prebuilds/ of a release) of this version, with CUDA.
function prebuiltWithCuda() {
  const folder = `prebuilds/${process.platform}-${process.arch}`;
  const { version } = json('package.json');
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const script = 'process.stdout.write(JSON.stringify(require(process.argv[1]).info()))';
    const child = spawnSync(process.execPath, ['-e', script, path.resolve(folder, name)], { encoding: 'utf8' }); // it may not load here
    const info = child.status === 0 ? JSON.parse(child.stdout) : {};
    if (info.version === version && info.cudaArchs) return `${folder}/${name}`;
  }
  return undefined;
}

function take(file) {
  mkdirSync('build/Release', { recursive: true });
  cpSync(file, 'build/Release/heddle.node');
  return `${file}, with CUDA`;
}

// Two commands at once (npm start and npm test in two terminals): the second waits.
function lock() {
  mkdirSync('build', { recursive: true });
  for (let said = false; ; ) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      process.on('exit', () => rmSync(LOCK, { force: true }));
      return;
    } catch (e) {
      if (e.code !== 'EEXIST') throw e;
    }
    if (!isAlive(LOCK)) rmSync(LOCK, { force: true });
    else if (!said) console.log('setup: waiting for another setup of this folder');
    said = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
}

function isAlive(lockFile) {
  try {
    const pid = Number(readFileSync(lockFile, 'utf8'));
    if (!pid) return Date.now() - statSync(lockFile).mtimeMs < 5000; // created, not yet written
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return e.code === 'EPERM';
  }
}

function main() {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(json('package.json').engines.node).map(Number);
  const [nodeMajor, nodeMinor] = process.versions.node.split('.').map(Number);
  if (nodeMajor < major || (nodeMajor === major && nodeMinor < minor)) {
    fail(
      `Node ${major}.${minor} or newer is needed, this is ${process.versions.node}. Install with\n    nvm install 22\nor from nodejs.org`,
    );
  }
  const wantsSim = ({ simStale }) => simStale && (withSim ? nvcc() : existsSync(SIM_BINARY));
  const isFresh = (s) => !s.packagesStale && !s.nativeStale && !s.testsStale && !s.typesStale && !wantsSim(s);
  if (isFresh(state())) return;
  if (process.env.npm_lifecycle_event === 'prepare' && !existsSync('node_modules/typescript')) {
    console.log('setup: nothing built, the development packages were left out');
    return;
  }
  lock();
  const todo = state(); // what the other one left to do
  const { native, nativeTests, sim, types, stamps, packagesStale, nativeStale, testsStale, typesStale } = todo;
  const done = (stamp) => writeFileSync(STAMPS, JSON.stringify(Object.assign(stamps, stamp)));

  const compiles = nativeStale || testsStale;
  const lacksNvcc = compiles && gpus().length > 0 && !nvcc();
  const prebuilt = lacksNvcc ? prebuiltWithCuda() : undefined; // then nothing is compiled
  const missing = compiles && !prebuilt ? missingTools() : []; // before the downloads
  if (missing.length) {
    const how = installer();
    if (!how) fail(explain(missing));
    step(`installing ${missing.join(', ')} with ${how}`, (stdio) => installTools(how, stdio));
  }
  if (packagesStale) {
    step('dependencies', (stdio) => {
      const [program, ...first] = npm();
      // --ignore-scripts: `prepare` would come back here
      const r = spawnSync(program, [...first, 'ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund'], { stdio });
      if (r.status !== 0) throw new Error('npm ci failed');
    });
  }
  if (compiles) {
    const name = testsStale && !prebuilt ? 'native addon and its tests' : 'native addon';
    step(name, (stdio) => (prebuilt ? take(prebuilt) : build(stdio, { tests: testsStale })));
    done({ native, ...(testsStale && { nativeTests }) });
    if (lacksNvcc && !prebuilt) console.log(`setup: ${noCompiler()}`);
  }
  if (wantsSim(todo)) {
    rmSync(SIM_BINARY, { force: true }); // it would be used in place of build/Release
    if (withSim) {
      step('simulated CUDA device', (stdio) => build(stdio, { sim: true }));
      done({ sim });
    } else console.log('setup: the simulated CUDA device was of older sources; npm run build:sim makes it again');
  }
  if (typesStale) {
    step('TypeScript', (stdio) => {
      rmSync('dist', { recursive: true, force: true }); // a module deleted in lib/ must not be published
      const r = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], { stdio });
      if (r.status !== 0) throw new Error('tsc found errors');
      for (const name of readdirSync('lib', { recursive: true })) {
        if (name.endsWith('.d.ts')) cpSync(`lib/${name}`, `dist/${name}`); // tsc leaves those behind
      }
      bundle();
    });
    done({ types });
  }
}

main();
