// What random numbers seldom meet, on every device: NaN, integers at their edges, operands that lie in memory in different ways.
import test, { type ExecutionContext } from 'ava';
import * as ops from '../../../lib/ops/index.ts';
import { setDefaultDevice, type Tensor, tensor } from '../../../lib/tensor/index.ts';
import { DEVICE, DEVICES, onDevice } from '../../run/devices.ts';

const values = (x: Tensor): number[] => [...x.dataSync()];
const ints = (...list: number[]): Tensor => tensor(list, { dtype: 'i32' });

for (const device of DEVICES) {
  const on = (title: string, run: (t: ExecutionContext) => void | Promise<void>): void =>
    test.serial(`${title}${onDevice(device)}`, async (t) => {
      setDefaultDevice(device);
      try {
        await run(t);
      } finally {
        setDefaultDevice(DEVICE);
      }
    });

  on('NaN passes through relu and wins in maximum, minimum, max, min and their places', (t) => {
    const { NaN: nan } = Number;
    const x = tensor([1, nan, 3, -1, nan, 2, 0, -5, 4]);
    t.deepEqual(values(ops.relu(x)), [1, nan, 3, 0, nan, 2, 0, 0, 4]);
    for (const f of [ops.maximum, ops.minimum])
      for (const pair of [
        [tensor([nan, 1, nan, 2]), tensor([1, nan, nan, 2])],
        [tensor([nan, 1, nan, 2, nan]), tensor([1, nan, nan, 2, 1])],
      ] as const)
        t.deepEqual(values(f(...pair)), [nan, nan, nan, 2, nan].slice(0, pair[0].size));
    for (const [f, place] of [
      [ops.max, ops.argmax],
      [ops.min, ops.argmin],
    ] as const) {
      t.deepEqual(values(f(x)), [nan]);
      t.deepEqual(values(place(x)), [1], 'the first NaN');
      const rows = ops.expand(x, 2, 9);
      t.deepEqual(values(f(ops.transpose(rows, 0, 1), { dim: 0 })), [nan, nan]);
    }
    const wide = ops.concat([tensor(new Float32Array(3000).fill(7)), x]);
    t.deepEqual(values(ops.argmax(wide)), [3001]);
  });

  on('integers wrap around, and what has no value is an error at the next wait', async (t) => {
    const [low, high] = [-(2 ** 31), 2 ** 31 - 1];
    t.deepEqual(values(ops.add(ints(high, 1), ints(1, 2))), [low, 3]);
    t.deepEqual(values(ops.mul(ints(65536, -3), ints(65536, 5))), [0, -15]);
    t.deepEqual(values(ops.div(ints(low, -7, 7), ints(-1, 2, -2))), [low, -3, -3]);
    t.deepEqual(values(ops.pow(ints(3, -2, 0), ints(4, 3, 0))), [81, -8, 1]);
    await t.throwsAsync(ops.div(ints(1, 2), ints(1, 0)).data(), { message: 'div: b must be nonzero for i32, got 0' });
    await t.throwsAsync(ops.pow(ints(1, 2), ints(1, -3)).data(), { message: 'pow: b must be at least 0 for i32, got -3' });
    t.deepEqual(values(ops.div(ints(6), ints(3))), [2]);
  });

  on('swiglu of a gate and an up with strides of their own', (t) => {
    const list = Float32Array.from({ length: 24 }, (_, i) => i / 8 - 1);
    const [gate, wide] = [tensor(list.subarray(0, 8), { shape: [2, 4] }), tensor(list, { shape: [2, 12] })];
    const up = ops.slice(wide, 1, 4, 8);
    t.deepEqual(values(ops.swiglu(gate, up)), values(ops.swiglu(gate, ops.clone(up))));
    t.deepEqual(values(ops.swiglu(up, gate)), values(ops.swiglu(ops.clone(up), gate)));
  });
}
