import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  type BatchSource,
  checkpoint,
  data,
  evaluate,
  HeddleError,
  memory,
  setThreads,
  type TrainConfig,
  type TrainerEvent,
} from '../../../lib/index.ts';
import { DEVICE } from '../../run/devices.ts';
import { bitsOf, endOf, eventsOf, lossesOf, type Setup, temporaryFolder, tokens, trainerOf } from './run_support.ts';

const { bestCheckpoint, latestCheckpoint } = checkpoint;

test.serial('overfits one batch', async (t) => {
  const loader = new data.Loader(tokens(200), { batch: 4, length: 16, seed: 1 });
  const batch = loader.next();
  const source: BatchSource = { next: () => batch, state: () => ({}), restore: () => undefined, epoch: 0 };
  const trainer = trainerOf({ source, train: { steps: 200, weightDecay: 0, schedule: 'constant' } });
  const losses = lossesOf(await eventsOf(trainer)).map(([, loss]) => loss);
  t.true(Math.abs((losses[0] as number) - Math.log(17)) < 0.3, `${losses[0]}: begins at chance`);
  t.true((losses.at(-1) as number) < 0.05, `${losses.at(-1)}`);
  endOf(trainer);
});

test.serial('the order of events, and what they say', async (t) => {
  const checkpoints = temporaryFolder(t);
  const heard: TrainerEvent[] = [];
  const validation = tokens(300);
  const trainer = trainerOf({
    train: { steps: 7, logEvery: 2, evalEvery: 3, saveEvery: 4, keep: 1, learningRate: 1e-3 },
    options: { validation, checkpoints, onEvent: (e) => heard.push(e) },
  });
  const events = await eventsOf(trainer);
  t.deepEqual(heard, events);
  const kinds = events.map((e) => `${e.type} ${e.step}${e.type === 'evaluation' && e.best ? ' best' : ''}`);
  // The best one brings a checkpoint with it; the last step logs, evaluates and saves in any case.
  t.deepEqual(kinds, [
    ...['step 2', 'evaluation 3 best', 'checkpoint 3', 'step 4', 'checkpoint 4', 'step 6', 'evaluation 6 best', 'checkpoint 6'],
    ...['step 7', 'evaluation 7 best', 'checkpoint 7', 'end 7'],
  ]);
  t.deepEqual(events.at(-1), { type: 'end', step: 7, reason: 'steps' });
  const first = events[0] as TrainerEvent & { type: 'step' };
  t.is(first.learningRate, 0.001 * (2 / 3));
  t.true(first.gradNorm > 0 && first.tokensPerSecond > 0 && !first.skipped);
  t.is(first.epoch, (2 * 2) / Math.floor(1999 / 16));
  t.deepEqual(readdirSync(checkpoints).sort(), ['best.json', 'step-00000007'], 'keep: 1');
  // The whole validation split at the end, and it is that of the model now.
  const last = events.findLast((e) => e.type === 'evaluation') as TrainerEvent & { type: 'evaluation' };
  t.is(last.tokens, 299);
  t.is((await evaluate(trainer.model, validation, { length: 16 })).tokens, 299);
  endOf(trainer);
});

test.serial('the best checkpoint stays, and early stopping ends the run', async (t) => {
  const checkpoints = temporaryFolder(t);
  // Validation on other patterns: learning the training text makes it worse soon.
  const validation = new data.MemoryTokens({ tokens: Uint32Array.from({ length: 200 }, (_, i) => (i * 5) % 17), vocabSize: 17 });
  const train = { steps: 100, evalEvery: 5, saveEvery: 5, keep: 1, earlyStop: 3, learningRate: 0.03 };
  const trainer = trainerOf({ train, options: { validation, checkpoints } });
  const events = await eventsOf(trainer);
  const evaluations = events.filter((e) => e.type === 'evaluation') as (TrainerEvent & { type: 'evaluation' })[];
  const best = evaluations.reduce((a, b) => (b.loss < a.loss ? b : a));
  t.deepEqual(events.at(-1), { type: 'end', step: best.step + 15, reason: 'early stop' });
  t.is(trainer.bestLoss, best.loss);
  const noted = await bestCheckpoint(checkpoints);
  t.is(noted?.value, best.loss);
  t.is(noted?.checkpoint.manifest.step, best.step);
  t.is(readdirSync(checkpoints).filter((name) => name.startsWith('step-')).length, 2);
  // It was stopped for good: resuming ends at once, with the same reason.
  const again = trainerOf({ train, options: { validation, checkpoints } });
  await again.resume((await latestCheckpoint(checkpoints)).checkpoint as checkpoint.Checkpoint);
  t.deepEqual(await eventsOf(again), [{ type: 'end', step: best.step + 15, reason: 'early stop' }]);
  // Its best checkpoint evaluates to what was noted.
  const opened = trainerOf({ train });
  await opened.resume(noted?.checkpoint as checkpoint.Checkpoint);
  const { loss } = await evaluate(opened.model, validation, { length: 16, batch: 32 });
  t.is(loss, best.loss);
  for (const x of [trainer, again, opened]) endOf(x);
});

