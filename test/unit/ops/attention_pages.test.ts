// Attention over keys and values in pages has the bits of attention over the same ones side by side: on every device, in every type, by every
// kernel, the ones that read pages and those for which they are copied out of them.
import test from 'ava';
import { noGrad } from '../../../lib/autograd/index.ts';
import * as ops from '../../../lib/ops/index.ts';
import '../../../lib/ops/methods.ts';
import { type Device, randn, scope, type Tensor, tensor } from '../../../lib/tensor/index.ts';
import { computesIn, DEVICES, onDevice } from '../../run/devices.ts';

interface Problem {
  B?: number;
  Tq?: number;
  Tk: number;
  Hkv?: number;
  group?: number;
  D: number;
  /** Positions of a page. */
  size?: number;
  window?: number;
}

type Float = 'f32' | 'bf16' | 'f16';

/** x (B, Tk, Hkv, D) in pages (pages, size, Hkv, D) of memory (pages, Hkv, size, D); NaN wherever it has nothing. */
function inPages(x: Tensor, table: readonly (readonly number[])[], pages: number, size: number): Tensor {
  const [, Tk, H, D] = x.shape as [number, number, number, number];
  const from = x.dataSync<'f32'>();
  const to = new Float32Array(pages * H * size * D).fill(Number.NaN);
  for (const [b, row] of table.entries())
    for (let j = 0; j < Tk; j++)
      for (let h = 0; h < H; h++) {
        const at = ((row[Math.floor(j / size)] as number) * H + h) * size + (j % size);
        to.set(from.subarray(((b * Tk + j) * H + h) * D, ((b * Tk + j) * H + h + 1) * D), at * D);
      }
  return ops.permute(tensor(to, { shape: [pages, H, size, D] }), 0, 2, 1, 3);
}

/** A table (B, n) of pages that lie mixed, with columns to spare that name none; how many pages there must be. */
function mixedTable(B: number, Tk: number, size: number): { table: number[][]; columns: number; pages: number } {
  const used = Math.ceil(Tk / size);
  const pages = B * used + 3;
  const step = [5, 7, 11].find((n) => pages % n !== 0) as number;
  const table = Array.from({ length: B }, (_, b) => Array.from({ length: used }, (_, i) => ((b * used + i) * step + 2) % pages));
  return { table, columns: used + 1, pages };
}

function tableTensor(table: readonly (readonly number[])[], columns: number, device: Device): Tensor {
  const flat = table.flatMap((row) => [...row, ...new Array<number>(columns - row.length).fill(-9)]);
  return tensor(Int32Array.from(flat), { shape: [table.length, columns], device });
}

function both(problem: Problem, device: Device, dtype: Float): { side: Float32Array; paged: Float32Array } {
  const { B = 2, Tq = 1, Tk, Hkv = 2, group = 1, D, size = 16, window = 0 } = problem;
  return scope(() =>
    noGrad(() => {
      const draw = (seed: number, ...shape: number[]): Tensor => randn(shape, { seed, device: 'cpu' }).to(dtype).to('f32');
      const here = (x: Tensor): Tensor => x.to(dtype).to(device);
      const [q, k, v] = [draw(1, B, Tq, Hkv * group, D), draw(2, B, Tk, Hkv, D), draw(3, B, Tk, Hkv, D)];
      const { table, columns, pages } = mixedTable(B, Tk, size);
      const settings = { causal: true, window };
      const side = ops.attention(here(q), here(k), here(v), settings);
      const paged = ops.attention(here(q), here(inPages(k, table, pages, size)), here(inPages(v, table, pages, size)), {
        ...settings,
        pages: { table: tableTensor(table, columns, device), keys: Tk },
      });
      return { side: side.dataSync<'f32'>(), paged: paged.dataSync<'f32'>() };
    }),
  );
}

