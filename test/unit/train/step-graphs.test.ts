// Training steps as captured graphs: the bits of the same steps op by op, whatever a step has and whatever comes between two of them.
import test, { type ExecutionContext } from 'ava';
import {
  addLoRA,
  type BatchSource,
  checkpoint,
  data,
  type GPT,
  generate,
  gpuInfo,
  memory,
  nn,
  setDefaultDevice,
  synchronize,
  type Trainer,
} from '../../../lib/index.ts';
import { native } from '../../../lib/native/addon.ts';
import { computesIn, DEVICE, EVERY_DEVICE, isSimulated, onDevice } from '../../run/devices.ts';
import { bitsOf, endOf, eventsOf, lossesOf, modelOf, type Setup, temporaryFolder, tokens, trainerOf } from './run_support.ts';

/** Simulated cards of two generations, and what else there is. */
const devices = EVERY_DEVICE.filter((device) => !isSimulated(device) || [80, 90].includes(gpuInfo(device)?.capability ?? 0));

type Policy = Parameters<typeof nn.fillPolicy>[0];

/** A trainer whose steps are captured, or not. */
function made(graph: boolean, setup: Setup, policy: Policy = {}): Trainer {
  return trainerOf({ ...setup, options: { ...setup.options, policy: nn.fillPolicy({ ...policy, graph }) } });
}

interface Outcome {
  losses: [number, number, number][];
  bits: string;
}

async function outcome(trainer: Trainer): Promise<Outcome> {
  const losses = lossesOf(await eventsOf(trainer));
  return { losses, bits: bitsOf(trainer) };
}

/** Trains both ways. `captured`: parts of a step that are graphs in the end. */
async function same(t: ExecutionContext, setup: () => Setup, captured: number, policy: Policy = {}): Promise<void> {
  const plain = made(false, setup(), policy);
  const want = await outcome(plain);
  t.deepEqual(plain.graphs, { captured: 0, problem: '' });
  endOf(plain);
  const trainer = made(true, setup(), policy);
  t.deepEqual(await outcome(trainer), want);
  t.deepEqual(trainer.graphs, { captured, problem: '' });
  endOf(trainer);
}

const loader = (rows = 2, length = 16): data.Loader => new data.Loader(tokens(2000), { batch: rows, length, seed: 5 });

/** Batches of two lengths in turns: `lengths[k]` is that of batch k. */
function uneven(lengths: readonly number[]): BatchSource {
  const sources = new Map([...new Set(lengths)].map((length) => [length, loader(2, length)]));
  let at = 0;
  return {
    next: () => (sources.get(lengths[at++ % lengths.length] as number) as data.Loader).next(),
    state: () => ({ at, states: [...sources].map(([length, source]) => [length, source.state()]) }),
    restore(state: { at: number; states: [number, data.LoaderState][] }) {
      at = state.at;
      for (const [length, own] of state.states) sources.get(length)?.restore(own);
    },
    epoch: 0,
  } as BatchSource;
}

