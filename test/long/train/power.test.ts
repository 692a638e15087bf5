import test from 'ava';
import { cutPowerEverywhere } from '../../disk/power.ts';
import { temporaryFolder } from '../../unit/train/run_support.ts';

test('power cuts between any two operations, many at random, and going on from many of them', async (t) => {
  t.timeout(3_600_000);
  const seed = Number(process.env.HEDDLE_SEED ?? Date.now() >>> 0);
  t.log(`HEDDLE_SEED=${seed}`);
  const { failures, ...counts } = await cutPowerEverywhere(temporaryFolder(t), { seed, drawn: 16, resumes: 150 });
  t.log(JSON.stringify(counts));
  t.deepEqual(failures.slice(0, 20), [], `${failures.length} in all`);
});
