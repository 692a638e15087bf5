// Every kernel, twice, on tensors that are poisoned and lie between canaries: what it leaves unwritten is NaN, what it writes outside of
// its output is an error, and the bits are the same both times. Sizes are those around the borders of tiles, vectors and warps.
import test from 'ava';
import { native } from '../../../lib/native/addon.ts';
import { empty, getDefaultDevice } from '../../../lib/tensor/index.ts';
import { checkAll } from '../../run/check.ts';
import { forwardProblem, type Run, runInstance } from '../../run/compare.ts';
import { computesIn, DEVICES, onDevice } from '../../run/devices.ts';

/** The bits of a run: NaN equals itself, 0 differs from -0. */
function bits(run: Run): string {
  const parts = [run.y, ...run.gradients.values()].map((x) => Buffer.from(Float32Array.from(x).buffer).toString('base64'));
  return parts.join(' ');
}

function guarded<T>(device: string, work: () => T): T {
  native.setGuarded(device, true);
  try {
    return work();
  } finally {
    native.setGuarded(device, false);
    native.synchronizeSync(device); // the canaries of what was freed last
  }
}

for (const dtype of ['f32', 'bf16'] as const)
  checkAll(
    `writes its outputs, all of them and nothing else, twice the same bits, ${dtype}`,
    { max: 140, runs: 10, only: (c) => dtype === 'f32' || c.half, on: (device) => dtype === 'f32' || computesIn(device, dtype) },
    (instance, c) => {
      const device = getDefaultDevice();
      const [first, second] = guarded(device, () => [runInstance(instance, { dtype }), runInstance(instance, { dtype })] as const);
      for (const [name, gradient] of first.gradients)
        if (!gradient.every(Number.isFinite)) return `${instance.label}: the gradient of ${name} is not finite`;
      if (bits(first) !== bits(second)) return `${instance.label}: the second run has other bits`;
      return forwardProblem(instance, first, c);
    },
  );

for (const device of DEVICES)
  test(`guarded memory is poisoned${onDevice(device)}`, (t) => {
    const [x, ids] = guarded(device, () => [empty([3, 5], { device }), empty([7], { device, dtype: 'i32' })] as const);
    t.true(x.dataSync().every(Number.isNaN));
    t.true(ids.dataSync().every((v) => v === -1));
    x.dispose();
    ids.dispose();
    t.notThrows(() => native.synchronizeSync(device));
  });