const PROBLEMS: Readonly<Record<string, Problem>> = {
  'one key': { Tk: 1, D: 64 },
  'a whole page': { Tk: 16, D: 64, group: 2 },
  'the last page with one key': { Tk: 33, D: 64, Hkv: 1, group: 3 },
  'in chunks': { Tk: 600, D: 64, group: 2 },
  'in chunks, large pages': { Tk: 523, D: 128, size: 64, Hkv: 1, group: 2 },
  'in chunks, a window': { Tk: 700, D: 64, window: 100, Hkv: 1 },
  'heads of 32': { Tk: 290, D: 32, size: 32 },
  'heads of 40': { Tk: 77, D: 40 },
  'heads of 96': { Tk: 290, D: 96, Hkv: 1 },
  'heads of 256': { Tk: 270, D: 256, Hkv: 1, B: 1 },
  'heads of 13': { Tk: 50, D: 13 },
  'several queries': { Tq: 5, Tk: 261, D: 64 },
  'many queries': { Tq: 40, Tk: 150, D: 64, Hkv: 1, window: 60 },
  'many queries, heads of 128': { Tq: 20, Tk: 140, D: 128, Hkv: 1, size: 128 },
};

for (const device of DEVICES)
  for (const [title, problem] of Object.entries(PROBLEMS))
    for (const dtype of ['f32', 'bf16', 'f16'] as const)
      if (dtype === 'f32' || computesIn(device, dtype))
        test(`pages: ${title}, ${dtype}${onDevice(device)}`, (t) => {
          const { side, paged } = both(problem, device, dtype);
          t.true(side.every(Number.isFinite));
          t.deepEqual(paged, side);
        });

for (const device of DEVICES)
  for (const dtype of ['f32', 'bf16', 'f16'] as const)
    if (dtype === 'f32' || computesIn(device, dtype))
      test(`a page that does not exist is told, not read, ${dtype}${onDevice(device)}`, async (t) => {
        for (const wrong of [4, -1]) {
          const y = scope(() => {
            const [q, k] = [[2, 1, 1, 64] as const, [4, 16, 1, 64] as const].map((shape) =>
              randn([...shape], { seed: 1, device }).to(dtype),
            );
            const table = tensor(Int32Array.of(0, 1, 3, wrong), { shape: [2, 2], device });
            return ops.attention(q as Tensor, k as Tensor, k as Tensor, { causal: true, pages: { table, keys: 20 } });
          });
          await t.throwsAsync(y.data(), { message: `attention: pages[3] must be within [0, 4), got ${wrong}` });
        }
      });

test('wrong calls are told', (t) => {
  const z = (...shape: number[]): Tensor => randn(shape, { seed: 1, device: 'cpu' });
  const table = (B: number, n: number): Tensor => tensor(new Int32Array(B * n), { shape: [B, n], device: 'cpu' });
  const call = (k: Tensor, pages: ops.AttentionPages, more: ops.AttentionOptions = {}) =>
    ops.attention(z(2, 1, 2, 8), k, k, { ...more, pages });
  for (const [run, message] of [
    [
      () => call(z(4, 16, 1, 9), { table: table(2, 1), keys: 1 }),
      /^attention: k must be \(pages, positions, Hkv, 8\) for q \(2, 1, 2, 8\), got/,
    ],
    [
      () => call(z(4, 24, 1, 8), { table: table(2, 1), keys: 1 }),
      /^attention: k must be of pages of a power of two .* at least 16, got 24$/,
    ],
    [() => call(z(4, 8, 1, 8), { table: table(2, 1), keys: 1 }), /at least 16, got 8$/],
    [() => call(z(4, 16, 1, 8), { table: table(1, 2), keys: 1 }), /^attention: pages must be \(2, n\), got \(1, 2\)$/],
    [
      () => call(z(4, 16, 1, 8), { table: table(2, 2), keys: 33 }),
      /^attention: keys must be from 0 to the 32 positions of a row's pages, got 33$/,
    ],
    [() => call(z(4, 16, 1, 8), { table: z(2, 2), keys: 1 }), /^attention: pages must be i32/],
    [
      () => call(z(4, 16, 1, 8), { table: table(2, 2), keys: 3 }, { documents: [table(2, 1), table(2, 3)] }),
      /^attention: pages must be without documents and dropout, got documents$/,
    ],
    [
      () => {
        const k = z(4, 16, 1, 8);
        k.requiresGrad = true;
        return call(k, { table: table(2, 2), keys: 3 });
      },
      /^attention: pages must be without gradients/,
    ],
  ] as const)
    t.throws(run, { message }, String(message));
});