for (const device of devices) {
  const on = (title: string, body: (t: ExecutionContext) => Promise<void>): void =>
    test.serial(`${title}${onDevice(device)}`, async (t) => {
      setDefaultDevice(device);
      t.teardown(() => setDefaultDevice(DEVICE));
      const { used } = memory(device);
      await body(t);
      await synchronize(device);
      t.deepEqual([memory(device).graphs, memory(device).used], [0, used], 'all memory is back');
    });
  const modern = { norm: 'rmsnorm', positions: 'rotary', activation: 'swiglu', qkNorm: true, kvHeads: 1, tiedHead: false } as const;

  for (const compute of ['f32', 'bf16', 'f16'] as const) {
    if (device === 'cpu' ? compute !== 'f32' : compute !== 'f32' && !computesIn(device, compute)) continue;
    const train = { steps: 5, gradientAccumulation: 2 };
    on(`accumulation, ${compute}`, (t) => same(t, () => ({ train, model: { layers: 1 } }), 3, { compute }));
    on(`dropout, accumulation of three, ${compute}`, (t) =>
      // The draws of each micro-batch have other numbers, which stand in the arguments.
      same(t, () => ({ train: { ...train, gradientAccumulation: 3 }, model: { layers: 1, dropout: 0.2 } }), 4, { compute }),
    );
  }
  if (device === 'cpu' || computesIn(device, 'bf16'))
    on('accumulation, fp8', (t) =>
      same(t, () => ({ train: { steps: 5, gradientAccumulation: 2 }, model: { layers: 1 } }), 3, { compute: 'fp8' }),
    );
  for (const recompute of ['activation', 'block'] as const)
    on(`computed again: ${recompute}`, (t) =>
      same(t, () => ({ train: { steps: 4 }, model: { layers: 1, dropout: 0.2 } }), 2, { compute: 'f32', recompute }),
    );
  const ladder: Record<string, Policy> = {
    'logits by rows': { headRows: 8 },
    'moments in bf16': { moments: 'bf16' },
    "moments in the host's memory": { offload: 'optimizer' },
    ...(computesIn(device, 'bf16') && { 'no f32 master': { compute: 'bf16', weights: 'bf16', moments: 'bf16' } }),
  };
  for (const [name, policy] of Object.entries(ladder))
    on(name, (t) => same(t, () => ({ train: { steps: 4 }, model: { layers: 1, dropout: 0.2 } }), 2, policy));
  on('a modern model, muon, documents', (t) =>
    same(t, () => ({ train: { steps: 4, optimizer: 'muon' }, model: { ...modern, layers: 1 }, documents: true }), 2),
  );

  for (const quantize of ['none', 'nf4'] as const)
    on(`LoRA with dropout, ${quantize}`, (t) => {
      const model = (): GPT => {
        const gpt = modelOf({ layers: 1 });
        addLoRA(gpt, { rank: 2, dropout: 0.2, quantize, seed: 3 });
        return gpt;
      };
      return same(t, () => ({ train: { steps: 4 }, options: { model: model() } }), 2);
    });

  on('batches of other lengths run op by op; two steps alike are captured anew', async (t) => {
    const setup = (): Setup => ({ train: { steps: 9 }, model: { layers: 1 }, source: uneven([16, 16, 16, 8, 16, 8, 8, 8, 16]) });
    await same(t, setup, 2);
    const trainer = made(true, setup());
    const captured: number[] = [];
    for await (const event of trainer) if (event.type === 'step') captured.push(trainer.graphs.captured);
    t.deepEqual(captured, [0, 2, 2, 2, 2, 2, 2, 2, 2]);
    endOf(trainer);
  });

  on('evaluated, sampled and saved between steps, and resumed', async (t) => {
    const run = async (graph: boolean): Promise<unknown> => {
      const checkpoints = temporaryFolder(t);
      const setup: Setup = {
        train: { steps: 8, evalEvery: 2, saveEvery: 4, keep: 9, gradientAccumulation: 2 },
        model: { layers: 1, dropout: 0.1 },
        options: { checkpoints, validation: tokens(100) },
      };
      const said: unknown[] = [];
      const note = async (trainer: Trainer): Promise<void> => {
        for await (const event of trainer) {
          said.push({ ...event, tokensPerSecond: 0, folder: '' });
          if (event.type === 'checkpoint' && event.step === 4) break;
          if (event.type === 'step' && event.step === 3)
            said.push(await generate(trainer.model, null, [1, 2], { maxTokens: 4, temperature: 0, endOfText: null }));
        }
      };
      const first = made(graph, setup);
      await note(first);
      endOf(first);
      const second = made(graph, setup);
      await second.resume((await checkpoint.latestCheckpoint(checkpoints)).checkpoint as checkpoint.Checkpoint);
      await note(second);
      said.push(bitsOf(second));
      t.is(second.graphs.captured, graph ? 3 : 0);
      endOf(second);
      return said;
    };
    t.deepEqual(await run(true), await run(false));
  });

  on('a bad token in a captured step: named, and the step is as if it had never begun', async (t) => {
    const run = async (graph: boolean): Promise<unknown> => {
      const source = loader();
      let [at, broken] = [0, true];
      const spoiled = {
        next: () => {
          const batch = source.next();
          if (++at > 4 && broken) {
            broken = false;
            batch.inputs[3] = 99;
          }
          return batch;
        },
        state: () => source.state(),
        restore: (state: never) => source.restore(state),
        epoch: 0,
      };
      const trainer = made(graph, { train: { steps: 7 }, model: { layers: 1 }, source: spoiled });
      await t.throwsAsync(eventsOf(trainer), { message: 'embedding: ids[3] must be within [0, 17), got 99' });
      t.is(trainer.step, 4);
      const rest = await outcome(trainer);
      t.is(trainer.graphs.captured, graph ? 2 : 0);
      endOf(trainer);
      return rest;
    };
    t.deepEqual(await run(true), await run(false));
  });

  on('memory that is missing while a step is captured: it runs op by op, and so do all others', async (t) => {
    const setup: Setup = { train: { steps: 5, gradientAccumulation: 2 }, model: { layers: 1, dropout: 0.1 } };
    const plain = made(false, setup);
    const want = await outcome(plain);
    endOf(plain);
    for (const n of [1, 2, 5, 20, 40]) {
      const trainer = made(true, setup);
      const losses: [number, number, number][] = [];
      for await (const event of trainer) {
        losses.push(...lossesOf([event]));
        if (event.type === 'step' && event.step === 1) native.failAt(device, 'allocation', n);
      }
      native.failAt(device, 'allocation', 0);
      t.deepEqual({ losses, bits: bitsOf(trainer) }, want, String(n));
      t.is(trainer.graphs.captured, 0);
      t.regex(trainer.graphs.problem, /out of memory/, String(n));
      t.is(memory(device).graphs, 0);
      endOf(trainer);
    }
  });

  on('captured by default, on the CPU where micro-batches are short', async (t) => {
    t.is(nn.fillPolicy({}).graph, undefined);
    t.false(nn.fillPolicy({ graph: false }).graph);
    // Of what a configuration asks for; the batches here are small ones.
    for (const [batchSize, captured] of [
      [2, 2],
      [1_000_000, device === 'cpu' ? 0 : 2],
    ] as const) {
      const trainer = trainerOf({ train: { steps: 3, batchSize }, model: { layers: 1 }, source: loader() });
      await trainer.run();
      t.is(trainer.graphs.captured, captured, String(batchSize));
      endOf(trainer);
    }
  });

  on('what graphs hold is given up for an evaluation, and for a step, that lacks it', async (t) => {
    const setup = (): Setup => ({
      train: { steps: 6, evalEvery: 3 },
      model: { layers: 1 },
      source: uneven([16, 16, 16, 8, 16, 16]),
      options: { validation: tokens(100) },
    });
    const plain = made(false, setup());
    const want = await outcome(plain);
    endOf(plain);
    for (const when of [2, 3]) {
      const trainer = made(true, setup());
      const losses: [number, number, number][] = [];
      const captured: number[] = [];
      for await (const event of trainer) {
        losses.push(...lossesOf([event]));
        captured.push(trainer.graphs.captured);
        // After step 3 comes an evaluation, and after that a step of another length.
        if (event.step === 3 && event.type === (when === 2 ? 'step' : 'evaluation')) native.failAt(device, 'allocation', 3);
      }
      native.failAt(device, 'allocation', 0);
      t.deepEqual({ losses, bits: bitsOf(trainer) }, want);
      t.true(captured.includes(2) && captured.includes(0, captured.indexOf(2)), captured.join());
      endOf(trainer);
    }
  });
}

test('who wants to hear of buckets hears of each: nothing is captured', async (t) => {
  const trainer = made(true, { train: { steps: 4 }, model: { layers: 1 } });
  let heard = 0;
  trainer.optimizer.parameters.onBucket(() => heard++);
  await trainer.run();
  t.is(heard, 4 * trainer.optimizer.parameters.buckets.length);
  t.is(trainer.graphs.captured, 0);
  endOf(trainer);
});
