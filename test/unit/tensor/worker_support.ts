import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';

const MiB = 2 ** 20;
const CHILD = fileURLToPath(new URL('./child/workers.mjs', import.meta.url));

interface Seen {
  before: object;
  after: object;
  /** Bytes, after each worker. */
  resident: number[];
  steps: number;
  undisturbed: boolean;
}

/**
 * In a process that trains: starts `count` workers that train, `alive` at a time, and ends each in the middle of a step. Afterwards the
 * process has as many threads and tensors as before and no more memory than after the first few, and its training was not disturbed.
 */
export async function workersComeAndGo(t: ExecutionContext, { count, alive }: { count: number; alive: number }): Promise<void> {
  if (!existsSync(new URL('../../../dist/index.js', import.meta.url))) return t.fail('dist/ is not built: run node scripts/setup.mjs');
  const seed = Date.now() >>> 0;
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, ...[count, alive, seed].map(String)]);
  const { before, after, resident, steps, undisturbed } = JSON.parse(stdout) as Seen;
  t.is(resident.length, count);
  t.deepEqual(after, before, `seed ${seed}`);
  t.true(undisturbed, 'the losses of the same steps without workers');
  // A worker holds some 20 MiB: its tensors, its stream's queue, its heap. A few that stayed would show. What grew here once, 55 KiB with each
  // worker, was no leak but free memory in the arenas of glibc's malloc: of what malloc gives and nobody returns there were 0.1 KiB more with
  // each worker, as many as with one that does nothing. test/native/pages_test.cc holds that exactly, without noise.
  const part = Math.ceil(count / 3);
  const most = (sizes: readonly number[]): number => Math.max(...sizes) / MiB;
  const [early, late] = [most(resident.slice(0, part)), most(resident.slice(-part))];
  const said = `${count} workers, ${alive} at a time, ${steps} steps beside them; resident ${early.toFixed(0)} MiB at most in the first third, ${late.toFixed(0)} in the last (seed ${seed})`;
  t.log(said);
  t.true(late - early < 40, said);
}
