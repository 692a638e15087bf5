// A dry run against the run itself: the peak that it foretells, and what it says fits.
import test from 'ava';
import {
  data,
  fitMemory,
  GPT,
  type GPTConfigInput,
  gptConfig,
  memory,
  memoryHoldersAtPeak,
  parseRunConfig,
  planDevice,
  planMemory,
  type RunConfig,
  releaseMemory,
  resetPeakMemory,
  Trainer,
  zeros,
} from '../../../lib/index.ts';
import { computesIn, DEVICES, onDevice } from '../../run/devices.ts';

/** A small run. */
function runOf(model: GPTConfigInput, train: object, documents = false): RunConfig {
  const small = { vocabSize: 67, contextLength: 32, layers: 2, heads: 2, width: 32, dropout: 0.1 };
  const config = { model: { ...small, ...model }, data: { documents }, train: { batchSize: 4, ...train } };
  return parseRunConfig(JSON.stringify(config), 'small.json');
}

/** The peak of two real steps. */
async function realPeak({ model: shape, train, data: { documents } }: RunConfig, device: string): Promise<number> {
  releaseMemory(device);
  resetPeakMemory(device);
  if (memory(device).used !== 0) throw new Error('tensors of another test are alive');
  const model = new GPT(gptConfig(shape), { seed: 1, device });
  const { batchSize: batch, contextLength: length } = train;
  const ids = Uint32Array.from({ length: 2000 }, (_, i) => (i * i) % 67);
  const starts = Uint32Array.from({ length: 100 }, (_, i) => i * 20);
  const source = new data.MemoryTokens({ tokens: ids, starts, vocabSize: 67, endOfText: 0 });
  const loader = new data.Loader(source, { batch, length, seed: 1, documents });
  const trainer = new Trainer({ model, train: { ...train, steps: 2, evalEvery: 0, saveEvery: 0 }, data: loader, documents });
  await trainer.run();
  const { peak } = memory(device);
  trainer.dispose();
  model.dispose();
  return peak;
}

const RUNS: Readonly<Record<string, RunConfig>> = {
  'gpt-2': runOf({}, {}),
  'accumulation, documents, activations computed again': runOf({}, { gradientAccumulation: 2, policy: { recompute: 'activation' } }, true),
  'a modern model, untied head, blocks computed again': runOf(
    { norm: 'rmsnorm', positions: 'rotary', activation: 'swiglu', qkNorm: true, kvHeads: 1, tiedHead: false },
    { policy: { recompute: 'block' } },
  ),
  'logits by rows': runOf({ contextLength: 64 }, { policy: { headRows: 96 } }),
  'muon, post-norm, sinusoidal positions': runOf({ normPosition: 'post', positions: 'sinusoidal' }, { optimizer: 'muon' }),
  "moments in the host's memory": runOf({}, { policy: { offload: 'optimizer' } }),
  'long enough for sums over rows in chunks': runOf({ contextLength: 256, layers: 1 }, { batchSize: 17, optimizer: 'lion' }),
};

for (const device of DEVICES)
  for (const [name, run] of Object.entries(RUNS))
    for (const compute of ['f32', 'bf16', 'f16', 'fp8'] as const) {
      const half = compute === 'fp8' ? 'bf16' : compute;
      if (half !== 'f32' && !(device === 'cpu' ? half === 'bf16' : computesIn(device, half))) continue;
      if (compute === 'fp8' && name !== 'gpt-2') continue;
      if (device !== 'cpu' && name.startsWith('long') && compute === 'f32') continue; // the slowest on a simulated card
      test.serial(`the dry run's peak is the run's, ${name}, ${compute}${onDevice(device)}`, async (t) => {
        const { policy, ...train } = run.train;
        const with16 = { ...run, train: { ...train, policy: { ...policy, compute } } };
        const { peak, holders } = await planMemory(with16, { device: planDevice(device) });
        t.is(peak, await realPeak(with16, device));
        t.is(
          Object.values(holders.bytes).reduce((sum, bytes) => sum + bytes, holders.underway),
          peak,
        );
        t.is(memory(planDevice(device)).used, 0);
      });
    }

/** GPT-2 of 124 million parameters at 64 sequences of 1024 tokens a micro-batch. */
function gpt2(policy: object): RunConfig {
  const config = { model: { preset: 'gpt2', vocabSize: 50257, paddedVocab: 64, dropout: 0 }, train: { batchSize: 64, policy } };
  return parseRunConfig(JSON.stringify(config), 'gpt2.json');
}
const limit = 16 * 2 ** 30;
const device = 'plan:80';

test.serial('GPT-2 124M with 64 x 1024 tokens in bf16 fits into 16 GiB with blocks computed again, not without', async (t) => {
  const { used } = memory('cpu');
  t.is(await planMemory(gpt2({ compute: 'bf16' }), { device, limit }), null);
  const plan = await planMemory(gpt2({ compute: 'bf16', recompute: 'block' }), { device, limit });
  t.truthy(plan);
  // What is known: values, copy, gradients, m and v of 124.5 million parameters, and logits of all tokens.
  const { bytes } = plan?.holders ?? { bytes: {} as Record<string, number> };
  t.true(Math.abs((bytes['optimizer state'] as number) / (8 * 124.5e6) - 1) < 0.02);
  t.true((plan?.peak ?? 0) > 2 * 65536 * 50304);
  t.is(memory('cpu').used, used);
});

test.serial('what makes it fit is found, and nothing that is not needed', async (t) => {
  const run = gpt2({ compute: 'bf16' });
  const { tried, changes } = await fitMemory(run, { device, limit });
  t.deepEqual(changes, { 'train.policy.recompute': 'block' });
  t.deepEqual(
    tried.map(({ changes, fits }) => [changes['train.policy.recompute'], fits]),
    [
      [undefined, false],
      ['activation', false],
      ['block', true],
    ],
  );
  t.deepEqual((await fitMemory(run, { device, limit: 100 * 2 ** 30 })).changes, {});
  const fewer = await fitMemory(run, { device, limit: 6 * 2 ** 30 });
  t.deepEqual(fewer.changes, { 'train.policy.recompute': 'block', 'train.policy.headRows': 4096 });
  const small = await fitMemory(run, { device, limit: 3 * 2 ** 30 });
  const { 'train.batchSize': batch, 'train.gradientAccumulation': times } = small.changes as Record<string, number>;
  t.is((batch as number) * (times as number), 64);
  t.is((await fitMemory(run, { device, limit: 2 ** 30 })).changes, null);
});

test('a dry run says what it cannot know', async (t) => {
  const chars = parseRunConfig('{ tokenizer: { kind: char } }', 'chars.yaml');
  await t.throwsAsync(() => planMemory(chars), { message: /^model\.vocabSize must be given to plan memory/ });
  await t.throwsAsync(() => planMemory(RUNS['gpt-2'] as RunConfig, { device: 'plan:9' }), {
    message: /^device must be 'plan:cpu', .*got 'plan:9'/,
  });
  t.throws(() => memoryHoldersAtPeak('cpu'), { message: /device must be a dry run's, got 'cpu'/ });
  await t.throwsAsync(() => planMemory(gpt2({ compute: 'bf16' }), { device: 'plan:75' }), { message: /^train\.policy\.compute must be/ });
});

test('a tensor of a dry run has shape and type, and no numbers', async (t) => {
  using x = zeros([3, 5], { device: 'plan:cpu' });
  t.deepEqual([x.shape, x.device], [[3, 5], 'plan:cpu']);
  t.is((await x.data()).length, 15);
});
