// Our kernels for products of 16 bits, one for each tile that cuda/matmul/config.h chooses from: of every tile what the report wants to know of
// a kernel, so that tiles can be compared whatever is chosen.
import { TILES as HOPPER_TILES } from '../tune.ts';
import type { Job } from './jobs.ts';
import { type Own, ownKernels } from './ours.ts';

/** `128x64`, and the environment in which the small launch takes it: where mma.sync computes, tiles are small that would not fill the card. */
function tilesOf(sm: number): Map<string, Record<string, string>> {
  if (sm >= 90) return new Map(HOPPER_TILES.map((tile) => [tile, { HEDDLE_MATMUL_TILE: tile }]));
  return new Map([
    ['128x128', { SIM_SMS: '1' }],
    ['64x64', { SIM_SMS: '1024' }],
  ]);
}

/** Of a product, with a tile. */
export interface TileOwn extends Own {
  tile: string;
}

/** Product by product, tile by tile. */
export async function tileKernels(o: {
  compiler: string;
  nvdisasm: string | undefined;
  sm: number;
  jobs: readonly Job[];
}): Promise<TileOwn[]> {
  const found: TileOwn[] = [];
  for (const [tile, env] of tilesOf(o.sm)) for (const own of await ownKernels({ ...o, env })) found.push({ ...own, tile });
  return o.jobs.flatMap((job) => found.filter((own) => own.job === job));
}
