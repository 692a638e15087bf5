// npm run bench [-- SUBJECT] [--json FILE]; without a subject, train. Every figure but those of `kernels` is the CPU's.
//   train    training steps beside PyTorch where it is installed [--jobs cpu,char,gpt2] [--modes eager,fused,compile] [--python python3]
//   matmul, attention   GPT-2's products, attention of several shapes: shares of the FMA peak
//   memory   kernels on arrays that no cache holds, as shares of copying or reading memory
//   decode   tokens of GPT-2 124M, as a share of reading memory
//   targets  all of these against what the CPU path is asked to reach
//   kernels  single ops on any device [--device cuda:0]
//   start    from `import` of the built package to the first op's result
// All: [--threads 2] [--rounds 7] [--small]. HEDDLE_CPU=avx2 forces an instruction set.
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { native } from '../lib/native/addon.ts';
import { describeDevice, setDefaultDevice } from '../lib/tensor/index.ts';
import { benchAttention } from './attention.ts';
import { benchDecode } from './decode.ts';
import { benchKernels } from './kernels.ts';
import { describeMachine, geometricMean } from './machine.ts';
import { benchMatmul } from './matmul.ts';
import { benchMemory } from './memory.ts';
import { recorded } from './recorded.ts';
import { benchStart } from './start.ts';
import { benchTargets } from './targets.ts';
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
const list = (text: string): string[] => text.split(',').filter((s) => s !== '');
const threads = Number(values.threads);
const rounds = Number(values.rounds);
const { small } = values;
const machine = describeMachine(threads);
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

async function kernels(): Promise<unknown> {
  const { device } = values;
  setDefaultDevice(device);
  const rows = await benchKernels({ device, small, rounds });
  console.log(`${describeDevice(device)}${small ? ', small sizes' : ''}`);
  for (const r of rows)
    console.log(
      `${r.kernel.padEnd(22)} ${r.shape.padEnd(16)} ${r.dtype.padEnd(4)} ${r.msMedian.toFixed(3).padStart(10)} ms (min ${r.msMin.toFixed(3)})  ` +
        `${r.tflops.toFixed(2).padStart(8)} TFLOP/s  ${r.gbPerSecond.toFixed(0).padStart(6)} GB/s`,
    );
  return rows;
}

async function matmul(): Promise<unknown> {
  const rows = benchMatmul({ threads, rounds, small });
  for (const r of rows)
    console.log(
      `${r.product.padEnd(12)} ${r.shape.join('x').padEnd(16)} ${r.ms.toFixed(3).padStart(9)} ms  ${r.gflops.toFixed(0).padStart(5)} GFLOP/s  ` +
        `${percent(r.share).padStart(7)} of ${r.peakGflops.toFixed(0)}`,
    );
  console.log(`geometric mean ${percent(geometricMean(rows.map((r) => r.share)))} of the FMA peak`);
  return rows;
}

async function attention(): Promise<unknown> {
  const rows = await benchAttention({ threads, rounds, small });
  for (const r of rows)
    console.log(
      `${r.shape.padEnd(14)} ${r.pass.padEnd(9)} ${r.msMedian.toFixed(3).padStart(9)} ms (min ${r.msMin.toFixed(3)})  ` +
        `${r.gflops.toFixed(0).padStart(5)} GFLOP/s  ${percent(r.share).padStart(7)} of the FMA peak`,
    );
  return rows;
}

async function memory(): Promise<unknown> {
  const rows = await benchMemory({ threads, rounds, ...(small && { bytes: 1 << 24 }) });
  for (const r of rows)
    console.log(
      `${r.kernel.padEnd(12)} ${r.gbPerSecond.toFixed(1).padStart(6)} GB/s  ${percent(r.share).padStart(7)} of ${r.of} bandwidth`,
    );
  return rows;
}

