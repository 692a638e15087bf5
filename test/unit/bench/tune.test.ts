import { readFileSync } from 'node:fs';
import test from 'ava';
import { costsOf, TILES, type TileCost, type Trial, trialsOf, withCard } from '../../../bench/tune.ts';

const TABLE = readFileSync('cuda/matmul/hopper_tuning.inc', 'utf8');
const COSTS: Record<(typeof TILES)[number], TileCost> = {
  ...{ '128x256': { step: 540, rest: 2000 }, '128x128': { step: 330.5, rest: 1250 } },
  ...{ '128x64': { step: 230, rest: 0 }, '64x128': { step: 235, rest: 900 } },
};

/** A card whose clock is this one: each multiprocessor computes its tiles one after another. */
const clock =
  (multiprocessors: number) =>
  ({ tile, M, N, K }: Trial): number => {
    const [m, n] = tile.split('x').map(Number) as [number, number];
    const tiles = (M / m) * (N / n);
    const { step, rest } = COSTS[tile];
    return Math.ceil(tiles / multiprocessors) * ((K / 64) * step + rest);
  };

test('tiles are those of the kernel, in its order', (t) => {
  const [, list = ''] = /kHopperTiles\[\] = \{(.*)\};/.exec(readFileSync('cuda/matmul/hopper_tile.h', 'utf8')) ?? [];
  t.deepEqual(
    [...list.matchAll(/\{(\d+), (\d+)\}/g)].map(([, m, n]) => `${m}x${n}`),
    [...TILES],
  );
});

test('costs of steps and of the rest come out of the times of two depths', (t) => {
  for (const multiprocessors of [16, 114, 132]) {
    const found = costsOf(multiprocessors, clock(multiprocessors));
    for (const [i, tile] of TILES.entries()) {
      t.true(Math.abs((found[i]?.step ?? 0) - COSTS[tile].step) < 1e-6, tile);
      t.true(Math.abs((found[i]?.rest ?? -1) - COSTS[tile].rest) < 1e-6, tile);
    }
  }
  for (const { M, N, K } of TILES.flatMap((tile) => trialsOf(tile, 132))) t.is((M % 64) + (N % 64) + (K % 64), 0);
});

test('times that are not those of products are refused', (t) => {
  t.throws(() => costsOf(132, () => 1000), { message: /tiles 128x256 over 4096 must take longer than over 512, got 1000 and 1000 ns/ });
  t.throws(() => costsOf(132, () => Number.NaN), { message: /must take longer/ });
  t.throws(() => costsOf(7, clock(7)), { message: 'matmul --tune: the card must have an even number of multiprocessors, got 7' });
});

test('a card has one line of the table', (t) => {
  const costs = TILES.map((tile) => COSTS[tile]);
  const line = '{"NVIDIA H100 SXM", {{540.0, 2000}, {330.5, 1250}, {230.0, 0}, {235.0, 900}}},';
  const first = withCard(TABLE, 'NVIDIA H100 SXM', costs);
  t.true(first.startsWith('//') && first.endsWith(`${line}\n`));
  const second = withCard(first, 'NVIDIA GH200', costs);
  t.deepEqual(second.split('\n').slice(-3), [line.replace('H100 SXM', 'GH200'), line, '']);
  t.is(withCard(second, 'NVIDIA H100 SXM', costs), second);
  const changed = withCard(second, 'NVIDIA H100 SXM', [{ step: 1, rest: 2 }, ...costs.slice(1)]);
  t.is(changed, second.replace(line, line.replace('{540.0, 2000}', '{1.0, 2}')));
});
