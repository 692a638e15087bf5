// What bounds a loop: the cycles that one iteration of all warps of a scheduler takes of each pipe, of issue, and of one warp's own latency.
// The largest is the bound, and the work over it the ceiling: an upper limit under the rates of archs.ts.
import { type Arch, archOf, dramBytes, L2_PORT, MOST_BLOCKS, MOST_WARPS, REGISTERS, SHARED_BYTES } from './archs.ts';
import { fromRegisters, type Instruction, isLocal } from './instruction.ts';
import { type Flow, findLoops, type Loop } from './loops.ts';
import type { Kernel } from './sass.ts';
import { pathCharges, type Schedule, simulate } from './schedule.ts';

/** A kernel as it is launched. */
export interface Launched extends Kernel {
  arch: Arch;
  flow: Flow;
  threads: number;
  dynamicShared: number;
  blocksPerSm: number;
  /** Which limit holds blocksPerSm down. */
  limiter: string;
  /** Of the bytes that it asks for, the share that comes from DRAM; the rest is read again and found in a cache. */
  dramShare: number;
  walks: boolean;
}

export interface LaunchShape {
  threads?: number | undefined;
  dynamicShared?: number;
  dramShare?: number;
  /** Blocks walk over many rows: what counts is the loop, not the way to it. */
  walks?: boolean | undefined;
}

export function launched(
  kernel: Kernel,
  { threads = kernel.maxThreads || 128, dynamicShared = 0, dramShare = 1, walks = false }: LaunchShape,
): Launched {
  const arch = archOf(kernel.sm);
  const warps = Math.ceil(threads / 32);
  const perWarp = Math.ceil(kernel.registers / 8) * 8 * 32;
  const limits: [string, number][] = [
    ['warps', Math.floor(MOST_WARPS / warps)],
    ['blocks', MOST_BLOCKS],
    ['registers', perWarp ? Math.floor(Math.floor(REGISTERS / 4 / perWarp) / Math.ceil(warps / 4)) : MOST_BLOCKS],
    ['shared memory', Math.floor((arch.sharedKib * 1024) / (kernel.staticShared + dynamicShared + 1024))], // 1 KiB is the system's
  ];
  const [limiter, blocksPerSm] = limits.reduce((a, b) => (b[1] < a[1] ? b : a));
  return { ...kernel, arch, flow: findLoops(kernel), threads, dynamicShared, blocksPerSm, limiter, dramShare, walks };
}

export interface LoopReport {
  loop: string;
  from: number;
  to: number;
  depth: number;
  nested: number;
  instructions: number;
  /** Instructions off the hot path. */
  conditional: number;
  /** Warps per scheduler. */
  warps: number;
  group: number;
  /** Producer warps were left out. */
  specialised: boolean;
  ops: Record<string, number>;
  mma: Record<string, number>;
  mmas: number;
  /** Of one warp and iteration. */
  flops: number;
  bytes: number;
  wavefronts: number;
  stalls: number;
  /** TMA, of one block and iteration. */
  tmaBytes: number;
  tmaKnown: boolean;
  /** FLOP per byte loaded. */
  intensity: number;
  cycles: Record<string, number>;
  binding: string;
  bound: number;
  unit: 'tensor peak' | 'DRAM bandwidth';
  ceiling: number;
  /** The simulated schedule, data in L2 and in DRAM: [least, most]. */
  l2: [number, number];
  dram: [number, number];
}

export const count = (keys: Iterable<string>): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
};
const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);

const hasTma = (path: readonly Instruction[]): boolean => path.some((c) => c.root === 'UTMALDG' || c.root === 'UBLKCP');

// Bytes announced to transaction barriers (mbarrier.arrive.expect_tx), found through the constant's move.
function expectedBytes(kernel: Kernel, path: readonly Instruction[]): number[] {
  return path.flatMap((c) => {
    if (c.root !== 'SYNCS' || !c.op.includes('.ARRIVE.TRANS64') || c.op.includes('A1T0') || c.args.at(-1) === 'RZ') return [];
    const before = kernel.code.slice(0, kernel.code.indexOf(c)).findLast((o) => o.args[0] === c.args.at(-1));
    const value = before && /^(MOV|IMAD|UMOV|HFMA2)$/.test(before.root) ? before.args.at(-1) : undefined;
    return value !== undefined && /^0x[0-9a-f]+$/.test(value) ? [Number(value)] : [];
  });
}

