// heddle bench: what it prints, what it estimates, and how it ends early. Figures are checked for sense, not for speed.
import test from 'ava';
import { type Estimate, estimatePresets, TOKENS_PER_PARAMETER, trainingMemory } from '../../../lib/cli/bench-estimate.ts';
import type { Measurements } from '../../../lib/cli/bench-run.ts';
import { type BenchResult, bench, benchText } from '../../../lib/cli/bench-view.ts';
import { machine, parseQuota } from '../../../lib/cli/machine.ts';
import { countParameters, flopsPerToken, gptConfig, presetNames } from '../../../lib/models/index.ts';
import { native } from '../../../lib/native/addon.ts';
import { heddle, lastLine } from './support.ts';

const finite = (...values: unknown[]): boolean => values.every((v) => Number.isFinite(v) && (v as number) > 0);

test.serial('--quick --json on the CPU: ceilings, matmul, training, decoding and estimates, in one line', async (t) => {
  const outcome = await heddle(['bench', '--quick', '--json', '--device', 'cpu']);
  t.is(outcome.code, 0, outcome.stderr);
  t.is(outcome.stdout.trimEnd().split('\n').length, 1);
  for (const name of ['FMA peak', 'memory copy', 'memory read', 'matmul f32 256', 'training char-cpu', 'decoding char-cpu'])
    t.regex(outcome.stderr, new RegExp(`^bench \\d/6 .*${name}$`, 'm'));
  const result = lastLine(outcome) as unknown as BenchResult & { command: string; quick: boolean };
  t.is(result.command, 'bench');
  t.true(result.quick);
  t.is(result.device, 'cpu');
  t.is(result.instructions.isa, native.info().isa);
  t.true(finite(result.ceilings.fma, result.ceilings.copy, result.ceilings.read, result.memory, result.shareOf.flops));
  t.is(result.matmul.length, 1);
  t.true(finite(result.matmul[0]?.gflops));
  const [training] = result.training;
  t.is(training?.preset, 'char-cpu');
  t.true(finite(training?.tokensPerSecond, training?.milliseconds, training?.decoding?.tokensPerSecond, training?.decoding?.gbPerSecond));
  const config = gptConfig({}, 'char-cpu');
  const perSecond = (training?.tokensPerSecond ?? 0) * flopsPerToken(config, 64);
  t.true(Math.abs((training?.flops ?? 0) / perSecond - 1) < 1e-9);
  // The estimate of memory, against what the step took.
  const ratio = trainingMemory(config, 4, 64) / (training?.peakMemory ?? 0);
  t.true(ratio > 0.7 && ratio < 1.7, `estimated memory is ${ratio.toFixed(2)} times the measured`);
  t.is(result.estimates.length, presetNames.length);
  t.true(result.estimates.every((e) => finite(e.seconds, e.memory, e.tokens, e.parameters) && e.from === 'char-cpu'));
});

test.serial('Ctrl-C between measurements: exit code 130, nothing on stdout', async (t) => {
  let sent = false;
  const outcome = await heddle(['bench', '--device', 'cpu', '--quick'], {
    onStderr(child, stderr) {
      if (sent || !stderr.includes('FMA peak')) return;
      sent = true;
      child.kill('SIGINT');
    },
  });
  t.is(outcome.code, 130, outcome.stderr);
  t.is(outcome.stdout, '');
  t.regex(outcome.stderr, /^Stopping\. Ctrl-C again quits at once\.$/m);
});

test.serial('what cannot be asked for', async (t) => {
  const device = await heddle(['bench', '--device', 'gpu']);
  t.is(device.code, 1);
  t.is(device.stderr, "heddle: device must be 'cpu', 'cuda', 'cuda:N' or 'auto', got 'gpu'\n");
  const option = await heddle(['bench', '--qick']);
  t.is(option.code, 2);
  t.regex(option.stderr, /^heddle: bench: unknown option --qick; did you mean --quick\?/);
});

