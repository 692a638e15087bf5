// Triton's kernels for the same jobs, where a Python with triton is named: compiled, not run.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { packageRoot } from '../../lib/native/load.ts';
import { disassemble } from './disassembler.ts';
import type { Loop } from './loops.ts';
import { analyseKernel, hotLoop, type Launched, type LoopReport, launched, loopOf } from './model.ts';

/** m, n and k of what a block computes at a time. */
type Tile = readonly [m: number, n: number, k: number];

export interface Peer {
  job: string;
  /** Tile, warps, stages. */
  name: string;
  tile: Tile | null;
  version: string;
  kernel: Launched;
  loop: LoopReport;
  hot: Loop;
}

interface Said {
  job: string;
  name: string;
  tile: Tile | null;
  cubin: string;
  threads: number;
  shared: number;
  version: string;
  error?: string;
}

/**
 * Kernels of every configuration in bench/peers/triton_kernels.py; `note` is told of those that Triton cannot compile.
 * @throws Error where the interpreter has no triton
 */
export function tritonPeers(python: string, nvdisasm: string, sm: number, jobs: readonly string[], note: (line: string) => void): Peer[] {
  const root = packageRoot();
  const args = [path.join(root, 'bench', 'peers', 'triton_kernels.py'), path.join(root, 'build', 'peers'), String(sm), ...jobs];
  const run = spawnSync(python, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (run.status !== 0)
    throw new Error(`${python} ${args[0]} failed: ${(run.stderr || run.error?.message || '').trim().split('\n').at(-1)}`);
  const peers: Peer[] = [];
  for (const line of run.stdout.split('\n').filter((l) => l.startsWith('{'))) {
    const said = JSON.parse(line) as Said;
    if (said.error !== undefined) {
      note(`Triton, ${said.job} ${said.name}: ${said.error}`);
      continue;
    }
    const [code] = disassemble(nvdisasm, said.cubin);
    const kernel = code && launched(code, { threads: said.threads, dynamicShared: said.shared });
    const loop = kernel && hotLoop(analyseKernel(kernel));
    const hot = loop && loopOf(kernel, loop);
    if (hot && kernel.blocksPerSm > 0)
      peers.push({ job: said.job, name: said.name, tile: said.tile, version: said.version, kernel, loop, hot });
    else note(`Triton, ${said.job} ${said.name}: ${loop ? 'does not fit on a multiprocessor' : 'no loop found'}`);
  }
  return peers;
}
