import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { DeviceInfo } from '../native/addon.ts';
import { binaryPath, hasGpu, type NativeInfo, packageRoot, packageVersion, platformName, remedyBesidesBuilding } from '../native/load.ts';
import { HeddleError } from '../util/errors.ts';

/** One line of the report. `problem`: heddle does not work; `note`: it works, but could do better. */
interface Finding {
  name: string;
  status: 'ok' | 'note' | 'problem';
  value: string;
  remedy?: string;
}

const NODE_MINIMUM = [20, 19] as const;
const CUDA_DRIVER_MINIMUM = 580;
const MEMORY_MINIMUM_GIB = 2;

/**
 * `heddle doctor [--json]`: what this machine and this installation are, each trouble with its remedy, on stdout.
 * Returns the exit code: 0 when heddle works here, 1 when it does not.
 */
export async function runDoctor(options: { json: boolean }): Promise<number> {
  const { findings: native, info, devices } = examineBinary();
  const findings = [examineNode(), ...native, examineMemory(), ...(await examineCuda(info, devices)), ...devices.flatMap(examineDevice)];
  const ok = findings.every((f) => f.status !== 'problem');
  if (options.json) {
    const facts = { version: packageVersion(), platform: platformName(), node: process.versions.node };
    console.log(JSON.stringify({ ok, ...facts, native: info ?? null, devices, findings }));
  } else {
    console.log(`heddle ${packageVersion()} on ${platformName()}`);
    for (const f of findings) console.log(line(f));
    console.log(ok ? 'heddle works here.' : 'heddle does not work here yet: see the lines marked ✗.');
  }
  return ok ? 0 : 1;
}

function line({ name, status, value, remedy }: Finding): string {
  const mark = { ok: '✓', note: '!', problem: '✗' }[status];
  return `${mark} ${name.padEnd(14)} ${value}${remedy ? `\n    → ${remedy}` : ''}`;
}

function examineNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isOld = major < NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor < NODE_MINIMUM[1]);
  if (!isOld) return { name: 'Node', status: 'ok', value: process.versions.node };
  return {
    name: 'Node',
    status: 'problem',
    value: process.versions.node,
    remedy: `install Node ${NODE_MINIMUM.join('.')} or newer: nvm install 22`,
  };
}

// The binary is loaded in a process of its own first: if it crashes, the doctor lives to tell.
function examineBinary(): { findings: Finding[]; info?: NativeInfo; devices: DeviceInfo[] } {
  let file: string;
  try {
    file = binaryPath();
  } catch (e) {
    if (!(e instanceof HeddleError)) throw e;
    return {
      findings: [{ name: 'binary', status: 'problem', value: `none for ${platformName()}`, remedy: 'npx heddle build' }],
      devices: [],
    };
  }
  const script = 'const m = require(process.argv[1]); process.stdout.write(JSON.stringify([m.info(), m.devices()]))';
  const child = spawnSync(process.execPath, ['-e', script, file], { encoding: 'utf8', timeout: 30_000 });
  if (child.status !== 0) {
    const said = /^\w*Error(?: \[\w+\])?: (.*)$/m.exec(child.stderr)?.[1] ?? child.stderr.trim().split('\n').at(-1) ?? '';
    const how = child.signal ? `crashed with ${child.signal}` : `did not load: ${said}`;
    const remedy = remedyBesidesBuilding(said) ?? 'npx heddle build';
    return { findings: [{ name: 'binary', status: 'problem', value: `${file} ${how}`, remedy }], devices: [] };
  }
  const [info, devices] = JSON.parse(child.stdout) as [NativeInfo, DeviceInfo[]];
  return { findings: [examineVersion(file, info), ...examineLevels(info), examineThreads(info)], info, devices };
}

function examineVersion(file: string, info: NativeInfo): Finding {
  if (info.version === packageVersion()) return { name: 'binary', status: 'ok', value: file };
  const value = `${file} was built from version ${info.version}, this is ${packageVersion()}`;
  return { name: 'binary', status: 'problem', value, remedy: 'npx heddle build' };
}

function examineLevels({ isa, isas, compiledIsas }: NativeInfo): Finding[] {
  const forced = process.env.HEDDLE_CPU ? ' (forced by HEDDLE_CPU)' : '';
  const findings: Finding[] = [{ name: 'instructions', status: 'ok', value: `${isa}${forced}; this CPU can run ${isas.join(', ')}` }];
  const absent = compiledIsas.filter((name) => !isas.includes(name));
  if (absent.length) findings.push({ name: 'not run here', status: 'ok', value: `${absent.join(', ')}: this CPU does not have it` });
  if (isa === 'baseline' && process.arch === 'x64') {
    const remedy = process.env.HEDDLE_CPU ? 'unset HEDDLE_CPU' : 'training is several times faster on a CPU with AVX2';
    findings.push({ name: 'speed', status: 'note', value: 'no AVX2 in use', remedy });
  }
  return findings;
}

