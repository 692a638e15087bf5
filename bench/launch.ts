// What the host takes to launch a micro-batch of GPT-2 124M: steps of the trainer whose kernels are dropped, op by op and as captured graphs.
// All that the JavaScript thread does is in it (reading the batch, copies to the device, waiting for the step's figures, the update's share),
// and nothing of what the device's worker does: running tasks, or on a GPU launching the graph.
import { data } from '../lib/index.ts';
import { GPT } from '../lib/models/index.ts';
import { native } from '../lib/native/addon.ts';
import { fillPolicy } from '../lib/nn/index.ts';
import { fillTrain as trainConfig } from '../lib/train/config-defaults.ts';
import { Trainer } from '../lib/train/trainer.ts';
import { TRAIN_JOBS } from './configs.ts';
import { median } from './machine.ts';

export interface LaunchRow {
  job: string;
  how: 'op by op' | 'graph';
  /** Of a micro-batch: that of a step over their number. */
  msMedian: number;
  msMin: number;
  /** Parts of a step that are graphs. */
  captured: number;
}

export interface LaunchBenchOptions {
  device: string;
  rounds: number;
  /** Micro-batches of a step. Default 8. */
  batches?: number;
  job?: string;
}

export async function benchLaunch({ device, rounds, batches = 8, job = 'gpt2' }: LaunchBenchOptions): Promise<LaunchRow[]> {
  const { model: config, batch, length } = TRAIN_JOBS[job] as (typeof TRAIN_JOBS)[string];
  const ids = Uint32Array.from({ length: 4 * batch * (length + 1) }, (_, i) => (i * 7919) % config.vocabSize);
  const tokens = new data.MemoryTokens({ tokens: ids, vocabSize: config.vocabSize });
  native.setHollow(device, true); // nothing is written, so that most of the memory is none
  try {
    const rows: LaunchRow[] = [];
    for (const graph of [false, true]) {
      const model = new GPT(config, { device, seed: 1 });
      const trainer = new Trainer({
        model,
        data: new data.Loader(tokens, { batch, length }),
        train: trainConfig({ steps: rounds + 3, batchSize: batch, gradientAccumulation: batches, evalEvery: 0, saveEvery: 0 }, length),
        policy: fillPolicy({ graph }),
      });
      const times: number[] = [];
      let last = performance.now();
      for await (const { type } of trainer) {
        const now = performance.now();
        if (type === 'step') times.push((now - last) / batches);
        last = now;
      }
      const { captured } = trainer.graphs;
      trainer.dispose();
      model.dispose();
      const steady = times.slice(3); // the first ones warm up and capture
      rows.push({ job, how: graph ? 'graph' : 'op by op', msMedian: median(steady), msMin: Math.min(...steady), captured });
    }
    return rows;
  } finally {
    native.setHollow(device, false);
  }
}
