import test from 'ava';
import { preparingSurvives, trainingSurvives } from '../../unit/train/faults_support.ts';

test.serial('preparing: each operation fails, in every way', async (t) => {
  t.timeout(3_600_000);
  await preparingSurvives(t, 'each');
});

test.serial('preparing and training: each operation fails, in every way', async (t) => {
  t.timeout(3_600_000);
  await trainingSurvives(t, 'each');
});
