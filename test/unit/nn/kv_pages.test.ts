import test from 'ava';
import { type CacheRun, KVCache, KVPages } from '../../../lib/nn/index.ts';
import { randn } from '../../../lib/tensor/create.ts';
import { memory } from '../../../lib/tensor/device.ts';
import { scope, type Tensor } from '../../../lib/tensor/tensor.ts';

const shape = { layers: 2, pages: 6, kvHeads: 2, headSize: 4 };

/** The keys of a run, row by row, flat: from their pages, or side by side. */
function keysOf({ from, to, k, pages }: CacheRun): number[] {
  const flat = [...k.dataSync<'f32'>()];
  if (!pages) return flat;
  const [, size, H, D] = k.shape as [number, number, number, number];
  const table = [...pages.table.dataSync<'i32'>()];
  const columns = pages.table.shape[1] as number;
  return Array.from({ length: to - from }, (_, b) =>
    Array.from({ length: pages.keys }, (_, j) => {
      const at = ((table[b * columns + Math.floor(j / size)] as number) * size + (j % size)) * H * D;
      return flat.slice(at, at + H * D);
    }).flat(),
  ).flat();
}

for (const dtype of ['f32', 'bf16', 'f16'] as const)
  test(`whatever is appended, selected and truncated: the keys of a contiguous cache, ${dtype}`, (t) => {
    using pool = new KVPages({ ...shape, pages: 20, dtype });
    using paged = pool.cache(3);
    using plain = new KVCache({ ...shape, batch: 3, capacity: 64, dtype });
    scope(() => {
      const append = (T: number, rows: readonly number[] = [0, 1, 2]): void => {
        const x = randn([rows.length, T, 2, 4]);
        const [a, b] = [paged.only(rows), plain.only(rows)];
        for (const layer of [0, 1]) {
          const got = a.append(layer, x, x).flatMap(keysOf);
          t.deepEqual(got, b.append(layer, x, x).flatMap(keysOf));
        }
        a.advance(T);
        b.advance(T);
        t.deepEqual(paged.lengths, plain.lengths);
        t.is(paged.length, plain.length);
      };
      const alike = (f: (cache: KVCache | typeof paged) => void): void => {
        f(paged);
        f(plain);
      };
      append(5);
      append(1);
      append(27, [1]);
      append(1, [2, 0]);
      append(10);
      alike((c) => c.select([1, 1, 0]));
      append(1);
      append(3, [1]);
      alike((c) => c.truncate(17));
      append(2);
      alike((c) => c.only([0]).truncate(0));
      append(1);
      append(20, [0, 2]);
      alike((c) => c.select([2, 1, 0]));
      append(1);
    });
  });

test('rows take pages as they grow, share them, and give them back', (t) => {
  using pool = new KVPages(shape);
  const cache = pool.cache(2);
  const grow = (T: number, rows: readonly number[]): void =>
    scope(() => {
      const part = cache.only(rows);
      const x = randn([rows.length, T, 2, 4]);
      for (const layer of [0, 1]) part.append(layer, x, x);
      part.advance(T);
    });
  t.deepEqual([pool.count, pool.size, pool.free], [6, 16, 6]);
  grow(33, [0]);
  t.is(pool.free, 3);
  cache.select([0, 0]);
  t.is(pool.free, 3, 'what two rows have in common is there once');
  grow(1, [1]);
  t.is(pool.free, 2, 'but a page that one of them writes to');
  grow(1, [0]);
  t.is(pool.free, 2);
  cache.only([0]).truncate(16);
  t.is(pool.free, 3);
  cache.only([0]).dispose();
  t.is(pool.free, 3, 'disposing of a part frees nothing');
  const other = pool.cache(1);
  t.deepEqual(other.lengths, [0]);
  cache.dispose();
  cache.dispose();
  t.is(pool.free, 6);
});

test('all pages taken is one error, after which everything can be given back', (t) => {
  const { used } = memory();
  const pool = new KVPages({ ...shape, pages: 2 });
  const cache = pool.cache(3);
  const x = randn([3, 1, 2, 4]);
  t.throws(() => scope(() => cache.append(0, x, x)), {
    code: 'ERR_HEDDLE_OUT_OF_PAGES',
    message: /^KVPages: all 2 pages of 16 positions are taken\n/,
  });
  const two = cache.only([0, 2]);
  const y: Tensor = randn([2, 1, 2, 4]);
  t.throws(() => scope(() => two.append(0, y, y)), { code: 'ERR_HEDDLE_OUT_OF_PAGES' });
  cache.truncate(0);
  scope(() => t.is(two.append(0, y, y).length, 1));
  cache.dispose();
  t.is(pool.free, 2);
  for (const tensor of [x, y, pool]) tensor.dispose();
  t.is(memory().used, used);
});

test('wrong arguments are named', (t) => {
  t.throws(() => new KVPages({ ...shape, pages: 0 }), { message: 'KVPages: pages must be a positive integer, got 0' });
  t.throws(() => new KVPages({ ...shape, pageSize: 24 }), { message: 'KVPages: pageSize must be a power of two of at least 16, got 24' });
  t.throws(() => new KVPages({ ...shape, pageSize: 8 }), { message: 'KVPages: pageSize must be a power of two of at least 16, got 8' });
  using pool = new KVPages(shape);
  const x = randn([1, 1, 2, 4]);
  t.throws(() => pool.cache(1).append(2, x, x), { message: 'KVPages: layer must be from 0 to 1, got 2' });
  x.dispose();
});
