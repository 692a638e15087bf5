// What an optimizer keeps in bf16, rounded at random: less memory, the same training, the same bits each time. To nearest it would stand still.
import test from 'ava';
import {
  AdamW,
  data,
  full,
  memoryHolders,
  nn,
  ops,
  parseRunConfig,
  planMemory,
  SGD,
  type Tensor,
  type TrainerEvent,
} from '../../../lib/index.ts';
import { copyInto } from '../../../lib/ops/index.ts';
import { computesIn, DEVICE } from '../../run/devices.ts';
import { endOf, resumesBitForBit, tokens, trainerOf } from './run_support.ts';

const POLICIES = {
  moments: nn.fillPolicy({ compute: 'bf16', moments: 'bf16' }),
  weights: nn.fillPolicy({ compute: 'bf16', weights: 'bf16' }),
  both: nn.fillPolicy({ compute: 'bf16', moments: 'bf16', weights: 'bf16' }),
};
/** The CPU takes bf16 by converting; cards before compute capability 8.0 do not. */
const takesBf16 = DEVICE === 'cpu' || computesIn(DEVICE, 'bf16');

/** Parameters that are one vector. */
class Vector extends nn.Module {
  readonly x: nn.Parameter;
  constructor(n: number, value: number) {
    super();
    this.x = new nn.Parameter(full([n], value));
  }
}
const mean = (t: Tensor): number => ops.mean(ops.cast(t, 'f32')).dataSync()[0] as number;
const nearest = (x: number): number => ops.cast(full([], x), 'bf16').dataSync()[0] as number;

test('bytes of a parameter: 8 of moments become 4, 6 of master and copy become 2', async (t) => {
  const config = { model: { preset: 'gpt2', vocabSize: 50257 }, train: { batchSize: 8 } };
  const bytesWith = async (policy: object) => {
    const run = parseRunConfig(JSON.stringify({ ...config, train: { ...config.train, policy } }), 'run.json');
    const { bytes } = (await planMemory(run, { device: 'plan:80' })).holders;
    return [bytes.parameters, bytes['optimizer state'], bytes.gradients];
  };
  const [p, state, g] = (await bytesWith({ compute: 'bf16' })) as [number, number, number];
  const close = (got: number, want: number) => t.true(Math.abs(got / want - 1) < 0.001, `${got}, not ${want}`);
  for (const [part, bytes] of [
    [p, 6],
    [state, 8],
  ] as const)
    close(part / g, bytes / 4);
  const moments = (await bytesWith(POLICIES.moments)) as [number, number, number];
  close(moments[0], p);
  close(moments[1], state / 2);
  const both = (await bytesWith(POLICIES.both)) as [number, number, number];
  close(both[0], p / 3);
  close(both[1], state / 2);
  close(both[2], g);
});

(takesBf16 ? test : test.skip)('the memory of a run shows it', (t) => {
  const of = (policy: nn.Policy) => {
    const trainer = trainerOf({ options: { policy } });
    const { bytes } = memoryHolders(DEVICE);
    endOf(trainer);
    return [bytes.parameters, bytes['optimizer state']] as const;
  };
  const [plain, both] = [of(nn.fillPolicy({ compute: 'bf16' })), of(POLICIES.both)];
  t.true(both[0] < 0.6 * plain[0] && both[1] < 0.6 * plain[1], `${both}, ${plain}`);
});

for (const [name, policy] of Object.entries(POLICIES))
  for (const optimizer of ['adamw', 'adam', 'lion', 'sgd'] as const)
    (takesBf16 ? test : test.skip)(`${name} in bf16, ${optimizer}: a run resumes bit for bit`, (t) => {
      const train = { steps: 8, logEvery: 1, optimizer, learningRate: optimizer === 'lion' ? 1e-3 : 1e-2 };
      return resumesBitForBit(t, { train, policy, saveEvery: 3 }, ({ optimizer: { parameters, buffers } }) => {
        t.is(parameters.values.dtype, policy.weights ?? 'f32');
        for (const buffer of buffers.values()) t.is(buffer.dtype, policy.moments ?? 'f32');
      });
    });

