// Memory that runs out in the middle of training: at every allocation of a step, of an evaluation, of making a trainer. What was there
// before is there afterwards to the bit, and the run goes on to the bits of one in which nothing failed.
import { readdirSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import {
  type BatchSource,
  data,
  type MemoryStats,
  memory,
  memoryHolders,
  nn,
  RandomSource,
  resetPeakMemory,
  scope,
  setMemoryLimit,
  synchronize,
  type Trainer,
  type TrainerEvent,
  tensor,
} from '../../../lib/index.ts';
import { native } from '../../../lib/native/addon.ts';
import { DEVICE } from '../../run/devices.ts';
import { bitsOf, endOf, eventsOf, modelOf, type Setup, temporaryFolder, tokens, trainerOf } from './run_support.ts';

const OUT_OF_MEMORY = 'ERR_HEDDLE_OUT_OF_MEMORY';

interface State {
  bits: string;
  step: number;
  updates: number;
  loader: object;
  gradients: boolean;
}

async function stateOf(trainer: Trainer, source: BatchSource): Promise<State> {
  const { updates } = await trainer.optimizer.report();
  return {
    ...{ bits: bitsOf(trainer), step: trainer.step, updates, loader: source.state() },
    gradients: trainer.model.parameters().some((p) => p.leaf?.filled),
  };
}

/** Bytes and tensors in use, once nothing is under way. */
async function inUse(): Promise<Pick<MemoryStats, 'used' | 'tensors'>> {
  await synchronize();
  const { used, tensors } = memory();
  return { used, tensors };
}

const loaderOf = (rows: number): data.Loader => new data.Loader(tokens(2000), { batch: rows, length: 16, seed: 5, documents: true });

/** Events without what the clock has a say in. */
const timeless = (events: readonly TrainerEvent[]): object[] =>
  events.map((event) => (event.type === 'step' ? { ...event, tokensPerSecond: 0 } : event));

const setups: [string, Setup][] = [
  [
    'adamw, dropout, accumulation, documents',
    { model: { dropout: 0.2 }, train: { gradientAccumulation: 2, clip: 0.5, learningRate: 3e-3 }, documents: true },
  ],
  [
    'muon, a modern model',
    {
      model: { norm: 'rmsnorm', positions: 'rotary', activation: 'swiglu', qkNorm: true, kvHeads: 1, tiedHead: false },
      train: { optimizer: 'muon' },
    },
  ],
  [
    'blocks computed again, dropout',
    { model: { dropout: 0.1 }, options: { policy: { compute: 'f32', lossScale: 1, recompute: 'block' } } },
  ],
  [
    'lion, f16 with a dynamic loss scale',
    { train: { optimizer: 'lion', learningRate: 1e-3 }, options: { policy: { compute: 'f16', lossScale: 'dynamic' } } },
  ],
];

/** Fails at every n-th of `what` of whatever comes next, until it passes; then the same with what comes after it. */
async function failEverywhere(t: ExecutionContext, what: 'allocation' | 'scratch', setup: Setup, stride: (n: number) => number) {
  const folders = [temporaryFolder(t), temporaryFolder(t)] as const;
  const make = (checkpoints: string) => {
    const source = loaderOf(2);
    // Op by op: captured steps allocate nothing, and what happens while one is captured is in step-graphs.test.ts.
    const policy = { ...(setup.options?.policy ?? nn.fillPolicy({})), graph: false };
    const options = { checkpoints, validation: tokens(40), ...setup.options, policy };
    const train = { ...setup.train, steps: 3, evalEvery: 2, saveEvery: 2 };
    return { source, trainer: trainerOf({ ...setup, train, source, options }) };
  };
  const sound = make(folders[0]);
  const expected = await eventsOf(sound.trainer);
  const bits = bitsOf(sound.trainer);
  endOf(sound.trainer);

  const { source, trainer } = make(folders[1]);
  const events: TrainerEvent[] = [];
  const failures: Record<string, number> = {};
  const places = new Set<string>();
  let randomMade = false;
  let run = trainer[Symbol.asyncIterator]();
  let [before, held] = [await stateOf(trainer, source), await inUse()];
  for (let n = 1; events.at(-1)?.type !== 'end'; ) {
    native.failAt(DEVICE, what, n);
    try {
      const next = await run.next();
      native.failAt(DEVICE, what, 0);
      events.push(next.value as TrainerEvent);
      n = 1;
      [before, held] = [await stateOf(trainer, source), await inUse()];
    } catch (error) {
      native.failAt(DEVICE, what, 0);
      const { code, message } = error as Error & { code?: string };
      if (code !== OUT_OF_MEMORY) throw error;
      if (!/\n {2}Held by: parameters \d.*, optimizer state \d/.test(message)) t.fail(message);
      places.add(message.slice(0, message.indexOf(':')));
      const at = `${expected[events.length]?.type} ${expected[events.length]?.step}`;
      failures[at] = (failures[at] ?? 0) + 1;
      const now = await inUse();
      // The state of the random numbers is made when the first dropout asks for it, and stays.
      if (trainer.step === 0 && now.tensors === held.tensors + 1 && !randomMade) {
        randomMade = true;
        held = { used: held.used + 256, tensors: held.tensors + 1 };
      }
      const after = { ...(await stateOf(trainer, source)), ...now };
      const wanted = { ...before, ...held, gradients: false };
      if (JSON.stringify(after) !== JSON.stringify(wanted)) t.deepEqual([at, n, message, after], [at, n, message, wanted]);
      const left = readdirSync(folders[1]).filter((name) => name.includes('tmp'));
      if (left.length > 0) t.fail(`${at}, ${n}: ${left}`);
      n = stride(n);
      run = trainer[Symbol.asyncIterator]();
    }
  }
  t.log(`${Object.entries(failures).map(([at, count]) => `${at}: ${count}`)}; in ${[...places].sort()}`);
  t.deepEqual(
    timeless(events).map((e) => ({ ...e, folder: '' })),
    timeless(expected).map((e) => ({ ...e, folder: '' })),
    'every event once, with the figures of a run in which nothing failed',
  );
  t.is(bitsOf(trainer), bits);
  t.deepEqual(readdirSync(folders[1]).sort(), readdirSync(folders[0]).sort());
  endOf(trainer);
  return failures;
}

for (const [name, setup] of setups)
  test.serial(`a step is whole or not at all, wherever memory ends: ${name}`, async (t) => {
    const failures = await failEverywhere(t, 'allocation', setup, (n) => n + 1);
    t.true(
      (failures['step 1'] ?? 0) > 40 && (failures['step 2'] ?? 0) > 40 && (failures['evaluation 2'] ?? 0) > 5,
      JSON.stringify(failures),
    );
  });

/** Gives the first `rows` of the rows that it is at: a batch that can be made smaller in the middle of a run. */
function shrinkable(rows: number): BatchSource & { rows: number } {
  const all = tokens(2000);
  let at = 0;
  return {
    rows,
    next() {
      const batch = new data.Loader(all, { batch: this.rows, length: 16, seed: at }).next();
      at += this.rows;
      return batch;
    },
    state: () => ({ at }),
    restore(state: { at: number }) {
      at = state.at;
    },
    epoch: 0,
  };
}

test.serial('a batch that does not fit: the run goes on with a smaller one, or with the same once the limit is lifted', async (t) => {
  const steps = { steps: 4, gradientAccumulation: 2, policy: nn.fillPolicy({ graph: false }) };
  const wide = { ffnWidth: 256 };
  const reference = async (rowsOf: (step: number) => number): Promise<string> => {
    const source = shrinkable(0);
    const trainer = trainerOf({ model: wide, source, train: steps });
    for (let step = 0, run = trainer[Symbol.asyncIterator](); step < 4; step++) {
      source.rows = rowsOf(step);
      await run.next();
    }
    const bits = bitsOf(trainer);
    endOf(trainer);
    return bits;
  };
  for (const lifted of [false, true]) {
    const source = shrinkable(32);
    const trainer = trainerOf({ model: wide, source, train: steps });
    let run = trainer[Symbol.asyncIterator]();
    await run.next();
    await run.next();
    const before = await stateOf(trainer, source);
    const held = await inUse();
    resetPeakMemory();
    setMemoryLimit(held.used + (1 << 20));
    try {
      const error = await t.throwsAsync<Error & { code: string }>(async () => run.next(), { code: OUT_OF_MEMORY });
      t.regex(
        error?.message ?? '',
        /asked for .* in use of a limit of .* free, .*It would fit with .* less in use \(smaller micro-batches/,
      );
      t.regex(error?.message ?? '', /\n {2}Held by: .*saved for backward \d+\.\d [KM]iB.*\n {2}Largest: /);
      t.regex(error?.message ?? '', /\n {2}This saves memory next: train\.policy\.recompute=activation\. `heddle inspect memory CONFIG/);
      t.true(memory().peak <= memory().limit);
      t.deepEqual({ ...(await stateOf(trainer, source)), ...(await inUse()) }, { ...before, ...held, gradients: false });
      if (lifted) setMemoryLimit(0);
      else source.rows = 4;
      run = trainer[Symbol.asyncIterator]();
      await run.next();
      await run.next();
    } finally {
      setMemoryLimit(0);
    }
    t.is(trainer.step, 4);
    t.is(bitsOf(trainer), await reference((step) => (lifted || step < 2 ? 32 : 4)));
    endOf(trainer);
  }
});

/** Lets the first, the second, ... allocation of `make` fail until it passes; `check` sees what each failure leaves. */
async function failUntilMade<T>(make: () => T, check: (message: string) => Promise<void>): Promise<{ made: T; failures: number }> {
  for (let n = 1; ; n++) {
    native.failAt(DEVICE, 'allocation', n);
    try {
      return { made: make(), failures: n - 1 };
    } catch (error) {
      if ((error as { code?: string }).code !== OUT_OF_MEMORY) throw error;
      native.failAt(DEVICE, 'allocation', 0);
      await check((error as Error).message);
    } finally {
      native.failAt(DEVICE, 'allocation', 0);
    }
  }
}

test.serial('a model, its copy to compute with, and its trainer are made whole or not at all', async (t) => {
  for (const [name, setup] of setups) {
    const expected = trainerOf({ ...setup, source: loaderOf(2) });
    await expected[Symbol.asyncIterator]().next();
    const bits = bitsOf(expected);
    endOf(expected);
    const start = await inUse();
    const same = (before: typeof start) => async (message: string) => {
      const now = await inUse();
      // Parameters that have lain in a flat buffer stay in it, and a block from the cache may be a quarter larger than what was asked for.
      if (now.tensors !== before.tensors || Math.abs(now.used - before.used) > 4096 + before.used / 4)
        t.deepEqual([name, message, now], [name, message, before]);
    };
    const { made: model, failures: first } = await failUntilMade(() => modelOf(setup.model), same(start));
    const compute = setup.options?.policy?.compute ?? 'f32';
    const { failures: second } = await failUntilMade(() => model.computeIn(compute), same(await inUse()));
    const make = (): Trainer => trainerOf({ ...setup, source: loaderOf(2), options: { ...setup.options, model } });
    const { made: trainer, failures: third } = await failUntilMade(make, same(await inUse()));
    t.true(first > 20 && second === (compute === 'f32' ? 0 : 28) && third > 4, `${[first, second, third]}`);
    await trainer[Symbol.asyncIterator]().next();
    t.is(bitsOf(trainer), bits, name);
    endOf(trainer);
    t.deepEqual(await inUse(), start);
  }
});

test.serial('memoryHolders: all that is in use, by what it is for', async (t) => {
  const start = memoryHolders().bytes;
  const trainer = trainerOf({ train: { optimizer: 'adamw' } });
  const { values } = trainer.optimizer.parameters;
  const flat = 4 * 8192; // 7872 elements, as the allocator rounds them
  const { bytes, underway, largest } = memoryHolders();
  t.is(values.size, 7872);
  t.is(bytes.parameters - start.parameters, flat);
  t.is(bytes.gradients - start.gradients, flat);
  t.is(bytes['optimizer state'] - start['optimizer state'], 2 * flat + 256);
  t.is(underway, 0);
  t.like(largest[0], { bytes: flat, dtype: 'f32', shape: [values.size], op: 'empty' });
  const random = new RandomSource(1);
  const loss = scope(() => {
    const ids = tensor(new Int32Array(32), { shape: [2, 16] });
    return trainer.model.loss(ids, ids, { random }).keep();
  });
  const during = memoryHolders();
  t.true(during.bytes['saved for backward'] > 10_000);
  t.is(
    Object.values(during.bytes).reduce((n, b) => n + b, during.underway),
    memory().used,
  );
  t.is(during.underway, 0);
  loss.backward();
  t.is(memoryHolders().bytes['saved for backward'], 0);
  const cache = trainer.model.cache(3, 16);
  t.is(memoryHolders().bytes['key-value caches'], 2 * 2 * 3 * 16 * 16 * 4);
  for (const x of [loss, cache, random]) x.dispose();
  endOf(trainer);
  t.deepEqual(memoryHolders().bytes, start);
});

(DEVICE === 'cpu' ? test.serial : test.serial.skip)('the same where a kernel finds no scratch memory, on any thread', async (t) => {
  for (const [, setup] of setups) {
    const failures = await failEverywhere(t, 'scratch', setup, (n) => n + Math.ceil(n / 4));
    t.true((failures['step 1'] ?? 0) > 5, JSON.stringify(failures));
  }
});
