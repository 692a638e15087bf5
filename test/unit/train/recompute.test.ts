// What backward computes again instead of keeping it: the same bits, dropout's masks too, in less memory.
import test from 'ava';
import { backward, GPT, memory, nn, ops, recompute, resetPeakMemory, scope, synchronize, type Tensor, tensor } from '../../../lib/index.ts';
import { gptConfig } from '../../../lib/models/index.ts';
import { computesIn, DEVICE } from '../../run/devices.ts';
import { bitsOf, endOf, eventsOf, lossesOf, type Setup, trainerOf } from './run_support.ts';

const SETUPS: Readonly<Record<string, Setup>> = {
  'dropout, accumulation, documents': { model: { dropout: 0.2 }, train: { gradientAccumulation: 2, steps: 6 }, documents: true },
  'a modern model, untied head': {
    model: { norm: 'rmsnorm', positions: 'rotary', activation: 'swiglu', qkNorm: true, kvHeads: 1, tiedHead: false },
    train: { steps: 4 },
  },
  'post-norm, relu': { model: { normPosition: 'post', activation: 'relu', dropout: 0.1 }, train: { steps: 4, optimizer: 'muon' } },
};

for (const [name, setup] of Object.entries(SETUPS))
  for (const compute of ['f32', 'bf16', 'f16'] as const)
    if (DEVICE === 'cpu' || compute === 'f32' || computesIn(DEVICE, compute))
      if (compute !== 'f16' || DEVICE !== 'cpu')
        test(`the same bits, ${name}, ${compute}`, async (t) => {
          const run = async (again: nn.Recompute): Promise<[unknown, string]> => {
            const trainer = trainerOf({ ...setup, options: { policy: nn.fillPolicy({ compute, recompute: again }) } });
            t.is(trainer.model.recompute, again);
            const losses = lossesOf(await eventsOf(trainer));
            const bits = bitsOf(trainer);
            endOf(trainer);
            return [losses, bits];
          };
          const want = await run('none');
          t.deepEqual(await run('block'), want);
          // In 16 bits what GELU gets was rounded before it is computed again.
          if (compute === 'f32' || DEVICE === 'cpu' || setup.model?.activation) t.deepEqual(await run('activation'), want);
        });

test('logits by rows: the same training, to rounding', async (t) => {
  const run = async (headRows: number): Promise<[number, number][]> => {
    const trainer = trainerOf({ train: { steps: 5, gradientAccumulation: 2 }, options: { policy: nn.fillPolicy({ headRows }) } });
    t.is(trainer.model.headRows, headRows);
    const figures = lossesOf(await eventsOf(trainer)).map(([, loss, norm]) => [loss, norm] as [number, number]);
    endOf(trainer);
    return figures;
  };
  const want = await run(0);
  for (const rows of [1, 5, 1000])
    for (const [i, [loss, norm]] of (await run(rows)).entries()) {
      const [l, n] = want[i] as [number, number];
      t.true(Math.abs(loss - l) < 1e-5 * l && Math.abs(norm - n) < 1e-4 * n, `${rows} rows, step ${i + 1}: ${loss} ${norm}, not ${l} ${n}`);
    }
});

test('the more is computed again, the less is kept', async (t) => {
  const peak = async (again: nn.Recompute): Promise<number> => {
    const config = gptConfig({ vocabSize: 32, contextLength: 64, layers: 6, heads: 2, width: 32 });
    const model = new GPT(config, { seed: 1 });
    model.recompute = again;
    const ids = tensor(
      Int32Array.from({ length: 8 * 64 }, (_, i) => i % 31),
      { shape: [8, 64] },
    );
    await synchronize();
    const { used } = memory(DEVICE);
    resetPeakMemory(DEVICE);
    scope(() => backward(model.loss(ids, ids)));
    await synchronize();
    const most = memory(DEVICE).peak - used;
    ids.dispose();
    model.dispose();
    return most;
  };
  const [none, activation, block] = [await peak('none'), await peak('activation'), await peak('block')];
  const hidden = 8 * 64 * 4 * 32 * 4; // of a layer, bytes
  t.true(activation <= none - 5 * hidden, `${activation} and ${none}`);
  t.true(block < activation / 2, `${block} and ${activation}`);
});

test('a frozen input, and a function that throws on its way back', (t) => {
  const w = tensor([2, 3], { requiresGrad: true });
  const x = tensor([5, 7]);
  const square = (h: Tensor): Tensor => ops.mul(ops.mul(h, w), w);
  backward(ops.sum(recompute(square, x, { parameters: [w] })));
  t.deepEqual([...(w.grad as Tensor).dataSync()], [20, 42]);
  let calls = 0;
  const once = (h: Tensor): Tensor => {
    if (calls++ > 0) throw new Error('not again');
    return square(h);
  };
  const y = ops.sum(recompute(once, x, { parameters: [w] }));
  const before = memory(DEVICE).tensors;
  t.throws(() => backward(y), { message: 'not again' });
  t.true(memory(DEVICE).tensors <= before);
});