test.serial('AbortSignal: the step is finished, a checkpoint saved, and the run goes on from there', async (t) => {
  const checkpoints = temporaryFolder(t);
  const stop = new AbortController();
  const trainer = trainerOf({ options: { checkpoints, signal: stop.signal } });
  const events: TrainerEvent[] = [];
  for await (const event of trainer) {
    events.push(event);
    if (event.type === 'step' && event.step === 4) stop.abort();
  }
  t.deepEqual(
    events.slice(-3).map((e) => `${e.type} ${e.step}`),
    ['step 4', 'checkpoint 4', 'end 4'],
  );
  t.deepEqual(events.at(-1), { type: 'end', step: 4, reason: 'aborted' });
  const { checkpoint: found } = await latestCheckpoint(checkpoints);
  t.is(found?.manifest.step, 4);
  endOf(trainer);
});

test.serial('minutes end a run early without changing its schedule', async (t) => {
  const trainer = trainerOf({ train: { steps: 100000, decaySteps: 100000 }, options: { minutes: 0.3 / 60 } });
  const events = await eventsOf(trainer);
  const end = events.at(-1) as TrainerEvent & { type: 'end' };
  t.is(end.reason, 'time');
  t.true(end.step > 0 && end.step < 100000);
  t.is(events.filter((e) => e.type === 'step').at(-1)?.step, end.step);
  endOf(trainer);
});

test.serial('a 50 ms timer keeps firing while a step of many micro-batches runs', async (t) => {
  const model = { vocabSize: 65, contextLength: 64, layers: 4, heads: 4, width: 128 } as const;
  const trainer = trainerOf({
    model,
    train: { steps: 1, contextLength: 64, batchSize: 12, gradientAccumulation: 40 }, // some 6,000 ops
    source: new data.Loader(tokens(3000, 65), { batch: 12, length: 64, seed: 2 }),
  });
  let [ticks, worst, before] = [0, 0, performance.now()];
  const started = before;
  const timer = setInterval(() => {
    const now = performance.now();
    ticks++;
    worst = Math.max(worst, now - before);
    before = now;
  }, 50);
  await trainer.run();
  clearInterval(timer);
  const took = performance.now() - started;
  const said = `${ticks} ticks in ${took} ms, ${worst} ms without one at most`;
  t.log(said);
  t.true(ticks >= took / 50 / 3, said);
  t.true(worst < took / 2, said);
  endOf(trainer);
});

/** Gives the same 8 rows in every step, in micro-batches of `rows`; rows have from 1 to 16 targets. */
function ragged(rows: number): BatchSource {
  const all = new data.Loader(tokens(500), { batch: 8, length: 16, seed: 3 }).next();
  for (let row = 0; row < 8; row++) for (let i = 1 + row * 2; i < 16; i++) all.targets[row * 16 + i] = data.IGNORE;
  let at = 0;
  const next = (): data.Batch => {
    const part = <T extends Int32Array>(ids: T) => ids.slice(at * 16, (at + rows) * 16);
    const targets = part(all.targets);
    const batch = { rows, length: 16, inputs: part(all.inputs), targets, targetCount: targets.filter((id) => id !== data.IGNORE).length };
    at = (at + rows) % 8;
    return batch;
  };
  return { next, state: () => ({}), restore: () => undefined, epoch: 0 };
}

test.serial('accumulation equals the full batch to fp32 rounding, with target counts that differ', async (t) => {
  const run = async (gradientAccumulation: number): Promise<{ values: Float32Array; losses: number[] }> => {
    const train = { steps: 3, gradientAccumulation, optimizer: 'sgd' as const, learningRate: 0.5, zLoss: 1e-3, labelSmoothing: 0.1 };
    const trainer = trainerOf({ source: ragged(8 / gradientAccumulation), train });
    const losses = lossesOf(await eventsOf(trainer)).map(([, loss]) => loss);
    const values = trainer.optimizer.parameters.values.dataSync() as Float32Array;
    endOf(trainer);
    return { values, losses };
  };
  const whole = await run(1);
  for (const parts of [4, 8]) {
    const split = await run(parts);
    for (const [i, loss] of split.losses.entries()) t.true(Math.abs(loss - (whole.losses[i] as number)) < 2e-6, `step ${i + 1}: ${loss}`);
    const worst = split.values.reduce((most, v, i) => Math.max(most, Math.abs(v - (whole.values[i] as number))), 0);
    t.true(worst < 2e-6, `${parts} parts: ${worst}`);
    t.true(split.values.every(Number.isFinite));
  }
});

