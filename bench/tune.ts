// npm run bench -- matmul --tune: what each tile of Hopper's matmul costs on this card, as a line of cuda/matmul/hopper_tuning.inc, by which
// cuda/matmul/hopper_tile.h chooses tiles after the next build.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** In the order of kHopperTiles. */
export const TILES = ['128x256', '128x128', '128x64', '64x128'] as const;
export type Tile = (typeof TILES)[number];

/** Nanoseconds on one multiprocessor. */
export interface TileCost {
  /** Of 64 of k. */
  step: number;
  /** Of all around the sum of a tile. */
  rest: number;
}

/** A product that gives each multiprocessor `WAVES` tiles, no more and no less, and its depth. */
export interface Trial {
  tile: Tile;
  M: number;
  N: number;
  K: number;
}

const WAVES = 8;
const [SHALLOW, DEEP] = [512, 4096];

/** Two depths of each tile, whose difference is steps alone. */
export function trialsOf(tile: Tile, multiprocessors: number): [shallow: Trial, deep: Trial] {
  const [m, n] = tile.split('x').map(Number) as [number, number];
  const size = { tile, M: m * 2 * WAVES, N: (n * multiprocessors) / 2 };
  return [
    { ...size, K: SHALLOW },
    { ...size, K: DEEP },
  ];
}

/**
 * The costs of every tile.
 * @param time nanoseconds of a product, with that tile
 * @throws when a deeper product takes no longer: what was timed is not the product
 */
export function costsOf(multiprocessors: number, time: (trial: Trial) => number): TileCost[] {
  if (multiprocessors % 2 !== 0)
    throw new Error(`matmul --tune: the card must have an even number of multiprocessors, got ${multiprocessors}`);
  return TILES.map((tile) => {
    const [shallow, deep] = trialsOf(tile, multiprocessors);
    const [less, more] = [time(shallow), time(deep)];
    if (!(more > less && less > 0))
      throw new Error(
        `matmul --tune: a product of tiles ${tile} over ${DEEP} must take longer than over ${SHALLOW}, got ${more} and ${less} ns`,
      );
    const step = (more - less) / WAVES / ((DEEP - SHALLOW) / 64);
    return { step, rest: Math.max(0, less / WAVES - (SHALLOW / 64) * step) };
  });
}

/** The table with the line of a card: in place of its old one, or in the order of names. */
export function withCard(table: string, card: string, costs: readonly TileCost[]): string {
  const name = JSON.stringify(card);
  const figures = costs.map(({ step, rest }) => `{${step.toFixed(1)}, ${rest.toFixed(0)}}`).join(', ');
  const lines = table.split('\n').filter((line) => line !== '');
  const head = lines.filter((line) => line.startsWith('//'));
  const cards = lines.filter((line) => !line.startsWith('//') && !line.startsWith(`{${name},`));
  return `${[...head, ...[...cards, `{${name}, {${figures}}},`].sort()].join('\n')}\n`;
}

/** Times a product in a process of its own, in which that tile is forced: the median of many runs. */
export function timeOn(device: string): (trial: Trial) => number {
  const worker = fileURLToPath(new URL('tune_worker.ts', import.meta.url));
  return ({ tile, M, N, K }) => {
    const env = { ...process.env, HEDDLE_MATMUL_TILE: tile };
    const args = ['--import=tsx', worker, device, ...[M, N, K].map(String)];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`matmul --tune: a product of tiles ${tile} failed: ${stderr.trim()}`);
    return Number(stdout);
  };
}
