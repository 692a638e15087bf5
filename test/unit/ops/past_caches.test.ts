// Outputs larger than the last-level cache are written past the caches (native/cpu/output.h). HEDDLE_CACHE_BYTES=1 does so with all.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const SEED = process.env.HEDDLE_SEED ?? '20240607';

/** Lines `op digest`. */
async function digests(cacheBytes: string): Promise<string[]> {
  const env = { ...process.env, HEDDLE_CACHE_BYTES: cacheBytes, HEDDLE_THREADS: '2' };
  const { stdout } = await run(process.execPath, ['--import=tsx', 'test/run/digests.ts', SEED, '8', '150'], { env });
  return stdout.trim().split('\n');
}

test('every op gives the same bits past the caches and through them', async (t) => {
  const [through, past] = await Promise.all([digests(String(2 ** 40)), digests('1')]);
  t.true(through.length > 30, 'one line an op');
  t.deepEqual(past, through, `HEDDLE_SEED=${SEED}`);
});

test('a wrong HEDDLE_CACHE_BYTES is an error that says so', async (t) => {
  for (const wrong of ['0', 'large', '-1', '1e6']) {
    const { stderr } = (await t.throwsAsync(digests(wrong))) as Error & { stderr: string };
    t.regex(stderr, new RegExp(`HEDDLE_CACHE_BYTES must be an integer from 1 to 2\\^40, got ${wrong}`));
  }
});