async function decode(): Promise<unknown> {
  const r = await benchDecode({ threads, rounds, ...(small && { preset: 'quickstart' }) });
  console.log(
    `${r.preset}: ${r.tokensPerSecond.toFixed(1)} tokens/s, ${r.gbPerSecond.toFixed(1)} GB/s of weights, ` +
      `${percent(r.share)} of read bandwidth (kernels alone ${percent(r.kernelShare)})`,
  );
  return [r];
}

async function targets(): Promise<unknown> {
  const rows = benchTargets(
    machine,
    process.argv.slice(2).filter((arg) => arg !== 'targets'),
  );
  for (const r of rows) {
    const verdict = r.met === null ? '-' : r.met ? 'met' : 'MISSED';
    console.log(`${verdict.padEnd(6)}  ${r.line.padEnd(62)} ${r.measured.padStart(10)}   ${r.target}`);
  }
  return rows;
}

function printTrain(rows: readonly TrainRow[]): void {
  const best = (job: string): TrainRow | undefined =>
    rows.filter((r) => r.job === job && r.who.startsWith('torch')).sort((a, b) => a.msMedian - b.msMedian)[0];
  for (const r of rows) {
    const peer = best(r.job);
    const alone = rows.find((o) => o.job === r.job && o.who === 'heddle, 1 thread');
    const notes = [
      r.share && r.peakGflops ? `${percent(r.share)} of ${r.peakGflops.toFixed(0)} GFLOP/s` : '',
      r.who === 'heddle' && peer ? `${(peer.msMedian / r.msMedian).toFixed(2)}x ${peer.who}` : '',
      r.who === 'heddle' && alone ? `${(alone.msMedian / r.msMedian).toFixed(2)}x one thread` : '',
      r.hollowMs ? `TypeScript and binder ${percent(r.hollowMs / r.msMedian)}` : '',
      r.matmulGflops ? `its matmul: ${r.matmulGflops.toFixed(0)} GFLOP/s` : '',
    ].filter((note) => note !== '');
    console.log(
      `${r.job.padEnd(5)} ${r.who.padEnd(26)} ${r.msMedian.toFixed(2).padStart(9)} ms/step (min ${r.msMin.toFixed(2)})  ` +
        `${r.tokensPerSecond.toFixed(0).padStart(7)} tokens/s  ${r.rssMiB.toFixed(0).padStart(5)} MiB  clean ${r.clean}  ${notes.join(', ')}`,
    );
  }
}

async function train(): Promise<unknown> {
  const { python } = values;
  const rows = await benchTrain({ jobs: list(values.jobs), modes: list(values.modes), python, threads, rounds });
  printTrain(rows);
  const record = recorded<TrainRow>('train')[0];
  if (record && !rows.some((r) => r.who.startsWith('torch'))) {
    console.log(`recorded ${record.date.slice(0, 10)} on ${record.machine.note ?? record.machine.cpu}, not measured here:`);
    printTrain(record.rows);
  }
  return rows;
}

async function start(): Promise<unknown> {
  const times = benchStart(rounds);
  for (const [what, { median, min }] of Object.entries(times))
    console.log(`${what.padEnd(10)} ${median.toFixed(1).padStart(7)} ms (min ${min.toFixed(1)})`);
  return times;
}

const SUBJECTS: Record<string, () => Promise<unknown>> = { train, matmul, attention, memory, decode, kernels, start, targets };
const subject = positionals[0] ?? 'train';
const run = SUBJECTS[subject];
if (!run || positionals.length > 1)
  throw new Error(`the subject must be one of ${Object.keys(SUBJECTS).join(', ')}, got ${positionals.join(' ')}`);
console.log(`${machine.cpu}, ${machine.isa} (has ${machine.isas.join(', ')}), ${threads} threads, load ${machine.load.join(' ')}`);
const rows = await run();
if (values.json) {
  const command = ['npm run bench --', subject, ...process.argv.slice(2).filter((a) => a !== subject)].join(' ');
  writeFileSync(values.json, `${JSON.stringify({ command, date: new Date().toISOString(), machine, rows }, null, 2)}\n`);
}
