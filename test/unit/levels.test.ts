// AVX2 and AVX-512 sum in the same order: a training run has the same bits on both. The baseline has no fused multiply-add.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { native } from '../../lib/native/addon.ts';

const run = promisify(execFile);

/** Digest of the parameters after training at a level. */
async function digest(level: string): Promise<string> {
  const env = { ...process.env, HEDDLE_CPU: level, HEDDLE_THREADS: '1' };
  const { stdout } = await run(process.execPath, ['--import=tsx', 'test/run/levels.ts'], { env });
  return stdout.trim();
}

test('a training run has the same bits on AVX2 and AVX-512, and other ones without fma', async (t) => {
  const { isas } = native.info();
  if (!isas.includes('avx2')) {
    t.log('this CPU has no AVX2');
    t.pass();
    return;
  }
  const avx2 = await digest('avx2');
  t.regex(avx2, /^[0-9a-f]{64}$/);
  t.not(await digest('baseline'), avx2, 'the comparison sees a difference where there is one');
  if (isas.includes('avx512')) t.is(await digest('avx512'), avx2);
  else t.log('this CPU has no AVX-512: not compared');
});
