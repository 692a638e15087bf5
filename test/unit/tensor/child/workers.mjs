// Trains while worker threads that train come and go. Arguments: how many workers, how many at a time, a seed. Prints what it saw.
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { AdamW, GPT, gptConfig, memory, scope, setDefaultDevice, synchronize, tensor } from '../../../../dist/index.js';

const [count, alive, seed] = process.argv.slice(2).map(Number);
setDefaultDevice('cpu');
let state = seed;
function random(below) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

/** 0 where the system does not tell. */
const threads = () => (existsSync('/proc/self/task') ? readdirSync('/proc/self/task').length : 0);
const inUse = () => ({ threads: threads(), tensors: memory().tensors, used: memory().used });

/** Starts a worker that trains, waits until it does, and ends it a moment later. */
async function trainAndTerminate(number) {
  const worker = new Worker(new URL('train_worker.mjs', import.meta.url), { workerData: { seed: number } });
  const failed = new Promise((_, reject) => worker.once('error', reject));
  failed.catch(() => undefined);
  await Promise.race([new Promise((resolve) => worker.once('message', resolve)), failed]);
  await sleep(random(40));
  const code = await Promise.race([worker.terminate(), failed]);
  if (code !== 1) throw new Error(`worker ${number} ended with ${code}`);
}

/** Trains on this thread until `done`; gives the losses. */
async function trainHere(done) {
  const model = new GPT(gptConfig({ vocabSize: 32, contextLength: 32, layers: 1, heads: 2, width: 32 }), { seed: 1 });
  const optimizer = new AdamW(model, { lr: 1e-3 });
  const ids = tensor(
    Int32Array.from({ length: 64 }, (_, i) => (i * 7) % 32),
    { shape: [2, 32] },
  );
  const losses = [];
  while (!done(losses.length)) {
    const loss = scope(() => {
      const y = model.loss(ids, ids);
      y.backward();
      optimizer.clipGradNorm(1);
      optimizer.step();
      optimizer.zeroGrad();
      return y;
    });
    losses.push(await loss.item());
    loss.dispose();
    if (losses.length < 1000) await sleep(1);
    else await sleep(20); // the others need the processors too
  }
  for (const x of [ids, optimizer, model]) x.dispose();
  return losses;
}

await trainHere((step) => step === 2);
await synchronize();
const before = inUse();
const resident = [];
let started = 0;
async function lane() {
  while (started < count) {
    await trainAndTerminate(++started);
    resident.push(process.memoryUsage().rss);
  }
}
let finished = false;
const workers = Promise.all(Array.from({ length: alive }, lane)).finally(() => {
  finished = true;
});
const losses = await trainHere(() => finished);
await workers;
for (let i = 0; i < 100 && threads() > before.threads; i++) await sleep(20); // the system takes a thread away after it was joined
const after = inUse();
const alone = await trainHere((step) => step === losses.length);
console.log(JSON.stringify({ before, after, resident, steps: losses.length, undisturbed: losses.every((loss, i) => loss === alone[i]) }));