function examineThreads({ threads }: NativeInfo): Finding {
  const available = os.availableParallelism();
  const value = `${threads} of ${available} available`;
  if (threads <= available) return { name: 'threads', status: 'ok', value };
  return { name: 'threads', status: 'note', value, remedy: `more threads than processors slow training down: HEDDLE_THREADS=${available}` };
}

function examineMemory(): Finding {
  const gib = (bytes: number) => bytes / 2 ** 30;
  const limit = process.constrainedMemory() ?? 0;
  const total = limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem();
  const value = `${gib(total).toFixed(1)} GiB, ${gib(Math.min(os.freemem(), total)).toFixed(1)} GiB free`;
  if (gib(total) >= MEMORY_MINIMUM_GIB) return { name: 'memory', status: 'ok', value };
  const remedy = 'train a smaller model, or raise the memory limit of the container';
  return { name: 'memory', status: 'note', value, remedy };
}

async function examineCuda(info: NativeInfo | undefined, devices: readonly DeviceInfo[]): Promise<Finding[]> {
  if (!info) return [];
  const { cuda, cudaVersion, cudaArchs } = info;
  const simulated = devices.some((d) => d.simulated) ? 'simulated, ' : '';
  if (!cuda) return [{ name: 'CUDA', status: 'ok', value: `${simulated}${cudaVersion}; kernels for ${cudaArchs}` }];
  if (!hasGpu()) return [{ name: 'CUDA', status: 'ok', value: `${cuda}; no NVIDIA GPU here` }];
  const built = cudaArchs !== '';
  const value = `${cuda}; an NVIDIA GPU is here, driver ${driverVersion() ?? 'unknown'}`;
  const remedy = built ? `install driver ${CUDA_DRIVER_MINIMUM} or newer` : await compilerRemedy();
  return [{ name: 'CUDA', status: 'note', value, remedy }];
}

// The compiler that the kernels need, by the script that builds with it: so both say the same.
async function compilerRemedy(): Promise<string> {
  const script = pathToFileURL(path.join(packageRoot(), 'scripts/tools.mjs')).href;
  const { nvcc, cudaRemedy } = (await import(script)) as { nvcc(): string | undefined; cudaRemedy(): string };
  return nvcc() ? 'npx heddle build' : `install the CUDA compiler: ${cudaRemedy()}; then npx heddle build`;
}

// A GPU: what it is, and whether every family of kernels computes on it what the CPU does. In a process of its own, as above.
function examineDevice(device: DeviceInfo): Finding[] {
  const { name, card, capability, memory, free, multiprocessors, problem } = device;
  const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
  const facts = `${card}, compute capability ${Math.floor(capability / 10)}.${capability % 10}, ${multiprocessors} multiprocessors`;
  const value = `${facts}, ${gib(memory)} GiB, ${gib(free)} GiB free`;
  if (problem) return [{ name, status: 'note', value, remedy: problem }];
  const found: Finding = { name, status: 'ok', value };
  const script = fileURLToPath(import.meta.url.replace(/doctor\.(ts|js)$/, 'self_test.$1'));
  // tsx, when this runs from sources
  const loaders = process.execArgv.flatMap((a, i, all) =>
    a === '--import' ? [a, all[i + 1] ?? ''] : a.startsWith('--import=') ? [a] : [],
  );
  const child = spawnSync(process.execPath, [...loaders, script, name], { encoding: 'utf8', timeout: 300_000 });
  const test = `${name} kernels`;
  if (child.status !== 0 || !child.stdout.startsWith('{')) {
    const said = child.signal ? `ended with ${child.signal}` : (child.stderr.trim().split('\n').at(-1) ?? '');
    return [found, { name: test, status: 'problem', value: `${card}: the self-test ${said}`, remedy: 'npx heddle build, or report this' }];
  }
  const verdicts = Object.entries(JSON.parse(child.stdout) as Record<string, string>);
  const bad = verdicts.filter(([, verdict]) => verdict !== 'ok');
  if (bad.length === 0)
    return [found, { name: test, status: 'ok', value: `${card}, as on the CPU: ${verdicts.map(([family]) => family).join(', ')}` }];
  const wrong = bad.map(([family, verdict]) => `${family}: ${verdict}`).join('; ');
  return [found, { name: test, status: 'problem', value: `${card}: ${wrong}`, remedy: "use device 'cpu' and report this" }];
}

function driverVersion(): string | undefined {
  try {
    return /Kernel Module.*?\s(\d+\.\d[\d.]*)/.exec(readFileSync('/proc/driver/nvidia/version', 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}
