import test from 'ava';
import { processesEnd } from './exit_support.ts';

test.serial('a process that ends in the middle of a step ends as it was told to', async (t) => {
  await processesEnd(t, 2);
});