const MEASURED: Measurements = {
  device: 'cpu',
  machine: machine(),
  load: 0.1,
  ceilings: { fma: 200, copy: 20, read: 10, bytes: 2 ** 20 },
  matmul: [{ dtype: 'f32', size: 1024, gflops: 150 }],
  training: [
    {
      ...{
        preset: 'quickstart',
        parameters: 1_414_560,
        compute: 'f32',
        batch: 16,
        length: 128,
        milliseconds: 100,
        tokensPerSecond: 20_480,
      },
      ...{ flops: 50e9, peakMemory: 1e8, decoding: { tokensPerSecond: 1000, gbPerSecond: 30 } },
    },
    {
      ...{ preset: 'gpt2', parameters: 124_439_808, compute: 'f32', batch: 1, length: 256, milliseconds: 2000, tokensPerSecond: 128 },
      ...{ flops: 100e9, peakMemory: 2e9, decoding: { tokensPerSecond: 10, gbPerSecond: 5 } },
    },
  ],
  skipped: [{ what: 'training and decoding char-gpu', why: 'it would take about 99 s more' }],
};

test('the text says what is measured, what is estimated and from what, and what this machine cannot show', (t) => {
  const info = { ...native.info(), isa: 'avx2', isas: ['avx2', 'baseline'], compiledIsas: ['avx512', 'avx2', 'baseline'] };
  const text = benchText(bench(MEASURED, info), false);
  for (const part of [
    /^ {2}avx512 +not measured here: this processor does not have these instructions$/m,
    /^ {2}training and decoding char-gpu +not measured here: it would take about 99 s more$/m,
    /^ {2}FMA peak, f32 +200 GFLOP\/s measured$/m,
    /^Measured: what heddle reaches$/m,
    /^ {2}matmul f32 .* 150 GFLOP\/s +75 % of the FMA peak$/m,
    /^ {2}training gpt2, f32 .* 128 tokens\/s +100 GFLOP\/s +50 % of the FMA peak$/m,
    /^ {2}decoding quickstart .* out of the caches$/m,
    /^ {2}decoding gpt2 .* 5\.0 GB\/s of weights +50 % of memory read$/m,
    /^Estimated from the measured steps: a training of 20 tokens per parameter \(Chinchilla\)$/m,
    /^ {2}do not fit into .*, estimated: .*gpt3-175b \(\d+\.\d GiB\)$/m,
    /^ {2}gpt2 .* gpt2( +needs a GPU)?$/m,
  ])
    t.regex(text, part);
  t.false(text.includes('load'));
  t.regex(
    benchText(bench({ ...MEASURED, load: 3.2 }, info), true),
    /quick: rough figures[^~]*\n {2}load +3\.2 before it began: other programs run here/,
  );
  t.true(benchText(bench({ ...MEASURED, training: [] }, info), false).endsWith('No estimates: no training step was measured.'));
});

test('estimates: the arithmetic, the nearest measured step, what fits and what is out of reach', (t) => {
  const all = estimatePresets(MEASURED.training, 4e9);
  t.deepEqual(
    all.map((e) => e.parameters),
    all.map((e) => e.parameters).toSorted((a, b) => a - b),
  );
  const of = (name: string) => all.find((e) => e.preset === name) as Estimate;
  const gpt2 = of('gpt2');
  const { total } = countParameters(gptConfig({}, 'gpt2'));
  t.is(gpt2.tokens, TOKENS_PER_PARAMETER * total);
  t.is(gpt2.seconds, (gpt2.tokens * flopsPerToken(gptConfig({}, 'gpt2'), 1024)) / 100e9);
  t.deepEqual([gpt2.from, of('modern').from, of('quickstart').from, of('char-cpu').from], ['gpt2', 'gpt2', 'quickstart', 'quickstart']);
  t.true(gpt2.fits && gpt2.outOfReach);
  t.true(of('quickstart').fits && !of('quickstart').outOfReach);
  t.false(of('gpt3-175b').fits);
  t.is(of('qwen3-0.6b').length, 2048);
  t.deepEqual(estimatePresets([], 4e9), []);
  const c = gptConfig({}, 'gpt2');
  t.true(trainingMemory(c, 2, 64) > trainingMemory(c, 1, 64) && trainingMemory(c, 1, 128) > trainingMemory(c, 1, 64));
});

test('the quota of a container', (t) => {
  t.is(parseQuota('200000 100000'), 2);
  t.is(parseQuota('50000 100000'), 0.5);
  for (const text of ['max 100000', '-1 100000', '', ' ', '100000', undefined]) t.is(parseQuota(text), undefined, `${text}`);
});
