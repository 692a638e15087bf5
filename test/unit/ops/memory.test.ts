// Every op, forward and backward, with each of its allocations failing in turn: an error that names who asked, nothing left behind, and
// the bits of a run that had memory once there is some.
import { native } from '../../../lib/native/addon.ts';
import { getDefaultDevice, memory } from '../../../lib/tensor/index.ts';
import { checkAll } from '../../run/check.ts';
import { type Run, type RunOptions, runInstance } from '../../run/compare.ts';

function bits(run: Run): string {
  return [run.y, ...run.gradients.values()].map((x) => Buffer.from(Float32Array.from(x).buffer).toString('base64')).join(' ');
}

function inUse(): string {
  const { used, tensors } = memory();
  return `${used} bytes in ${tensors} tensors`;
}

// In f16, in which every card computes.
for (const options of [{}, { dtype: 'f16', layout: 'permuted', backwards: 2 }] satisfies RunOptions[])
  checkAll(
    `leaves nothing behind where memory ends${'dtype' in options ? ', f16 and any strides' : ''}`,
    { max: 12, runs: 2, only: (c) => !('dtype' in options) || (c.half && c.layouts) },
    (instance) => {
      const device = getDefaultDevice();
      const expected = bits(runInstance(instance, options));
      const before = inUse();
      for (let n = 1; ; n++) {
        native.failAt(device, 'allocation', n);
        try {
          const found = bits(runInstance(instance, options));
          native.failAt(device, 'allocation', 0);
          return found === expected ? undefined : `${instance.label}: other bits after ${n - 1} failures`;
        } catch (error) {
          native.failAt(device, 'allocation', 0);
          const { code, message } = error as Error & { code?: string };
          if (code !== 'ERR_HEDDLE_OUT_OF_MEMORY') return `${instance.label}: ${message}`;
          if (!/^\w+: out of memory: asked for /.test(message)) return `${instance.label}: ${message}`;
          if (inUse() !== before) return `${instance.label}: ${inUse()} after failure ${n}, before it ${before}: ${message}`;
        }
      }
    },
  );
