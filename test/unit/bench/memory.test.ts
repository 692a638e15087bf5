import test from 'ava';
import type { Job } from '../../../bench/static/jobs.ts';
import { memoryLines } from '../../../bench/static/memory.ts';
import type { Profile } from '../../../bench/static/profile.ts';

test('a line tells bytes beside those of the operands, the width of accesses, sectors beside the least, bank conflicts', (t) => {
  const wide = { requests: 10, bytes: 10 * 32 * 16, sectors: 160, idealSectors: 160 };
  const scattered = { requests: 10, bytes: 10 * 32 * 4, sectors: 320, idealSectors: 40 };
  const main = { kernel: 'columns', globalLoad: wide, globalStore: scattered, conflicts: 3 };
  const bytes = wide.bytes + scattered.bytes;
  const profile = { main, bytes: bytes / 2, total: { mmaFlops: 0, bytes } } as unknown as Profile;
  const [head, line] = memoryLines(new Map([[{ name: 'sum over rows' } as Job, profile]]));
  t.deepEqual(head?.trim().split(/\s+/), ['kernel', 'bytes', 'loads', 'sectors', 'stores', 'sectors', 'conflicts']);
  t.deepEqual(line?.split(/ {2,}/), ['sum over rows', 'columns', '2.00x', '16 B', '1.00x', '4 B', '8.00x', '3']);
});
