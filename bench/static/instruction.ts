// One machine instruction: its text and its encoding's control field as nvdisasm prints them, and what it costs.
import { type Arch, L2_PORT, pipeOf, SHARED_BYTES } from './archs.ts';

/** Where an instruction comes from, the innermost inlined function first. */
export type Line = [file: string, line: number];
/** Pipe -> cycles of a sub-partition. */
export type Cost = Record<string, number>;

export interface Instruction {
  address: number;
  text: string;
  predicate: string;
  /** `HMMA.16816.F32.BF16`, and up to its first dot. */
  op: string;
  root: string;
  args: string[];
  operands: string;
  lines: readonly Line[];
  /** Cycles until the warp's next instruction. */
  stall: number;
  /** Scoreboards: set until the result is written, until the sources are read (7: none); a mask of those waited for. */
  writeBar: number;
  readBar: number;
  wait: number;
  reuse: number;
  /** Never executes (@!PT), only takes an issue slot. */
  off: boolean;
  pipe: string;
  /** Bytes of a thread that it moves. */
  width: number;
  /** Wavefronts of shared memory without bank conflicts. */
  wavefronts: number;
  /** m, n, k of a tensor instruction. */
  shape: readonly number[] | undefined;
  /** Of one warp: a quarter of a warpgroup's. */
  flops: number;
}

const isGmma = (root: string): boolean => root.endsWith('GMMA');

function widthOf(root: string, op: string, pipe: string): number {
  if (root === 'LDSM' || root === 'STSM') return 4 * Number(/88\.?(\d)?/.exec(op)?.[1] ?? 1);
  if (pipe !== 'shared' && pipe !== 'global') return 0;
  const bits = /\.(128|64|[US]16|[US]8)\b/.exec(op)?.[1];
  return bits ? Number(bits.replace(/^[US]/, '')) / 8 : 4;
}

function shapeOf(op: string): readonly number[] | undefined {
  const m = /\.(\d+)x(\d+)x(\d+)|\.(16|8)(8)(\d+)/.exec(op);
  return m?.slice(1).filter(Boolean).map(Number);
}

/** `high`: the upper 64 bits of the 128 of an instruction; the control field is bits 105 to 125. */
export function parseInstruction(address: number, text: string, high: bigint, lines: readonly Line[]): Instruction {
  const [, predicate = '', op = '', operands = ''] = /^(@!?U?P\w+)?\s*(\S+)\s*(.*)$/.exec(text) ?? [];
  const root = op.split('.')[0] as string;
  const control = Number(high >> 41n);
  const pipe = pipeOf(root);
  const off = predicate === '@!PT';
  const width = widthOf(root, op, pipe);
  const shape = pipe === 'tensor' ? shapeOf(op) : undefined;
  return {
    ...{ address, text, predicate, op, root, operands, lines, off, pipe, width, shape },
    args: operands ? operands.split(',').map((a) => a.trim()) : [],
    ...{
      stall: control & 15,
      writeBar: (control >> 5) & 7,
      readBar: (control >> 8) & 7,
      wait: (control >> 11) & 63,
      reuse: (control >> 17) & 15,
    },
    wavefronts: pipe === 'shared' && !off ? Math.max(1, width >> 2) : 0,
    flops: shape ? (2 * shape.reduce((a, b) => a * b, 1)) / (isGmma(root) ? 4 : 1) : 0,
  };
}

/** A wgmma whose A stands in registers. */
export const fromRegisters = (c: Instruction): boolean => isGmma(c.root) && c.args[1]?.startsWith('gdesc') !== true;

export const isLocal = (c: Instruction): boolean => c.root === 'LDL' || c.root === 'STL';

/** What one warp's execution takes of each pipe. */
export function charges(c: Instruction, arch: Arch): Cost {
  if (c.off) return {};
  if (c.shape) {
    const eight = c.root === 'QGMMA' || c.root === 'IGMMA' || c.root === 'IMMA';
    const rate = (arch.tensor / 4) * (c.op.includes('TF32') ? 0.5 : eight ? 2 : 1);
    if (!isGmma(c.root)) return { tensor: c.flops / (rate * arch.mmaSync) };
    const rows = (c.shape[1] as number) + (fromRegisters(c) ? 0 : 64); // of 32 bytes of k, read once for four warps
    return { tensor: c.flops / rate, smem: (rows * 32) / SHARED_BYTES };
  }
  const bytes = 32 * c.width;
  const lanes = (pipe: string): number => 128 / (arch.lanes[pipe] as number);
  switch (c.pipe) {
    case 'global': {
      const smem = 4 * Math.max(1, bytes / SHARED_BYTES);
      return isLocal(c) ? { smem } : { smem, l2: (4 * bytes) / L2_PORT };
    }
    case 'half':
      return { fma: 256 / (arch.lanes[c.op.includes('BF16') ? 'bf16' : 'half'] as number) };
    case 'imad': // half of the FMA pipe on Hopper, all of it on Ampere
      return { fma: lanes('fma'), imad: lanes('imad') };
    case 'shfl':
      return { smem: lanes('shfl') };
    case 'shared':
      return { smem: 4 * c.wavefronts };
    default:
      return arch.lanes[c.pipe] ? { [c.pipe]: lanes(c.pipe) } : {};
  }
}

/** Cycles from issue to result, of an instruction that sets a scoreboard. `memory`: of L2 or DRAM. */
export function latency(c: Instruction, arch: Arch, memory: number): number {
  if (c.pipe === 'global' && !isLocal(c)) return memory;
  if (c.root === 'LDSM') return arch.latency.ldsm as number;
  return arch.latency[c.pipe === 'shared' || c.pipe === 'global' ? 'smem' : c.pipe] ?? 20;
}
