import test from 'ava';
import { cutPowerEverywhere, cutPowerWhilePreparing } from '../../disk/power.ts';
import { temporaryFolder } from './run_support.ts';

test.serial(
  'a power cut between any two operations leaves the last checkpoint, its log, and nothing half that passes for whole',
  async (t) => {
    t.timeout(600_000);
    const { failures, ...counts } = await cutPowerEverywhere(temporaryFolder(t), { seed: 7, drawn: 2, resumes: 12 });
    t.log(JSON.stringify(counts));
    t.deepEqual(failures.slice(0, 20), [], `${failures.length} in all`);
    t.true(counts.operations > 500);
  },
);

test.serial(
  'a power cut while data is prepared in another way than before: neither way takes the tokens of the other for its own',
  async (t) => {
    t.timeout(600_000);
    const { failures, states } = await cutPowerWhilePreparing(temporaryFolder(t), 11);
    t.log(`${states} states`);
    t.deepEqual(failures.slice(0, 20), [], `${failures.length} in all`);
    t.true(states > 50);
  },
);
