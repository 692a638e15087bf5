// Moments in the host's memory: the same training in less of the GPU's.
import test, { type ExecutionContext } from 'ava';
import {
  fitMemory,
  memory,
  memoryHolders,
  nn,
  parseRunConfig,
  planMemory,
  setDefaultDevice,
  type TrainConfig,
} from '../../../lib/index.ts';
import { DEVICE, EVERY_DEVICE, onDevice } from '../../run/devices.ts';
import { bitsOf, endOf, eventsOf, lossesOf, resumesBitForBit, trainerOf } from './run_support.ts';

/** Each kind of card once: the first one, and what is no card. */
const devices = EVERY_DEVICE.filter((device) => ['cpu', 'cuda:0', DEVICE].includes(device));
const here = nn.fillPolicy({});
const onHost = nn.fillPolicy({ offload: 'optimizer' });

for (const device of devices)
  for (const [optimizer, moments] of [
    ['adamw', 'f32'],
    ['adamw', 'bf16'],
    ['lion', 'f32'],
  ] as const) {
    const train: Partial<TrainConfig> = { steps: 6, logEvery: 1, optimizer, learningRate: optimizer === 'lion' ? 1e-3 : 1e-2 };
    const policy = { ...onHost, moments };
    const on = (title: string, body: (t: ExecutionContext) => Promise<void>): void =>
      test.serial(`${optimizer}, moments in ${moments}: ${title}${onDevice(device)}`, async (t) => {
        setDefaultDevice(device);
        t.teardown(() => setDefaultDevice(DEVICE));
        await body(t);
      });

    on('the bits of a run without it', async (t) => {
      const run = async (policy: nn.Policy) => {
        const trainer = trainerOf({ train, options: { policy } });
        const losses = lossesOf(await eventsOf(trainer));
        const state = memoryHolders(device).bytes['optimizer state'];
        const found = { losses, bits: bitsOf(trainer), state, onHost: memory(device).onHost };
        endOf(trainer);
        return found;
      };
      const [plain, offloaded] = [await run({ ...here, moments }), await run(policy)];
      t.deepEqual(offloaded.losses, plain.losses);
      t.is(offloaded.bits, plain.bits);
      t.is(plain.onHost, 0);
      t.is(offloaded.onHost + offloaded.state, plain.state);
      t.true(device === 'cpu' ? offloaded.onHost === 0 : offloaded.state < plain.state / 10);
      t.is(memory(device).onHost, 0, 'given back');
    });

    on('a run resumes bit for bit', (t) => resumesBitForBit(t, { train, policy, saveEvery: 3 }));
  }

test('a plan shows it, and it is tried after what the GPU can do alone', async (t) => {
  const run = parseRunConfig(
    '{ model: { preset: gpt2, vocabSize: 50257 }, train: { batchSize: 1, policy: { compute: bf16 } } }',
    'run.yaml',
  );
  const [plain, offloaded] = await Promise.all(
    ['none', 'optimizer'].map((offload) =>
      planMemory(
        { ...run, train: { ...run.train, policy: { ...run.train.policy, offload: offload as nn.Offload } } },
        { device: 'plan:80' },
      ),
    ),
  );
  const moments = 8 * 124.4e6;
  t.is(plain?.onHost, 0);
  t.true(Math.abs((offloaded?.onHost ?? 0) / moments - 1) < 0.02);
  t.true((plain?.holders.bytes['optimizer state'] ?? 0) > moments);
  t.true((offloaded?.holders.bytes['optimizer state'] ?? Number.NaN) < 1e6);
  const { changes } = await fitMemory(run, { device: 'plan:80', limit: 2 * 2 ** 30 });
  t.is(changes?.['train.policy.offload'], 'optimizer');
  t.is(changes?.['train.policy.moments'], undefined);
  const onCPU = await fitMemory(run, { device: 'plan:cpu', limit: 2 ** 30 });
  t.true(onCPU.tried.every((tried) => tried.changes['train.policy.offload'] === undefined));
});

test('muon keeps its momentum on the device', (t) => {
  t.throws(() => parseRunConfig('{ train: { optimizer: muon, policy: { offload: optimizer } } }', 'run.yaml'), {
    message: /policy\.offload must be none for muon, got "?optimizer/,
  });
});