test('a second moment in bf16 falls by 1/1000 a step on average; to nearest it would stay', (t) => {
  const model = new Vector(8192, 1);
  const optimizer = new AdamW(model, { lr: 0, betas: [0.9, 0.999], moments: 'bf16', seed: 3 });
  const [m, v] = [optimizer.buffers.get('m') as Tensor, optimizer.buffers.get('v') as Tensor];
  copyInto(m, full([], 1));
  copyInto(v, full([], 1));
  t.is(nearest(1.5 * 0.999), 1.5);
  for (let step = 0; step < 400; step++) optimizer.step(); // without a gradient
  t.true(Math.abs(mean(v) / 0.999 ** 400 - 1) < 0.005, `${mean(v)}`);
  t.true(mean(m) < 1e-10);
  optimizer.dispose();
  model.dispose();
});

test('parameters in bf16 take steps far below their last place, on average; to nearest they would stay', (t) => {
  const model = new Vector(8192, 1.5);
  const optimizer = new SGD(model, { lr: 2 ** -12, weights: 'bf16', seed: 3 });
  t.is(nearest(1.5 - 2 ** -12), 1.5);
  const { gradients } = optimizer.parameters;
  for (let step = 0; step < 400; step++) {
    optimizer.zeroGrad();
    optimizer.parameters.completeGradients();
    copyInto(gradients, full([], 1));
    optimizer.step();
  }
  const want = 1.5 - 400 * 2 ** -12;
  t.true(Math.abs(mean(optimizer.parameters.values) - want) < 0.002, `${mean(optimizer.parameters.values)}, not ${want}`);
  optimizer.dispose();
  model.dispose();
});

type Step = TrainerEvent & { type: 'step' };

(takesBf16 ? test : test.skip)('the loss falls as with masters, also by tiny steps, which rounding to nearest loses', async (t) => {
  const fall = async (policy: nn.Policy, train: object, afterStep?: (values: Tensor) => void): Promise<number> => {
    const batch = new data.Loader(tokens(2000), { batch: 8, length: 16, seed: 5 }).next(); // always the same: the loss falls smoothly
    const source = { next: () => batch, state: () => ({}), restore: () => undefined, epoch: 0 };
    const trainer = trainerOf({ model: { bias: false }, train: { logEvery: 1, batchSize: 8, ...train }, source, options: { policy } });
    const losses: number[] = [];
    for await (const event of trainer) {
      if (event.type !== 'step') continue;
      losses.push((event as Step).loss);
      afterStep?.(trainer.optimizer.parameters.values);
    }
    endOf(trainer);
    const some = (from: number) => losses.slice(from, from + 10).reduce((a, b) => a + b, 0) / 10;
    return some(0) - some(losses.length - 10);
  };
  const masters = nn.fillPolicy({ compute: 'bf16' });
  const large = { steps: 60, learningRate: 1e-2, schedule: 'constant', warmup: 0 };
  const want = await fall(masters, large);
  for (const policy of Object.values(POLICIES)) {
    const got = await fall(policy, large);
    t.true(want > 0.3 && Math.abs(got / want - 1) < 0.1, `${got}, with masters ${want}`);
  }
  const tiny = { ...large, steps: 150, learningRate: 2e-6, minLearningRate: 2e-6 };
  const slow = await fall(masters, tiny);
  const kept = await fall(POLICIES.weights, tiny);
  const stalled = await fall(masters, tiny, (values) => copyInto(values, ops.cast(values, 'bf16')));
  t.true(Math.abs(kept / slow - 1) < 0.3, `${kept}, with masters ${slow}`);
  t.true(stalled < slow / 3, `to nearest ${stalled}, with masters ${slow}`);
});

test('what does not go together is told', (t) => {
  const parse = (train: string) => () => parseRunConfig(`train: ${train}`, 'run.yaml');
  t.throws(parse('{ policy: { weights: bf16 } }'), {
    message: /train\.policy\.weights must be f32 with compute f32 \(bf16 goes with compute bf16 or fp8\), got "?bf16/,
  });
  t.throws(parse('{ optimizer: muon, policy: { moments: bf16 } }'), { message: /train\.policy\.moments must be f32 for muon, got "?bf16/ });
  t.throws(() => trainerOf({ options: { policy: nn.fillPolicy({ weights: 'bf16' }) } }), {
    message: /^train\.policy\.weights must be f32 with compute f32/,
  });
});
