import test from 'ava';
import { workersComeAndGo } from '../../unit/tensor/worker_support.ts';

test('200 workers that train are ended in the middle of a step', async (t) => {
  await workersComeAndGo(t, { count: 200, alive: 4 });
});
