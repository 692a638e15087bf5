// npm run bench [-- train] [--jobs cpu,char,gpt2] [--modes eager,fused,compile] [--threads 2] [--rounds 7] [--python python3]
//                          [--json FILE]
// npm run bench -- kernels [--device cuda:0] [--rounds 7] [--small] [--json FILE]
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { native } from '../lib/native/addon.ts';
import { describeDevice, setDefaultDevice } from '../lib/tensor/index.ts';
import { benchKernels } from './kernels.ts';
import { benchTrain, type TrainRow } from './train.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: 'string', default: 'cpu,char,gpt2' },
    modes: { type: 'string', default: 'eager,fused,compile' },
    threads: { type: 'string', default: String(Math.min(2, availableParallelism())) },
    rounds: { type: 'string', default: '7' },
    python: { type: 'string', default: process.env.PYTHON ?? 'python3' },
    device: { type: 'string', default: native.devices().find((d) => d.problem === '')?.name ?? 'cpu' },
    small: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const subject = positionals[0] ?? 'train';
if (!['train', 'kernels'].includes(subject)) throw new Error(`the subject must be train or kernels, got ${subject}`);

const list = (text: string): string[] => text.split(',').filter((s) => s !== '');
const machine = {
  cpu: cpus()[0]?.model ?? '',
  isa: native.info().isa,
  threads: Number(values.threads),
  node: process.version,
  load: loadavg(),
};
const write = (rows: unknown): void => {
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ date: new Date().toISOString(), machine, rows }, null, 2)}\n`);
};

async function kernels(): Promise<void> {
  const { device, small } = values;
  setDefaultDevice(device);
  const rows = await benchKernels({ device, small, rounds: Number(values.rounds) });
  console.log(`${describeDevice(device)}${small ? ', small sizes' : ''}`);
  for (const r of rows)
    console.log(
      `${r.kernel.padEnd(22)} ${r.shape.padEnd(16)} ${r.dtype.padEnd(4)} ${r.msMedian.toFixed(3).padStart(10)} ms (min ${r.msMin.toFixed(3)})  ` +
        `${r.tflops.toFixed(2).padStart(8)} TFLOP/s  ${r.gbPerSecond.toFixed(0).padStart(6)} GB/s`,
    );
  write(rows);
}

async function train(): Promise<void> {
  const rows = await benchTrain({
    ...{ jobs: list(values.jobs), modes: list(values.modes), python: values.python },
    ...{ threads: machine.threads, rounds: Number(values.rounds) },
  });
  const best = (job: string): TrainRow | undefined =>
    rows.filter((r) => r.job === job && r.who !== 'heddle').sort((a, b) => a.msMedian - b.msMedian)[0];
  console.log(`${machine.cpu}, ${machine.isa}, ${machine.threads} threads, load ${machine.load.map((l) => l.toFixed(1)).join(' ')}`);
  for (const r of rows) {
    const peer = best(r.job);
    const ratio = r.who === 'heddle' && peer ? `  ${(peer.msMedian / r.msMedian).toFixed(2)}x ${peer.who}` : '';
    console.log(
      `${r.job.padEnd(5)} ${r.who.padEnd(26)} ${r.msMedian.toFixed(2).padStart(9)} ms/step (min ${r.msMin.toFixed(2)})  ` +
        `${r.tokensPerSecond.toFixed(0).padStart(7)} tokens/s  ${r.rssMiB.toFixed(0).padStart(5)} MiB  clean ${r.clean}${ratio}`,
    );
  }
  write(rows);
}

await (subject === 'kernels' ? kernels() : train());
