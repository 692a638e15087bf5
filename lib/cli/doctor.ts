import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { DeviceInfo } from '../native/addon.ts';
import { binaryPath, hasGpu, type NativeInfo, packageRoot, packageVersion, platformName, remedyBesidesBuilding } from '../native/load.ts';
import { HeddleError } from '../util/errors.ts';
import { deviceFindings, type SelfTest, testDevices } from './doctor-devices.ts';
import { gib, machine } from './machine.ts';

/** One line of the report. `problem`: heddle does not work; `note`: it works, but could do better. */
export interface Finding {
  name: string;
  status: 'ok' | 'note' | 'problem';
  value: string;
  remedy?: string;
}

const NODE_MINIMUM = [20, 19] as const;
const CUDA_DRIVER_MINIMUM = 580;
const MEMORY_MINIMUM_GIB = 2;

/** What the doctor found. */
export interface Examination {
  /** heddle works here. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
  /** The binary that was tried; undefined: there is none. */
  readonly binary: string | undefined;
  /** Undefined where the binary does not load; then `said` holds what the loader said. */
  readonly info: NativeInfo | undefined;
  readonly said: string;
  readonly devices: readonly DeviceInfo[];
  readonly tests: readonly SelfTest[];
}

/** Looks at this machine and this installation. */
export async function examine(): Promise<Examination> {
  const { findings: native, ...binary } = examineBinary();
  const tests = binary.info ? testDevices(binary.devices) : [];
  const cuda = await examineCuda(binary.info, binary.devices);
  const findings = [examineNode(), ...native, examineMemory(), ...cuda, ...deviceFindings(binary.info, binary.devices, tests)];
  return { ok: findings.every((f) => f.status !== 'problem'), findings, tests, ...binary };
}

/**
 * `heddle doctor [--json]`: what this machine and this installation are, each trouble with its remedy, on stdout.
 * Returns the exit code: 0 when heddle works here, 1 when it does not.
 */
export async function runDoctor(options: { json: boolean }): Promise<number> {
  const { ok, findings, info, devices } = await examine();
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

export function line({ name, status, value, remedy }: Finding): string {
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
function examineBinary(): Pick<Examination, 'binary' | 'info' | 'said' | 'devices'> & { findings: Finding[] } {
  let file: string;
  try {
    file = binaryPath();
  } catch (e) {
    if (!(e instanceof HeddleError)) throw e;
    const finding: Finding = { name: 'binary', status: 'problem', value: `none for ${platformName()}`, remedy: 'npx heddle build' };
    return { findings: [finding], binary: undefined, info: undefined, said: '', devices: [] };
  }
  const script = 'const m = require(process.argv[1]); process.stdout.write(JSON.stringify([m.info(), m.devices()]))';
  const child = spawnSync(process.execPath, ['-e', script, file], { encoding: 'utf8', timeout: 30_000 });
  if (child.status !== 0) {
    const said = /^\w*Error(?: \[\w+\])?: (.*)$/m.exec(child.stderr)?.[1] ?? child.stderr.trim().split('\n').at(-1) ?? '';
    const how = child.signal ? `crashed with ${child.signal}` : `did not load: ${said}`;
    const remedy = remedyBesidesBuilding(said) ?? 'npx heddle build';
    const finding: Finding = { name: 'binary', status: 'problem', value: `${file} ${how}`, remedy };
    return { findings: [finding], binary: file, info: undefined, said: child.stderr.trim(), devices: [] };
  }
  const [info, devices] = JSON.parse(child.stdout) as [NativeInfo, DeviceInfo[]];
  return { findings: [examineVersion(file, info), ...examineLevels(info), examineThreads(info)], binary: file, info, said: '', devices };
}

function examineVersion(file: string, info: NativeInfo): Finding {
  if (info.version === packageVersion()) return { name: 'binary', status: 'ok', value: file };
  const value = `${file} was built from version ${info.version}, this is ${packageVersion()}`;
  return { name: 'binary', status: 'problem', value, remedy: 'npx heddle build' };
}

function examineLevels({ isa, isas, compiledIsas, bf16 }: NativeInfo): Finding[] {
  const variables = ['HEDDLE_CPU', 'HEDDLE_BF16'].filter((name) => process.env[name]);
  const forced = variables.length ? ` (forced by ${variables.join(' and ')})` : '';
  const halves = bf16 === 'f32' ? '' : `, products in bf16 by ${bf16}`;
  const value = `${isa}${halves}${forced}; this CPU can run ${isas.join(', ')}`;
  const findings: Finding[] = [{ name: 'instructions', status: 'ok', value }];
  const absent = compiledIsas.filter((name) => !isas.includes(name));
  if (absent.length) findings.push({ name: 'not run here', status: 'ok', value: `${absent.join(', ')}: this CPU does not have it` });
  if (isa === 'baseline' && process.arch === 'x64') {
    const remedy = process.env.HEDDLE_CPU ? 'unset HEDDLE_CPU' : 'training is several times faster on a CPU with AVX2';
    findings.push({ name: 'speed', status: 'note', value: 'no AVX2 in use', remedy });
  }
  return findings;
}

function examineThreads({ threads }: NativeInfo): Finding {
  const { available, quota } = machine();
  const container = quota === undefined ? '' : `; the container's quota is ${Number(quota.toFixed(2))}`;
  const value = `${threads} of ${available} available${container}`;
  const sensible = Math.max(1, Math.min(available, Math.ceil(quota ?? available)));
  if (threads <= sensible) return { name: 'threads', status: 'ok', value };
  return { name: 'threads', status: 'note', value, remedy: `more threads than processors slow training down: HEDDLE_THREADS=${sensible}` };
}

function examineMemory(): Finding {
  const { memory, free } = machine();
  const value = `${gib(memory)}, ${gib(free)} free`;
  if (memory >= MEMORY_MINIMUM_GIB * 2 ** 30) return { name: 'memory', status: 'ok', value };
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

export function driverVersion(): string | undefined {
  try {
    return /Kernel Module.*?\s(\d+\.\d[\d.]*)/.exec(readFileSync('/proc/driver/nvidia/version', 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}
