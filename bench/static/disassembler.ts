// nvdisasm of the CUDA toolkit: where it is, or how to get it.
import { spawnSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { demangle } from './demangle.ts';
import { type Kernel, parseSass } from './sass.ts';
import { functionsOf } from './symbols.ts';

export const DISASSEMBLER_REMEDY =
  'no nvdisasm on PATH, beside nvcc or in CUDA_HOME: install cuda-nvdisasm-13-0 of the CUDA toolkit (developer.nvidia.com/cuda-downloads), ' +
  'or set HEDDLE_NVDISASM to one, such as triton/backends/nvidia/bin/nvdisasm of `pip install triton`';

const works = (command: string): boolean => spawnSync(command, ['--version'], { encoding: 'utf8' }).stdout?.includes('nvdisasm') === true;

function beside(command: string): string[] {
  const found = command.includes('/') ? command : spawnSync('which', [command], { encoding: 'utf8' }).stdout?.trim();
  if (!found) return [];
  try {
    return [...new Set([found, realpathSync(found)])].map((file) => path.join(path.dirname(file), 'nvdisasm'));
  } catch {
    return [];
  }
}

/** The one of an interpreter's triton, which brings it along. */
function ofTriton(python: string): string[] {
  const script = 'import os, importlib.util as u; s = u.find_spec("triton"); print(os.path.dirname(s.origin) if s else "")';
  const folder = spawnSync(python, ['-c', script], { encoding: 'utf8' }).stdout?.trim();
  return folder ? [path.join(folder, 'backends', 'nvidia', 'bin', 'nvdisasm')] : [];
}

/**
 * Undefined where there is none.
 * @throws Error where HEDDLE_NVDISASM names something else
 */
export function findDisassembler(nvcc: string, python?: string): string | undefined {
  const { HEDDLE_NVDISASM: named, CUDA_HOME, CUDA_PATH } = process.env;
  if (named) {
    if (works(named)) return named;
    throw new Error(`HEDDLE_NVDISASM must name the nvdisasm of a CUDA toolkit, got ${named}, which does not say that it is one`);
  }
  const homes = [CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter((home) => home !== undefined);
  const places = [
    'nvdisasm',
    ...beside(nvcc),
    ...homes.map((home) => path.join(home, 'bin', 'nvdisasm')),
    ...(python ? ofTriton(python) : []),
  ];
  return places.find(works);
}

/** The kernels of a cubin whose names `wanted` accepts. The others are not disassembled: all of a large one take a quarter of a minute. */
export function disassemble(command: string, cubin: string, wanted?: (name: string) => boolean): Kernel[] {
  const indices = wanted && [...functionsOf(cubin)].filter(([symbol]) => wanted(demangle(symbol))).map(([, { index }]) => index);
  if (indices?.length === 0) return [];
  const only = indices ? ['-fun', indices.join(',')] : [];
  const run = spawnSync(command, ['-hex', '-gi', ...only, cubin], { encoding: 'utf8', maxBuffer: 1 << 30 });
  if (run.status !== 0) {
    const older = readFileSync(cubin).subarray(1, 4).toString() === 'ELF' ? ' (an nvdisasm older than the compiler?)' : '';
    throw new Error(`${command} cannot read ${cubin}${older}: ${(run.stderr ?? run.error?.message ?? '').trim().split('\n')[0]}`);
  }
  return parseSass(run.stdout, cubin, wanted);
}
