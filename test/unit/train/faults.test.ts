import test from 'ava';
import { preparingSurvives, trainingSurvives } from './faults_support.ts';

test.serial('preparing: whatever operation fails, nothing half is taken for whole, and the next try succeeds', async (t) => {
  t.timeout(600_000);
  await preparingSurvives(t, 'kinds');
});

test.serial('training: whatever operation fails, the last checkpoint loads, and going on comes to the same bits and rows', async (t) => {
  t.timeout(600_000);
  await trainingSurvives(t, 'kinds');
});
