// Training in half precision and TF32 through the trainer; the CPU converts, which is slow and the same arithmetic.
import test from 'ava';
import { computesHalf, data, memory, nn, setDefaultDevice, synchronize, type TrainerEvent } from '../../../lib/index.ts';
import { checkPolicy, computeOn, LossScale } from '../../../lib/train/policy.ts';
import { DEVICE, EVERY_DEVICE, onDevice } from '../../run/devices.ts';
import { bitsOf, endOf, eventsOf, lossesOf, resumesBitForBit, tokens, trainerOf } from './run_support.ts';

type Step = TrainerEvent & { type: 'step' };
const stepsOf = (events: readonly TrainerEvent[]): Step[] => events.filter((e) => e.type === 'step');
const train = { steps: 12, logEvery: 1 };

for (const compute of ['tf32', 'bf16', 'f16'] as const)
  test(`in ${compute} the losses go as in f32`, async (t) => {
    const validation = tokens(200);
    const reference = trainerOf({ train, options: { validation } });
    const expected = await eventsOf(reference);
    const want = stepsOf(expected);
    endOf(reference);
    const trainer = trainerOf({ train, options: { policy: nn.fillPolicy({ compute }), validation } });
    t.is(trainer.model.compute, compute);
    const events = await eventsOf(trainer);
    const steps = stepsOf(events);
    for (const [i, { loss, gradNorm, skipped, lossScale }] of steps.entries()) {
      t.true(Math.abs(loss - (want[i] as Step).loss) < 0.05, `step ${i + 1}: ${loss}, in f32 ${want[i]?.loss}`);
      t.true(Math.abs(gradNorm / (want[i] as Step).gradNorm - 1) < 0.1);
      t.deepEqual([skipped, lossScale], [false, compute === 'f16' ? 65536 : 1]);
    }
    const evaluated = (list: readonly TrainerEvent[]) => list.find((e) => e.type === 'evaluation')?.loss ?? Number.NaN;
    t.true(Math.abs(evaluated(events) - evaluated(expected)) < 0.05);
    t.true(trainer.model.parameters().every((p) => p.dtype === 'f32'));
    endOf(trainer);
  });

test('in fp8 the loss falls as in bf16', async (t) => {
  const losses = async (compute: 'bf16' | 'fp8'): Promise<number[]> => {
    const count = new data.MemoryTokens({ tokens: Uint32Array.from({ length: 999 }, (_, i) => i % 17), vocabSize: 17 });
    const source = new data.Loader(count, { batch: 4, length: 16, seed: 5 });
    const steps = { steps: 20, logEvery: 1, batchSize: 4 };
    const trainer = trainerOf({ model: { width: 32 }, train: steps, source, options: { policy: nn.fillPolicy({ compute }) } });
    t.is(trainer.model.compute, compute);
    const found = stepsOf(await eventsOf(trainer)).map(({ loss }) => loss);
    endOf(trainer);
    return found;
  };
  const [want, got] = [await losses('bf16'), await losses('fp8')];
  t.true((got.at(-1) as number) < (got[0] as number) - 1.5, `${got[0]} to ${got.at(-1)}`);
  t.notDeepEqual(got, want);
  for (const [i, loss] of got.entries()) t.true(Math.abs(loss - (want[i] as number)) < 0.02, `step ${i + 1}: ${loss}, in bf16 ${want[i]}`);
});

test('the loss scale cancels: reported losses and parameters are those without one', async (t) => {
  const run = async (lossScale: number) => {
    const trainer = trainerOf({ train, options: { policy: { compute: 'f32', lossScale } } });
    const losses = lossesOf(await eventsOf(trainer));
    const bits = bitsOf(trainer);
    endOf(trainer);
    return [losses, bits];
  };
  t.deepEqual(await run(1024), await run(1)); // a power of two is exact
});

test('a dynamic loss scale halves after a skipped step and doubles after 2000 others', (t) => {
  const policy = { compute: 'f16', lossScale: 'dynamic' } as const;
  const dynamic = new LossScale(policy);
  t.is(dynamic.value, 65536);
  dynamic.update(true);
  dynamic.update(true);
  t.is(dynamic.value, 16384);
  for (let i = 0; i < 1999; i++) dynamic.update(false);
  t.is(dynamic.value, 16384);
  const copy = new LossScale(policy);
  copy.restore(JSON.parse(JSON.stringify(dynamic.state())));
  for (const each of [dynamic, copy]) {
    each.update(false);
    t.is(each.value, 32768);
    for (let i = 0; i < 40; i++) each.update(true);
    t.is(each.value, 1);
    for (let i = 0; i < 2000 * 30; i++) each.update(false);
    t.is(each.value, 2 ** 24);
  }
  const fixed = new LossScale({ compute: 'f16', lossScale: 8 });
  fixed.update(true);
  fixed.restore({ value: 4, steady: 0 });
  t.is(fixed.value, 8);
});

test('gradients that overflow in f16 skip the step: nothing changes', async (t) => {
  // Wide logits overflow f16 when the scale is so large that every gradient of the head does.
  const trainer = trainerOf({
    train: { ...train, steps: 8 },
    options: { policy: { compute: 'f16', lossScale: 2 ** 24 } },
  });
  const before = bitsOf(trainer);
  const events = stepsOf(await eventsOf(trainer));
  t.true(events.every((e) => e.skipped && e.lossScale === 2 ** 24 && Number.isFinite(e.loss)));
  t.is(bitsOf(trainer), before);
  endOf(trainer);
});

for (const compute of ['bf16', 'fp8'] as const)
  test(`a run in ${compute} resumes bit for bit, copies included`, (t) =>
    resumesBitForBit(t, { train, policy: nn.fillPolicy({ compute }), saveEvery: 5 }));

for (const device of EVERY_DEVICE)
  test.serial(`a step copies once from the device: its figures${onDevice(device)}`, async (t) => {
    setDefaultDevice(device);
    t.teardown(() => setDefaultDevice(DEVICE));
    for (const gradientAccumulation of [1, 3]) {
      const trainer = trainerOf({ train: { steps: 5, gradientAccumulation, logEvery: 1 } });
      t.is(trainer.model.device, device);
      await synchronize(device);
      const counts: number[] = [];
      let before = memory(device).copiesOut;
      for await (const event of trainer) {
        if (event.type !== 'step') continue;
        counts.push(memory(device).copiesOut - before);
        before = memory(device).copiesOut;
      }
      t.deepEqual(counts, [1, 1, 1, 1, 1]);
      endOf(trainer);
    }
  });

test('a device that does not compute in a type says what it does', (t) => {
  const f16 = nn.fillPolicy({ compute: 'f16' });
  t.throws(() => checkPolicy(f16, 'cpu'), { message: /^train\.policy\.compute must be f32 or tf32 or bf16 or fp8 on the CPU, got f16/ });
  t.is(computeOn('cpu', 'f16'), 'f32');
  t.is(computeOn('cpu', 'bf16'), 'bf16');
  t.is(computeOn('cpu', 'tf32'), 'tf32');
  t.notThrows(() => checkPolicy(nn.fillPolicy({ compute: 'tf32' }), 'cpu'));
  if (computesHalf(DEVICE)) t.notThrows(() => checkPolicy(nn.fillPolicy({ compute: 'f16' }), DEVICE));
});
