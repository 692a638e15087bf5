// From a main loop to a whole product: what its prologue and epilogue cost, and how its tiles fill the multiprocessors. A model, not a
// measurement.
import type { Loop } from './loops.ts';
import { analyse, type Launched, type LoopReport } from './model.ts';
import type { Plan } from './plans.ts';
import type { Product } from './products.ts';
import type { Profile } from './profile.ts';

/** A kernel that computes products tile by tile. */
export interface TileKernel {
  kernel: Launched;
  loop: LoopReport;
  hot: Loop;
  /** A block's piece of the result. */
  m: number;
  n: number;
  /** Blocks below each other that start together. */
  cluster: number;
  /** While a block ends a tile, it fetches the next one. */
  persistent: boolean;
  /** Instructions of all warps of a block, outside of the main loop. */
  outside: number;
}

/** Of our kernels, by name (cuda/matmul). */
export function tileOf(kernel: string): Pick<TileKernel, 'm' | 'n' | 'cluster' | 'persistent'> | undefined {
  const [, family, size, columns] = /^matmul_(mma|hopper)\w*_kernel<\w+(?:<[^>]*>)?,(\d+),(\d+)/.exec(kernel) ?? [];
  if (family === undefined) return undefined;
  if (family === 'mma') return { m: Number(size), n: Number(size), cluster: 1, persistent: false };
  return { m: Number(size), n: Number(columns), cluster: 2, persistent: true };
}

/** How much of K an iteration of the main loop sums over: ptxas may have unrolled it. */
const depthOf = (loop: LoopReport, m: number, n: number): number => (loop.flops * 4 * loop.group) / (2 * m * n);

/**
 * Instructions of all warps of a block for a tile, outside of the main loop. The simulator counts PTX of 256 x 256 at a depth and at twice
 * it, which gives what is in the loop and what is not; the main loop's own machine code turns them into machine instructions.
 */
export function outsideOf(kernel: Launched, loop: LoopReport, profile: Profile, depth: number, m: number, n: number): number {
  if (!profile.deeper) return 0;
  const inside = profile.deeper.warpInstructions - profile.main.warpInstructions;
  const outside = Math.max(0, profile.main.warpInstructions - inside);
  const warps = loop.specialised ? 4 * loop.group : Math.ceil(kernel.threads / 32);
  return (outside / inside) * (depth / depthOf(loop, m, n)) * loop.instructions * warps;
}

const schedules = new WeakMap<LoopReport, number[]>();

/** Cycles of an iteration of that many blocks, which share a multiprocessor. Fewer than it holds hide less of each other's waits. */
function iterationCycles({ kernel, loop, hot }: TileKernel, blocks: number): number {
  const known = schedules.get(loop) ?? [];
  schedules.set(loop, known);
  const r = blocks === kernel.blocksPerSm || known[blocks] ? loop : analyse({ ...kernel, blocksPerSm: blocks }, hot);
  known[blocks] ??= (r.warps * r.flops) / (kernel.arch.tensor / 4) / r.l2[1];
  return known[blocks];
}

export interface WholeShare {
  /** Of the tensor peak. */
  share: number;
  /** Of the time, if the last wave of blocks were as full as the others. */
  fill: number;
  /** Of the time, outside of the main loop. */
  outside: number;
}

/**
 * Blocks take turns on the multiprocessors, all in step. Products have the chunks of K of `plan`, for each of which a block starts. One that
 * starts alone on its multiprocessor waits for its first tile; where there are several, the others compute meanwhile.
 */
export function wholeShare(t: TileKernel, { M, N, K }: Product, { chunks, chunkK }: Pick<Plan, 'chunks' | 'chunkK'>): WholeShare {
  const { arch, blocksPerSm } = t.kernel;
  const down = Math.ceil(M / t.m);
  const units = (down > 1 ? Math.ceil(down / t.cluster) * t.cluster : 1) * Math.ceil(N / t.n) * chunks;
  const first = t.persistent && chunks === 1 ? 0 : (arch.latency.dram as number);
  const around = (blocks: number): number => (blocks * t.outside) / 4 + (blocks === 1 ? first : 0);
  const wave = (blocks: number): number => (chunkK / depthOf(t.loop, t.m, t.n)) * iterationCycles(t, blocks) + around(blocks);
  const places = arch.sms * blocksPerSm;
  const left = units % places;
  const cycles = Math.floor(units / places) * wave(blocksPerSm) + (left > 0 ? wave(Math.ceil(left / arch.sms)) : 0);
  return {
    share: (2 * M * N * K) / (arch.tensor * arch.sms * cycles),
    fill: Math.min(1, ((units / places) * wave(blocksPerSm)) / cycles),
    outside: around(blocksPerSm) / wave(blocksPerSm),
  };
}