(DEVICE === 'cpu' ? test.serial : test.serial.skip)('1, 2 and 4 threads give equal bits for a whole run', async (t) => {
  // The recipe of configs/char-cpu.yaml, five steps of it.
  const model = { vocabSize: 65, contextLength: 64, layers: 4, heads: 4, width: 128, dropout: 0.1 } as const;
  const train = { steps: 5, contextLength: 64, batchSize: 12 };
  const results = new Set<string>();
  try {
    for (const threads of [1, 2, 4]) {
      setThreads(threads);
      const source = new data.Loader(tokens(3000, 65), { batch: 12, length: 64, seed: 2 });
      const trainer = trainerOf({ model, train, source });
      const losses = lossesOf(await eventsOf(trainer));
      results.add(JSON.stringify(losses) + bitsOf(trainer));
      endOf(trainer);
    }
  } finally {
    setThreads(2);
  }
  t.is(results.size, 1);
});

const runs: [string, Setup][] = [
  ...(['adamw', 'adam', 'sgd', 'lion', 'muon'] as const).map((optimizer): [string, Setup] => [
    `${optimizer}, dropout, accumulation, documents`,
    { model: { dropout: 0.2 }, train: { optimizer, gradientAccumulation: 2, clip: 0.5, learningRate: 3e-3 }, documents: true },
  ]),
  [
    'a modern model',
    {
      model: { norm: 'rmsnorm', positions: 'rotary', activation: 'swiglu', qkNorm: true, kvHeads: 1, tiedHead: false, dropout: 0.1 },
      train: { schedule: 'wsd', decaySteps: 3 },
    },
  ],
];
for (const [name, setup] of runs)
  test.serial(`resuming gives the same bits: ${name}`, async (t) => {
    const checkpoints = temporaryFolder(t);
    const validation = tokens(150);
    const train: Partial<TrainConfig> = { ...setup.train, evalEvery: 4, saveEvery: 3, keep: 10 };
    const straight = trainerOf({ ...setup, train, options: { validation, checkpoints } });
    const events = await eventsOf(straight);
    const [bits, losses] = [bitsOf(straight), lossesOf(events)];
    endOf(straight);
    for (const step of [9, 3]) {
      const folder = join(checkpoints, `step-${String(step).padStart(8, '0')}`);
      const resumed = trainerOf({ ...setup, train, options: { validation, checkpoints } });
      await resumed.resume(await checkpoint.openCheckpoint(folder));
      t.is(resumed.step, step);
      t.false(readdirSync(checkpoints).includes('step-00000010'), 'what came after is gone');
      const rest = await eventsOf(resumed);
      t.deepEqual(lossesOf(rest), losses.slice(step));
      const evaluations = (list: readonly TrainerEvent[]) => list.filter((e) => e.type === 'evaluation' && e.step > step);
      t.deepEqual(evaluations(rest), evaluations(events));
      t.is(bitsOf(resumed), bits);
      endOf(resumed);
    }
  });

test.serial('resuming on packed examples gives the same bits', async (t) => {
  const checkpoints = temporaryFolder(t);
  const ids = tokens(600);
  const mask = Uint8Array.from({ length: 600 }, (_, i) => (i % 23 > 8 + ((i / 23) % 5) ? 1 : 0));
  const all = new Int32Array(600);
  ids.read(0, 600, all, 0);
  const starts = Uint32Array.from({ length: 27 }, (_, i) => i * 23);
  const examples = new data.MemoryTokens({ tokens: all, mask, starts, vocabSize: 17, endOfText: 0 });
  const make = () =>
    trainerOf({
      model: { contextLength: 64, dropout: 0.1 },
      train: { contextLength: 64, steps: 8, gradientAccumulation: 2, saveEvery: 3, keep: 5 },
      source: new data.ExamplesLoader(examples, { batch: 2, length: 64, seed: 4 }),
      documents: true,
      options: { checkpoints },
    });
  const straight = make();
  const losses = lossesOf(await eventsOf(straight));
  const resumed = make();
  await resumed.resume(await checkpoint.openCheckpoint(join(checkpoints, 'step-00000003')));
  t.deepEqual(lossesOf(await eventsOf(resumed)), losses.slice(3));
  t.is(bitsOf(resumed), bitsOf(straight));
  endOf(straight);
  endOf(resumed);
});

