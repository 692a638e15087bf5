// `npm run bench -- memory --static`: what kernels that move memory ask of it, counted when they run on the simulated card.
import * as ops from '../../lib/ops/index.ts';
import type { DType } from '../../lib/tensor/index.ts';
import { RandomSource, type Tensor, tensor } from '../../lib/tensor/index.ts';
import type { Make } from '../values.ts';
import type { Job, Prepared } from './jobs.ts';
import { times } from './print.ts';
import type { Profile, Traffic } from './profile.ts';

const R = 256;
const C = 768;
const SIZE: Partial<Record<DType, number>> = { f32: 4, bf16: 2 };

const bytesOf = (...tensors: Tensor[]): number => tensors.reduce((sum, t) => sum + t.size * (SIZE[t.dtype] ?? 4), 0);

/** `run`'s result and the operands, each once. */
const once = (operands: Tensor[], run: () => Tensor): Prepared => {
  const y = run();
  const bytes = bytesOf(...operands, y);
  y.dispose();
  return { run: () => void run(), bytes };
};

const job = (name: string, dtype: 'bf16' | 'f32', prepare: (make: (shape: number[], type?: DType) => Tensor) => Prepared): Job => ({
  ...{ subject: 'memory', name: `${name}, ${dtype}`, shape: `${R}x${C}`, kernel: /./, sources: [] },
  prepare: (make: Make) => prepare((shape, type = dtype) => make(shape, type)),
});

const ids = (n: number, below: number, device: string): Tensor =>
  tensor(
    Int32Array.from({ length: n }, (_, i) => (i * 7919) % below),
    { device },
  );

/** One of each family of kernels that memory bounds, in both types. */
export const MEMORY_JOBS: readonly Job[] = (['bf16', 'f32'] as const).flatMap((dtype) => [
  job('gelu', dtype, (make) => {
    const x = make([R, C]);
    return once([x], () => ops.gelu(x));
  }),
  job('add', dtype, (make) => {
    const [x, y] = [make([R, C]), make([R, C])];
    return once([x, y], () => ops.add(x, y));
  }),
  job('add of a row', dtype, (make) => {
    const [x, y] = [make([R, C]), make([C])];
    return once([x, y], () => ops.add(x, y));
  }),
  job('swiglu', dtype, (make) => {
    const [x, y] = [make([R, C]), make([R, C])];
    return once([x, y], () => ops.swiglu(x, y));
  }),
  job('dropout', dtype, (make) => {
    const x = make([R, C]);
    const random = new RandomSource(1, x.device);
    return once([x], () => ops.dropout(x, 0.1, random));
  }),
  job('cast to the other', dtype, (make) => {
    const x = make([R, C]);
    return once([x], () => ops.cast(x, dtype === 'f32' ? 'bf16' : 'f32'));
  }),
  job('transposed', dtype, (make) => {
    const x = make([R, C]);
    return once([x], () => ops.clone(ops.permute(x, 1, 0)));
  }),
  job('rmsNorm', dtype, (make) => {
    const [x, weight] = [make([R, C]), make([C])];
    return once([x, weight], () => ops.rmsNorm(x, { weight }));
  }),
  job('softmax', dtype, (make) => {
    const x = make([R, C]);
    return once([x], () => ops.softmax(x));
  }),
  job('sum of rows', dtype, (make) => {
    const x = make([R, C]);
    return once([x], () => ops.sum(x, { dim: 1 }));
  }),
  job('sum over rows', dtype, (make) => {
    const x = make([R, C]);
    return once([x], () => ops.sum(x, { dim: 0 }));
  }),
  job('sum of all', dtype, (make) => {
    const x = make([R, C]);
    return once([x], () => ops.sum(x));
  }),
  job('embedding', dtype, (make) => {
    const table = make([R, C]);
    const which = ids(R, R, table.device);
    return once([table, which], () => ops.embedding(table, which));
  }),
]);

const wide = ({ requests, bytes }: Traffic): string => (requests > 0 ? `${Math.round(bytes / requests / 32)} B` : '-');
const sectors = (t: Traffic): string => (t.idealSectors > 0 ? times(t.sectors / t.idealSectors) : '-');

/** A line for each job: bytes that all its kernels ask for beside those of the operands; of the longest kernel, width, sectors, bank conflicts. */
export function memoryLines(profiles: ReadonlyMap<Job, Profile>): string[] {
  const head = ['', 'kernel', 'bytes', 'loads', 'sectors', 'stores', 'sectors', 'conflicts'];
  const rows = [...profiles].map(([{ name }, { main, bytes, total }]) => [
    ...[name, main.kernel, times(total.bytes / bytes)],
    ...[wide(main.globalLoad), sectors(main.globalLoad), wide(main.globalStore), sectors(main.globalStore), `${main.conflicts}`],
  ]);
  const all = [head, ...rows];
  const width = head.map((_, i) => Math.max(...all.map((row) => (row[i] as string).length)));
  return all.map((row) => row.map((cell, i) => (i < 2 ? cell.padEnd(width[i] as number) : cell.padStart(width[i] as number))).join('  '));
}
