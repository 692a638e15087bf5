import test from 'ava';
import { type Verdict, withAgain } from '../../../bench/targets.ts';

const row = (line: string, measured: string, met: boolean | null): Verdict => ({ line, target: 'at least 2', measured, met });

test('what missed is shown with what was measured again; what was met, or cannot be shown here, stays', (t) => {
  const before = [row('a', '1', false), row('b', '2', true), row('c', 'not shown', null)];
  const again = [row('c', '3', true), row('b', '1', false), row('a', '3', true)];
  t.deepEqual(withAgain(before, again), [row('a', '1, 3', true), ...before.slice(1)]);
  t.deepEqual(withAgain(before, [row('a', '0', false)])[0], row('a', '1, 0', false));
});
