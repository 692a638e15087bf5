// A program: prints the nanoseconds of a bf16 product X W^T on a device. tune_worker.ts DEVICE M N K
import { native } from '../lib/native/addon.ts';
import * as ops from '../lib/ops/index.ts';
import { scope, synchronize } from '../lib/tensor/index.ts';
import { maker } from './values.ts';

const [device = '', ...sizes] = process.argv.slice(2);
const [M, N, K] = sizes.map(Number) as [number, number, number];
const make = maker(device);
const [x, w] = [make([M, K], 'bf16'), make([N, K], 'bf16')];
const run = (): void => scope(() => void ops.matmul(x, w, { transB: true }));

native.startLaunchLog();
run();
await synchronize(device);
const kernel = native.takeLaunchLog().at(-1)?.kernel ?? '';
const expected = `matmul bf16 ${process.env.HEDDLE_MATMUL_TILE}x64 wgmma`;
if (kernel !== expected) throw new Error(`${device} must launch ${expected}, got ${kernel || 'nothing'}`);

const REPEATS = 50;
const times: number[] = [];
for (let round = 0; round < 11; round++) {
  const start = performance.now();
  for (let i = 0; i < REPEATS; i++) run();
  await synchronize(device);
  times.push(((performance.now() - start) / REPEATS) * 1e6);
}
console.log(times.sort((a, b) => a - b)[times.length >> 1]);
