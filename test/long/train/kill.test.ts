import test from 'ava';
import { killedRunEqualsWholeRun } from '../../unit/train/kill_support.ts';
import { temporaryFolder } from '../../unit/train/run_support.ts';

test('a run killed at 30 random moments ends with the bits of one that was not', async (t) => {
  await killedRunEqualsWholeRun(t, temporaryFolder(t), 30, Date.now() >>> 0);
});