/** `schedule` false: l2 and dram are left at 0. */
export function analyse(kernel: Launched, loop: Loop, schedule = true): LoopReport {
  const { arch } = kernel;
  const { path } = loop;
  const flops = sum(path.map((c) => c.flops));
  const loads = hasTma(path);
  const producers = kernel.flow.loops.filter((l) => l !== loop && hasTma(l.path) && !l.path.some((c) => c.flops > 0));
  const specialised = flops > 0 && producers.length > 0 && !loads;
  let group = Math.ceil(Math.ceil(kernel.threads / 32) / 4);
  if (specialised && group > 1) group--; // one warpgroup is the producer
  let blocks = Math.max(1, kernel.blocksPerSm);
  if (loads && flops === 0 && loop.depth >= 0) [group, blocks] = [1, 1]; // the producer: one warp
  const warps = group * blocks;
  const bytes = sum(path.filter((c) => c.pipe === 'global' && !isLocal(c) && !c.off).map((c) => 32 * c.width));

  // What TMA brings per iteration of a block: announced in this loop, or by the producer for each barrier that is waited for. An epilogue's
  // tensors come in smaller pieces.
  const waits = path.filter((c) => c.op.includes('PHASECHK')).length;
  const innermost = producers.filter((l) => l.nested === 0); // around them comes what stays for a whole tile
  const theirs = (innermost.length ? innermost : producers).flatMap((l) => expectedBytes(kernel, l.path));
  const tmaBytes = loads ? sum(expectedBytes(kernel, path)) : specialised ? waits * Math.max(0, ...theirs) : 0;

  const cost: Record<string, number> = { issue: path.length };
  for (const one of pathCharges(path, arch, kernel.dramShare)) for (const [p, v] of Object.entries(one)) cost[p] = (cost[p] ?? 0) + v;
  if (flops > 0 && tmaBytes > 0) {
    cost.l2 = (cost.l2 ?? 0) + tmaBytes / L2_PORT / group;
    cost.smem = (cost.smem ?? 0) + tmaBytes / SHARED_BYTES / group;
  }
  const memory = arch.latency.l2 as number;
  const cycles = Object.fromEntries(Object.entries(cost).flatMap(([p, v]) => (v > 0 ? [[p, warps * v]] : [])));
  cycles.latency = simulate(path, arch, { warps: 1, group: 1, memory, alone: true, dramShare: kernel.dramShare });
  const [binding, bound] = Object.entries(cycles).reduce((a, b) => (b[1] > a[1] ? b : a)) as [string, number];
  const useful = flops > 0 ? (warps * flops) / (arch.tensor / 4) : (cycles.dram ?? 0);
  const fill = flops > 0 && tmaBytes > 0 && waits > 0 ? { l2: tmaBytes / L2_PORT, smem: tmaBytes / SHARED_BYTES, waits } : undefined;
  const scheduled = (cyclesOfMemory: number): [number, number] => {
    if (useful === 0 || !schedule) return [0, 0];
    const o: Schedule = { warps, group, memory: cyclesOfMemory, fill, dramShare: kernel.dramShare };
    const offsets = flops > 0 && blocks > 1 ? [0, 0.5, 1] : [0];
    const runs = offsets.map((late) => simulate(path, arch, { ...o, late }));
    return [useful / Math.max(bound, ...runs), useful / Math.max(bound, Math.min(...runs))];
  };
  const moved = bytes * group * 4 + tmaBytes;
  const mma = count(
    path
      .filter((c) => c.flops > 0)
      .map((c) => c.op.split('.').slice(0, 2).join('.') + (c.root.endsWith('GMMA') && fromRegisters(c) ? '/RS' : '')),
  );
  return {
    ...{
      loop: loop.name,
      depth: loop.depth,
      nested: loop.nested,
      specialised,
      warps,
      group,
      flops,
      bytes,
      tmaBytes,
      cycles,
      binding,
      bound,
      mma,
    },
    ...{
      from: path[0]?.address ?? 0,
      to: path.at(-1)?.address ?? 0,
      instructions: path.length,
      conditional: loop.all.length - path.length,
    },
    ...{ ops: count(path.map((c) => c.root)), mmas: sum(Object.values(mma)), wavefronts: sum(path.map((c) => c.wavefronts)) },
    ...{ stalls: sum(path.map((c) => c.stall)), tmaKnown: tmaBytes > 0 || !(loads || specialised) },
    intensity: moved > 0 ? (flops * group * 4) / moved : 0,
    unit: flops > 0 ? 'tensor peak' : 'DRAM bandwidth',
    ceiling: useful / bound,
    l2: scheduled(memory),
    dram: scheduled(arch.latency.dram as number),
  };
}

const streamed = (path: readonly Instruction[]): number =>
  sum(path.filter((c) => c.pipe === 'global' && !isLocal(c) && !c.off).map((c) => c.width));

/**
 * The loops worth a line: with tensor or TMA work; in a kernel without MMA the loop through which nearly all bytes go, or, where there is
 * none, the whole kernel. Where blocks walk over many rows, what leads to the loop moves as much.
 */
export function analyseKernel(kernel: Launched, schedule = true): LoopReport[] {
  const { loops } = kernel.flow;
  const whole = loops.find((l) => l.depth < 0);
  const least = whole ? (kernel.walks ? 0.4 : 0.9) * streamed(whole.path) : 0;
  const main = whole && loops.find((l) => l.depth >= 0 && l.nested === 0 && streamed(l.path) >= least);
  const wanted = whole ? [main ?? whole] : loops.filter((l) => l.path.some((c) => c.flops > 0) || hasTma(l.path));
  return wanted.map((l) => analyse(kernel, l, schedule));
}

/** The innermost loop with the most tensor work, else the one with the most bytes; of equals the shortest: of attention's that without masks. */
export function hotLoop(reports: readonly LoopReport[]): LoopReport | undefined {
  const key = (r: LoopReport): number[] => [r.flops > 0 ? 1 : 0, -r.nested, r.flops, r.flops > 0 ? 0 : r.bytes, -r.instructions];
  const better = (a: number[], b: number[]): boolean => {
    const i = a.findIndex((x, k) => x !== b[k]);
    return i >= 0 && (a[i] as number) > (b[i] as number);
  };
  return reports.reduce<LoopReport | undefined>((best, r) => (best && !better(key(r), key(best)) ? best : r), undefined);
}

/** The loop that a report is of. */
export const loopOf = (kernel: Launched, r: LoopReport): Loop | undefined =>
  kernel.flow.loops.find((l) => l.path[0]?.address === r.from && l.depth === r.depth);

/** Bytes per clock and multiprocessor that a loop at its bound asks of L2. */
export const l2Demand = (r: LoopReport): number => ((r.cycles.l2 ?? 0) / r.bound) * L2_PORT;

export const peakTflops = (arch: Arch): number => (arch.tensor * arch.sms * arch.ghz) / 1000;
export const peakGBs = (arch: Arch): number => dramBytes(arch) * arch.sms * arch.ghz;
