// AVX2 and AVX-512 sum in the same order: a training run has the same bits on both. The baseline of x86 has no fused multiply-add.
// arm64's bits against AVX2's, and x86-64-v2 without any AVX: scripts/emulated.mjs.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { native } from '../../lib/native/addon.ts';
import { binaryPath } from '../../lib/native/load.ts';

const run = promisify(execFile);
const { isas, compiledIsas } = native.info();

/** Digest of the parameters after training at a level. */
async function digest(level: string): Promise<string> {
  const env = { ...process.env, HEDDLE_CPU: level, HEDDLE_THREADS: '1' };
  const { stdout } = await run(process.execPath, ['--import=tsx', 'test/run/levels.ts'], { env });
  return stdout.trim();
}

test('a training run has the same bits on AVX2 and AVX-512, and other ones without fma', async (t) => {
  if (!isas.includes('avx2')) {
    t.log('not compared: this CPU has no AVX2');
    t.pass();
    return;
  }
  const avx2 = await digest('avx2');
  t.regex(avx2, /^[0-9a-f]{64}$/);
  t.not(await digest('baseline'), avx2, 'the comparison sees a difference where there is one');
  if (isas.includes('avx512')) t.is(await digest('avx512'), avx2);
  t.log(
    isas.includes('avx512') ? 'compared: avx512, avx2 and baseline' : 'compared: avx2 and baseline; not avx512: this CPU does not have it',
  );
});

test('what multiplies in bf16 and this machine lacks, or nobody has, is refused in words; f32 is had by all', async (t) => {
  const info = async (HEDDLE_BF16: string) => {
    const script = 'process.stdout.write(JSON.stringify(require(process.argv[1]).info()))';
    const { stdout } = await run(process.execPath, ['-e', script, binaryPath()], { env: { ...process.env, HEDDLE_BF16 } });
    return (JSON.parse(stdout) as { bf16: string }).bf16;
  };
  const best = await info('');
  t.is(await info(best), best);
  t.is(await info('f32'), 'f32');
  for (const name of best === 'amx' ? ['tiles'] : ['amx', 'tiles']) {
    const { stderr } = (await t.throwsAsync(info(name))) as Error & { stderr: string };
    t.regex(stderr, new RegExp(`HEDDLE_BF16 must be one of ${best}\\b.* on this machine at \\w+, got ${name}`));
  }
});

test('a level that this machine lacks, or that nobody has, is refused in words', async (t) => {
  const lacking = compiledIsas.filter((name) => !isas.includes(name));
  for (const HEDDLE_CPU of [...lacking, 'avx1024', 'AVX2', 'baseline ']) {
    const loading = run(process.execPath, ['-e', 'require(process.argv[1]).info()', binaryPath()], { env: { ...process.env, HEDDLE_CPU } });
    const { stderr } = (await t.throwsAsync(loading)) as Error & { stderr: string };
    t.true(stderr.includes(`HEDDLE_CPU must be one of ${isas.join(', ')} on this machine, got ${HEDDLE_CPU}`), stderr);
  }
  if (!lacking.length) t.log(`this CPU has every level that was compiled: ${compiledIsas.join(', ')}`);
});
