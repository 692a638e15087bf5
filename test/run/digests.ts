// A digest of what every case gives, on random instances, in guarded memory: one line an op. For test/unit/ops/past_caches.test.ts.
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { native } from '../../lib/native/addon.ts';
import { DISTINCT } from '../cases/index.ts';
import { runInstance } from './compare.ts';

const [seed, runs, max] = process.argv.slice(2).map(Number) as [number, number, number];
native.setGuarded('cpu', true);
for (const [op, c] of DISTINCT) {
  const hash = createHash('sha256');
  for (const instance of fc.sample(c.instances(max), { seed, numRuns: runs })) {
    const { y, gradients } = runInstance(instance);
    for (const x of [y, ...gradients.values()])
      hash.update(new Uint8Array(Float32Array.from(x, (v) => (Number.isNaN(v) ? Number.NaN : v)).buffer));
  }
  native.synchronizeSync('cpu'); // who wrote outside of an output is named here
  console.log(`${op} ${hash.digest('hex')}`);
}
