// From a main loop to a whole product: what its prologue and epilogue cost, and how its tiles fill the multiprocessors. A model, not a
// measurement.
import type { Launched, LoopReport } from './model.ts';
import type { Profile } from './profile.ts';

/** m, n and k of the piece that a block computes per iteration of its main loop. */
export type Tile = readonly [m: number, n: number, k: number];

export interface Product {
  name: string;
  M: number;
  N: number;
  K: number;
}

/** GPT-2 124M at 65,536 tokens: every linear layer, and its gradients. */
const ROWS = 65536;
const LAYERS: readonly [name: string, inputs: number, outputs: number][] = [
  ['qkv', 768, 2304],
  ['proj', 768, 768],
  ['up', 768, 3072],
  ['down', 3072, 768],
  ['head', 768, 50304],
];
export type Kind = 'forward' | 'dX' | 'dW';
export const GPT2_PRODUCTS: Record<Kind, Product[]> = {
  forward: LAYERS.map(([name, inputs, outputs]) => ({ name, M: ROWS, N: outputs, K: inputs })),
  dX: LAYERS.map(([name, inputs, outputs]) => ({ name, M: ROWS, N: inputs, K: outputs })),
  dW: LAYERS.map(([name, inputs, outputs]) => ({ name, M: outputs, N: inputs, K: ROWS })),
};

/** Of our kernels, by name (cuda/matmul). */
export function tileOf(kernel: string): { tile: Tile; persistent: boolean } | undefined {
  const [, family, type, size, columns] = /^matmul_(mma|hopper)\w*_kernel<(\w+)(?:<[^>]*>)?,(\d+),(\d+)/.exec(kernel) ?? [];
  if (family === 'mma') return { tile: [Number(size), Number(size), type === 'float' ? 16 : 32], persistent: false };
  return family === 'hopper' ? { tile: [Number(size), Number(columns), type === 'Codes' ? 128 : 64], persistent: true } : undefined;
}

/** Parts that K is cut into, computed side by side: sums over rows (chunks_of in cuda/matmul/config.h). */
export const chunksOf = (kind: Kind, K: number): number => (kind !== 'dW' ? 1 : K >= 16384 ? 8 : K >= 8192 ? 4 : K >= 4096 ? 2 : 1);

/**
 * Instructions of all warps of a block for a tile, outside of the main loop. The simulator counts PTX at two depths, which gives PTX
 * instructions per iteration and outside; the main loop's own machine code turns them into machine instructions.
 */
export function outsideOf(kernel: Launched, loop: LoopReport, profile: Profile, depth: number, tile: Tile): number {
  if (!profile.deeper) return 0;
  const perIteration = (profile.deeper.warpInstructions - profile.main.warpInstructions) / (depth / tile[2]);
  const outside = profile.main.warpInstructions - perIteration * (depth / tile[2]);
  const tiles = Math.ceil(256 / tile[0]) * Math.ceil(256 / tile[1]);
  const warps = loop.specialised ? 4 * loop.group : Math.ceil(kernel.threads / 32);
  const machine = (loop.instructions * warps * tiles) / perIteration;
  return Math.max(0, (outside / tiles) * machine);
}

export interface WholeShare {
  /** Of the tensor peak. */
  share: number;
  /** Of the waves of blocks. */
  fill: number;
  /** Of the time, outside of the main loop. */
  outside: number;
}

/** `outside`: instructions of a block for a tile outside of the main loop. */
export function wholeShare(
  kernel: Launched,
  loop: LoopReport,
  p: Product,
  o: { tile: Tile; persistent: boolean; outside: number; chunks: number },
): WholeShare {
  const tiles = Math.ceil(p.M / o.tile[0]) * Math.ceil(p.N / o.tile[1]) * o.chunks;
  const trips = Math.ceil(p.K / o.chunks / o.tile[2]);
  const scheduled = loop.bound * (loop.ceiling / loop.l2[1]); // cycles of an iteration of all resident blocks
  const blocks = Math.max(1, kernel.blocksPerSm);
  const inside = (trips * scheduled) / blocks;
  const around = o.outside / 4;
  const useful = (p.M * p.N * p.K) / (Math.ceil(p.M / o.tile[0]) * o.tile[0] * Math.ceil(p.N / o.tile[1]) * o.tile[1] * p.K);
  const places = kernel.arch.sms * blocks;
  const fill = tiles / (Math.ceil(tiles / places) * places);
  return { share: loop.l2[1] * (inside / (inside + around)) * fill * useful, fill, outside: around / (inside + around) };
}
