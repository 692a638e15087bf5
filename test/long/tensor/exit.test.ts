import test from 'ava';
import { processesEnd } from '../../unit/tensor/exit_support.ts';

test('a process that ends in the middle of a step ends as it was told to, at 40 moments', async (t) => {
  await processesEnd(t, 40);
});
