import test from 'ava';
import { native } from '../../../lib/native/addon.ts';
import { setThreads } from '../../../lib/tensor/device.ts';
import { checkAll } from '../../run/check.ts';
import { type Run, runInstance } from '../../run/compare.ts';
import { DEVICES } from '../../run/devices.ts';

const before = native.info().threads;
test.after.always(() => setThreads(before));

/** The bits of a run: NaN equals itself, 0 differs from -0. */
function bits(run: Run): string {
  const parts = [run.y, ...run.gradients.values()].map((x) => Buffer.from(Float32Array.from(x).buffer).toString('base64'));
  return parts.join(' ');
}

checkAll('1, 2 and 4 threads give the same bits', { max: 300, runs: 3, on: (device) => device === 'cpu' }, (instance) => {
  const found = [1, 2, 4].map((threads) => {
    setThreads(threads);
    return bits(runInstance(instance));
  });
  return found.every((b) => b === found[0]) ? undefined : `${instance.label}: results differ`;
});

if (!DEVICES.includes('cpu')) test.skip("threads are the CPU's alone", () => undefined);
