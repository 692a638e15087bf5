import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { NativeLoadError } from './errors.ts';

/** What the native binary says of itself and of this machine. */
export interface NativeInfo {
  /** Version of the package that it was built from. */
  version: string;
  /** Instruction set in use: the best of `isas`, or `HEDDLE_CPU`. */
  isa: string;
  /** Instruction sets that this CPU has, of those compiled. */
  isas: string[];
  /** Bytes of the last-level cache, or `HEDDLE_CACHE_BYTES`: larger outputs are written past the caches. */
  cacheBytes: number;
  /** Instruction sets that were compiled. */
  compiledIsas: string[];
  /** What products in bf16 are computed by in the instruction set in use: the best that this machine has, or `HEDDLE_BF16`; `f32`: in full. */
  bf16: 'amx' | 'avx512_bf16' | 'f32';
  /** Threads of a CPU stream. */
  threads: number;
  /** Why there is no CUDA device; empty: there is one. */
  cuda: string;
  /** CUDA that the binary was built with, and the driver's; empty without CUDA. */
  cudaVersion: string;
  /** Architectures that its kernels were compiled for. */
  cudaArchs: string;
}

interface NodeGypBuild {
  resolve(root: string): string;
}

const BUILD_COMMAND = 'npx heddle build';
const require = createRequire(import.meta.url);

/** The package's folder: the same from lib/ as from dist/. */
export function packageRoot(): string {
  return path.dirname(require.resolve('#package'));
}

/** Version of the package, from its package.json. */
export function packageVersion(): string {
  return (require('#package') as { version: string }).version;
}

/** `linux-x64 (glibc 2.36)`, `linux-arm64 (musl)`, `darwin-arm64`. */
export function platformName(): string {
  const name = `${process.platform}-${process.arch}`;
  if (process.platform !== 'linux') return name;
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return `${name} (${header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : 'musl'})`;
}

/** Whether this machine has an NVIDIA GPU, by its device files. */
export function hasGpu(): boolean {
  return existsSync('/dev') && readdirSync('/dev').some((name) => /^(nvidia\d+|dxg)$/.test(name));
}

/**
 * Path of the native binary. Where there is no GPU and a clone has built the simulated one (`npm run build:sim`), that build;
 * otherwise one built here (build/Release) before the prebuilt one of this platform. `gpu`: whether this machine has one.
 * @throws NativeLoadError when there is none
 */
export function binaryPath(gpu: boolean = hasGpu()): string {
  const root = packageRoot();
  const simulated = path.join(root, 'build', 'sim', 'Release', 'heddle.node');
  if (!process.env.HEDDLE_PREBUILD && !gpu && existsSync(simulated)) return simulated;
  try {
    return (require('node-gyp-build') as NodeGypBuild).resolve(root);
  } catch (cause) {
    const platform = platformName();
    throw new NativeLoadError(`heddle has no native binary for ${platform} in ${root}`, {
      platform,
      hint: `Build it from source: ${BUILD_COMMAND}`,
      cause,
    });
  }
}

/** What helps where the binary itself, in what it said as it was loaded, finds the fault elsewhere. */
export function remedyBesidesBuilding(said: string): string | undefined {
  const variable = /HEDDLE_(?:CPU|BF16|THREADS|CACHE_BYTES)/.exec(said)?.[0];
  if (variable) return `correct ${variable} or unset it`;
  return said.includes('x86-64-v2') ? 'use another machine: no build of heddle runs on this processor' : undefined;
}

/**
 * Loads the native binary: the addon's exports, untyped.
 * @throws NativeLoadError naming the platform, the path, what the loader said and the command that builds from source
 */
export function loadAddon(): object {
  const file = binaryPath();
  try {
    return require(file) as object;
  } catch (cause) {
    const platform = platformName();
    const said = cause instanceof Error ? cause.message : String(cause);
    const remedy = remedyBesidesBuilding(said);
    const hint = remedy ? remedy[0]?.toUpperCase() + remedy.slice(1) : `Build it from source: ${BUILD_COMMAND}`;
    throw new NativeLoadError(`heddle's native binary for ${platform} did not load: ${file}\n  ${said}`, {
      platform,
      path: file,
      hint,
      cause,
    });
  }
}
