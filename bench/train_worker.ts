// One process of `npm run bench -- train`: builds a job and its trainer, then for every number n on stdin trains n steps and prints their times
// and the FMA peak between them; for `hollow` the times of steps whose kernels return at once, op by op.
import { createInterface } from 'node:readline';
import { backward } from '../lib/autograd/index.ts';
import type { Batch } from '../lib/data/index.ts';
import { GPT } from '../lib/models/index.ts';
import { native } from '../lib/native/addon.ts';
import * as nn from '../lib/nn/index.ts';
import { scope, setThreads, tensor } from '../lib/tensor/index.ts';
import { fillTrain } from '../lib/train/config-defaults.ts';
import { type BatchSource, Trainer } from '../lib/train/trainer.ts';
import { TRAIN_JOBS } from './configs.ts';
import { median } from './machine.ts';
import { calibrateBurst, peakNow } from './peak.ts';

const [name = '', threads = '2', compute = 'f32'] = process.argv.slice(2);
const job = TRAIN_JOBS[name];
if (!job) throw new Error(`job must be one of ${Object.keys(TRAIN_JOBS).join(', ')}, got ${name}`);
setThreads(Number(threads));
const { batch: B, length: T, model: config } = job;

let seed = 1;
const draw = (): number => {
  seed = (seed * 1664525 + 1013904223) >>> 0;
  return seed % config.vocabSize;
};
const batches = Array.from({ length: 8 }, (): Batch => {
  const all = Int32Array.from({ length: B * (T + 1) }, draw);
  const columns = (shift: number) =>
    Int32Array.from({ length: B * T }, (_, i) => all[Math.floor(i / T) * (T + 1) + (i % T) + shift] as number);
  return { rows: B, length: T, inputs: columns(0), targets: columns(1), targetCount: B * T };
});
let drawn = 0;
const data: BatchSource = {
  next: () => batches[drawn++ % batches.length] as Batch,
  state: () => ({ drawn }),
  restore: () => {},
  epoch: 0,
};

const model = new GPT(config, { seed: 1337, compute: compute as nn.Compute });
const settings = { batchSize: B, learningRate: 1e-3, betas: [0.9, 0.99], weightDecay: 0.1, clip: 0 } as const;
const endless = { steps: Number.MAX_SAFE_INTEGER, schedule: 'constant', warmup: 0, evalEvery: 0, saveEvery: 0, logEvery: 1 } as const;
const trainer = new Trainer({
  ...{ model, data, policy: nn.fillPolicy({ compute: compute as nn.Compute }) },
  train: fillTrain({ ...settings, ...endless, betas: [...settings.betas] }, T),
});
const run = trainer[Symbol.asyncIterator]();

async function step(): Promise<{ ms: number; loss: number }> {
  const start = performance.now();
  const { value: event } = await run.next();
  if (event?.type !== 'step') throw new Error(`a step was expected, got ${JSON.stringify(event)}`);
  return { ms: performance.now() - start, loss: event.loss };
}

/** What a program does that has a loop of its own. */
async function stepByHand(): Promise<number> {
  const { inputs, targets } = data.next();
  const start = performance.now();
  const loss = scope(() => {
    const l = model.loss(tensor(inputs, { shape: [B, T] }), tensor(targets, { shape: [B, T] }));
    backward(l);
    trainer.optimizer.step();
    trainer.optimizer.zeroGrad();
    return l.detach().keep();
  });
  await loss.item();
  loss.dispose();
  return performance.now() - start;
}

const started = performance.now();
const first = await step();
const startSeconds = (performance.now() - started) / 1000;
await step();
calibrateBurst();
console.log(JSON.stringify({ start_s: startSeconds, loss: first.loss, params: model.parameterCount() }));
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'hollow') {
    native.setHollow('cpu', true);
    const rows: number[] = [];
    for (let i = 0; i < 300; i++) rows.push(await stepByHand());
    rows.splice(0, 200); // until the compiler knows them
    native.setHollow('cpu', false);
    console.log(JSON.stringify({ rows }));
    continue;
  }
  const [cpu, wall] = [process.cpuUsage(), performance.now()];
  const rows: number[] = [];
  const peaks: number[] = []; // right after a step, at the clock that it leaves; a median, for another program may hold one up
  for (let i = 0; i < Number(line); i++) {
    rows.push((await step()).ms);
    for (let j = 0; j < 3; j++) peaks.push(peakNow());
  }
  const peak = median(peaks);
  const used = process.cpuUsage(cpu);
  const share = (used.user + used.system) / 1000 / (performance.now() - wall) / Number(threads);
  console.log(JSON.stringify({ rows, cpu: share, rss: process.resourceUsage().maxRSS, peak }));
}
process.exit(0);
