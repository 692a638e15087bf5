import test from 'ava';
import { cutPowerEverywhere } from '../../disk/power.ts';
import { temporaryFolder } from './run_support.ts';

test('a power cut between any two operations leaves the last checkpoint, its log, and nothing half that passes for whole', async (t) => {
  t.timeout(600_000);
  const { failures, ...counts } = await cutPowerEverywhere(temporaryFolder(t), { seed: 7, drawn: 2, resumes: 12 });
  t.log(JSON.stringify(counts));
  t.deepEqual(failures.slice(0, 20), [], `${failures.length} in all`);
  t.true(counts.operations > 500);
});
