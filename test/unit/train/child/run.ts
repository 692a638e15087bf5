// Trains a small run in the folder given, from its newest checkpoint where there is one, and records metrics. Prints a line for
// every event, so that the parent knows how far it is.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkpoint, data } from '../../../../lib/index.ts';
import { MetricsRecorder } from '../../../../lib/train/metrics/recorder.ts';
import { bitsOf, tokens, trainerOf } from '../run_support.ts';

const out = process.argv[2] as string;
const checkpoints = join(out, 'checkpoints');
const trainer = trainerOf({
  model: { dropout: 0.1 },
  train: { steps: 24, gradientAccumulation: 2, evalEvery: 4, saveEvery: 3, keep: 2, learningRate: 3e-3 },
  source: new data.Loader(tokens(2000), { batch: 2, length: 16, seed: 5, sampling: 'epoch', documents: true }),
  documents: true,
  options: { checkpoints, validation: tokens(200) },
});
if (existsSync(checkpoints)) {
  const { checkpoint: newest } = await checkpoint.latestCheckpoint(checkpoints);
  if (newest) await trainer.resume(newest);
}
const recorder = new MetricsRecorder(out, { resumeAt: trainer.step });
console.log(`start ${trainer.step}`);
for await (const event of trainer) {
  recorder.record(event);
  console.log(`${event.type} ${event.step}`);
}
recorder.close();
console.log(`bits ${bitsOf(trainer)}`);
