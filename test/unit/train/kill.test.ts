import test from 'ava';
import { killedRunEqualsWholeRun } from './kill_support.ts';
import { temporaryFolder } from './run_support.ts';

test('a run killed at random moments ends with the bits of one that was not', async (t) => {
  t.timeout(600_000);
  await killedRunEqualsWholeRun(t, temporaryFolder(t), 3, Date.now() >>> 0);
});
