// A worker thread that imports heddle and trains without end, until somebody ends it. tsx does not reach worker threads on Node 20:
// it takes what setup has compiled.
import { parentPort, workerData } from 'node:worker_threads';
import { AdamW, GPT, gptConfig, tensor } from '../../../../dist/index.js';

const model = new GPT(gptConfig({ vocabSize: 64, contextLength: 64, layers: 2, heads: 4, width: 128 }), {
  seed: workerData.seed,
  device: 'cpu',
});
const optimizer = new AdamW(model, { lr: 1e-3 });
const ids = tensor(
  Int32Array.from({ length: 8 * 64 }, (_, i) => (i * 7 + workerData.seed) % 64),
  { shape: [8, 64], device: 'cpu' },
);
parentPort.postMessage('busy');
for (let step = 0; ; step++) {
  const loss = model.loss(ids, ids);
  loss.backward();
  optimizer.clipGradNorm(1);
  optimizer.step();
  optimizer.zeroGrad();
  const reading = loss.item();
  loss.dispose();
  // Some are ended while a step runs that nobody waits for, some between steps.
  if (step % 3 > 0) continue;
  if (!Number.isFinite(await reading)) throw new Error(`step ${step}: not finite`);
}
