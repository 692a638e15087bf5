// HEDDLE_KILLS=100 npx ava test/long/train/kill.test.ts kills a hundred times; HEDDLE_SEED=N chooses the moments again.
import test from 'ava';
import { killedRunEqualsWholeRun } from '../../unit/train/kill_support.ts';
import { temporaryFolder } from '../../unit/train/run_support.ts';

const kills = Number(process.env.HEDDLE_KILLS ?? 30);
const seed = Number(process.env.HEDDLE_SEED ?? Date.now() >>> 0);

test(`a run killed at ${kills} random moments ends with the bits of one that was not`, async (t) => {
  t.timeout(3_600_000);
  await killedRunEqualsWholeRun(t, temporaryFolder(t), kills, seed);
});