test.serial('resuming removes what a process that was killed did not come to', async (t) => {
  const checkpoints = temporaryFolder(t);
  const make = (keep: number) => trainerOf({ train: { steps: 6, saveEvery: 2, keep }, options: { checkpoints } });
  const killed = make(3); // as if it had ended before it removed the checkpoints of steps 2 and 4
  await killed.run();
  endOf(killed);
  t.is(readdirSync(checkpoints).length, 3);
  const resumed = make(1);
  await resumed.resume((await latestCheckpoint(checkpoints)).checkpoint as checkpoint.Checkpoint);
  t.deepEqual(readdirSync(checkpoints), ['step-00000006']);
  endOf(resumed);
});

test.serial('resuming with another seed is refused', async (t) => {
  const checkpoints = temporaryFolder(t);
  const trainer = trainerOf({ train: { steps: 1 }, options: { checkpoints } });
  await trainer.run();
  const { checkpoint: saved } = await latestCheckpoint(checkpoints);
  const other = trainerOf({ train: { seed: 6 }, options: { checkpoints } });
  const error = await t.throwsAsync(() => other.resume(saved as checkpoint.Checkpoint), { instanceOf: HeddleError });
  t.regex(error?.message ?? '', /train\.seed must be 5 as in this run so far, got 6/);
  endOf(trainer);
  endOf(other);
});

test.serial('gradients that are not finite are told, and the run goes on', async (t) => {
  const trainer = trainerOf({ train: { steps: 4 } });
  const events: TrainerEvent[] = [];
  const { weight } = trainer.model.tokens;
  const sound = weight.dataSync();
  for await (const event of trainer) {
    events.push(event);
    if (event.step === 1) weight.set(sound.map((v, i) => (i === 0 ? Number.POSITIVE_INFINITY : v)));
    if (event.step === 2) weight.set(sound);
  }
  const steps = events.filter((e) => e.type === 'step') as (TrainerEvent & { type: 'step' })[];
  t.deepEqual(
    steps.map((e) => e.skipped),
    [false, true, false, false],
  );
  t.true(steps.filter((e) => !e.skipped).every((e) => Number.isFinite(e.loss)));
  t.is((await trainer.optimizer.report()).updates, 3);
  bitsOf(trainer); // all finite
  endOf(trainer);
});

for (const [parts, bad] of [
  [1, 0],
  [3, 0],
  [3, 1],
  [3, 2],
] as const)
  test.serial(`a bad id in the data is told at its step; parameters stay: micro-batch ${bad + 1} of ${parts}`, async (t) => {
    const sound = new data.Loader(tokens(200), { batch: 2, length: 16, seed: 1 });
    let [count, spoiled] = [0, true];
    const source: BatchSource = {
      next: () => {
        const batch = sound.next();
        if (spoiled && count++ === parts + bad) batch.inputs[5] = 99;
        return batch;
      },
      state: () => sound.state(),
      restore: (state: data.LoaderState) => sound.restore(state),
      epoch: 0,
    };
    const trainer = trainerOf({ source, train: { gradientAccumulation: parts } });
    const run = trainer[Symbol.asyncIterator]();
    await run.next();
    const before = bitsOf(trainer);
    await t.throwsAsync(async () => run.next(), { message: 'embedding: ids[5] must be within [0, 17), got 99' });
    t.is(trainer.step, 1);
    t.is(bitsOf(trainer), before);
    spoiled = false;
    const again = trainerOf({
      train: { gradientAccumulation: parts },
      source: new data.Loader(tokens(200), { batch: 2, length: 16, seed: 1 }),
    });
    await again.run();
    await trainer.run();
    t.is(bitsOf(trainer), bitsOf(again), 'with sound data it goes on as if nothing had been');
    endOf(trainer);
    endOf(again);
  });

test.serial('a run leaves no memory behind', async (t) => {
  const before = memory();
  const checkpoints = temporaryFolder(t);
  const trainer = trainerOf({
    model: { dropout: 0.1 },
    train: { steps: 3, gradientAccumulation: 2, evalEvery: 2 },
    options: { checkpoints, validation: tokens(100) },
  });
  await trainer.run();
  endOf(trainer);
  const after = memory();
  t.is(after.tensors, before.tensors);
  t.is(after.used, before.used);
});

test.serial('what does not fit is refused', (t) => {
  t.throws(() => trainerOf({ train: { contextLength: 32 } }), { message: "train.contextLength must be at most the model's 16, got 32" });
  if (DEVICE !== 'cpu') return;
  t.throws(() => trainerOf({ train: { policy: { compute: 'f16', lossScale: 1 } } }), {
    message: /train\.policy\.compute must be f32 or tf32 or bf16 or fp8 on the CPU, got f16/,
  });
});
