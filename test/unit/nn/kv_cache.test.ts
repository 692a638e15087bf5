import test from 'ava';
import { type CacheRun, KVCache } from '../../../lib/nn/index.ts';
import { randn } from '../../../lib/tensor/create.ts';
import { memory } from '../../../lib/tensor/device.ts';
import { scope, type Tensor } from '../../../lib/tensor/tensor.ts';

const shape = { layers: 2, batch: 3, capacity: 8, kvHeads: 2, headSize: 4 };

/** Positions [from, to) of (B, T, Hkv, D), flat. */
function positions(x: Tensor, from: number, to: number): number[] {
  const [B, T, H, D] = x.shape as [number, number, number, number];
  const all = [...x.dataSync<'f32'>()];
  return Array.from({ length: B }, (_, b) => all.slice((b * T + from) * H * D, (b * T + to) * H * D)).flat();
}

test('what was appended comes back behind what was there, for each layer', (t) => {
  using cache = new KVCache(shape);
  scope(() => {
    const [k1, v1, k2, v2] = [0, 1, 2, 3].map(() => randn([3, 5, 2, 4])) as [Tensor, Tensor, Tensor, Tensor];
    cache.append(0, k1, v1);
    cache.append(1, k2, v2);
    t.is(cache.length, 0, 'all layers append before the length grows');
    cache.advance(5);
    const [k3, v3] = [randn([3, 2, 2, 4]), randn([3, 2, 2, 4])];
    const [{ k, v }] = cache.append(0, k3, v3) as [CacheRun];
    t.deepEqual([...k.shape], [3, 7, 2, 4]);
    t.deepEqual(positions(k, 0, 5), positions(k1, 0, 5));
    t.deepEqual(positions(k, 5, 7), positions(k3, 0, 2));
    t.deepEqual(positions(v, 0, 5), positions(v1, 0, 5));
    t.deepEqual(positions(v, 5, 7), positions(v3, 0, 2));
    const [other] = cache.append(1, k3, v3) as [CacheRun];
    t.deepEqual(positions(other.k, 0, 5), positions(k2, 0, 5));
    t.deepEqual(positions(other.v, 0, 5), positions(v2, 0, 5));
    cache.advance(2);
    t.is(cache.length, 7);
  });
});

test('truncate forgets the end, and only shortens', (t) => {
  using cache = new KVCache(shape);
  scope(() => {
    const first = randn([3, 4, 2, 4]);
    for (const layer of [0, 1]) cache.append(layer, first, first);
    cache.advance(4);
    cache.truncate(6);
    t.is(cache.length, 4);
    cache.truncate(1);
    const next = randn([3, 1, 2, 4]);
    const [{ k }] = cache.append(0, next, next) as [CacheRun];
    t.deepEqual(positions(k, 0, 1), positions(first, 0, 1));
    t.deepEqual(positions(k, 1, 2), positions(next, 0, 1));
  });
});

test('select: rows become others, the positions held and no more', (t) => {
  using cache = new KVCache(shape);
  scope(() => {
    const [k, v] = [randn([3, 4, 2, 4]), randn([3, 4, 2, 4])];
    for (const layer of [0, 1]) cache.append(layer, k, v);
    cache.advance(4);
    cache.select([2, 0, 2]);
    t.is(cache.length, 4);
    const next = randn([3, 1, 2, 4]);
    const row = (x: Tensor, b: number): number[] => positions(x, 0, 4).slice(b * 32, (b + 1) * 32);
    for (const layer of [0, 1]) {
      const [now] = cache.append(layer, next, next) as [CacheRun];
      for (const [b, from] of [2, 0, 2].entries()) {
        t.deepEqual(row(now.k, b), row(k, from));
        t.deepEqual(row(now.v, b), row(v, from));
      }
    }
  });
});

test('rows of different lengths: each writes behind its own, neighbours of equal length as one run', (t) => {
  using cache = new KVCache(shape);
  scope(() => {
    const long = randn([2, 3, 2, 4]);
    const pair = cache.only([0, 1]);
    for (const layer of [0, 1]) t.is(pair.append(layer, long, long).length, 1);
    pair.advance(3);
    const short = randn([1, 1, 2, 4]);
    const last = cache.only([2]);
    for (const layer of [0, 1]) last.append(layer, short, short);
    last.advance(1);
    t.deepEqual(cache.lengths, [3, 3, 1]);
    t.is(cache.length, 3);
    const next = randn([3, 1, 2, 4]);
    const runs = cache.append(0, next, next);
    t.deepEqual(
      runs.map(({ from, to, k }) => [from, to, [...k.shape]]),
      [
        [0, 2, [2, 4, 2, 4]],
        [2, 3, [1, 2, 2, 4]],
      ],
    );
    const [first, second] = runs as [CacheRun, CacheRun];
    t.deepEqual(positions(first.k, 0, 3), positions(long, 0, 3));
    t.deepEqual([...positions(first.k, 3, 4), ...positions(second.k, 1, 2)], positions(next, 0, 1));
    t.deepEqual(positions(second.v, 0, 1), positions(short, 0, 1));
    cache.advance(1);
    t.deepEqual(cache.lengths, [4, 4, 2]);
    cache.only([1]).truncate(0);
    t.deepEqual(cache.lengths, [4, 0, 2]);
    t.deepEqual(cache.only([2, 0]).lengths, [2, 4]);
    pair.dispose();
    t.notThrows(() => cache.append(0, next, next), 'disposing of a part frees nothing');
    cache.select([2, 2, 0]);
    t.deepEqual(cache.lengths, [2, 2, 4]);
  });
});

test('no graph is recorded, nothing is left behind, and errors are told', (t) => {
  const { used } = memory();
  const cache = new KVCache(shape);
  scope(() => {
    const x = randn([3, 4, 2, 4], { requiresGrad: true });
    t.false(cache.append(0, x, x)[0]?.k.requiresGrad);
    cache.advance(4);
    t.throws(() => cache.append(0, randn([3, 5, 2, 4]), randn([3, 5, 2, 4])), { message: 'KVCache: at most 8 positions fit, got 9' });
    t.throws(() => cache.append(2, x, x), { message: 'KVCache: layer must be from 0 to 1, got 2' });
  });
  cache.dispose();
  cache.dispose();
  t.is(memory().used, used);
});
