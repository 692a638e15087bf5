// What the benchmarks are: USAGE. Every figure but those of `kernels` is the CPU's.
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { native } from '../lib/native/addon.ts';
import { hasGpu } from '../lib/native/load.ts';
import { describeDevice, gpuInfo, setDefaultDevice } from '../lib/tensor/index.ts';
import { ArgumentError } from '../lib/util/errors.ts';
import { benchAttention } from './attention.ts';
import { benchDecode } from './decode.ts';
import { benchFinetune } from './finetuning.ts';
import { benchKernels } from './kernels.ts';
import { benchLaunch } from './launch.ts';
import { benchLoad } from './load.ts';
import { describeMachine, geometricMean } from './machine.ts';
import { benchMatmul } from './matmul.ts';
import { benchMemory } from './memory.ts';
import { recorded } from './recorded.ts';
import { benchStart } from './start.ts';
import { benchTargets } from './targets.ts';
import { benchTrain, type TrainRow } from './train.ts';
import { costsOf, TILES, timeOn, withCard } from './tune.ts';

const USAGE = `npm run bench [-- SUBJECT] [options]; without a subject, train.

  train     training steps beside PyTorch where it is installed
            [--jobs cpu,char,gpt2] [--modes eager,fused,compile] [--python python3] [--compute bf16: both with products in bf16]
  matmul, attention   GPT-2's products, attention of several shapes: shares of the FMA peak
  memory    kernels on arrays that no cache holds, as shares of copying or reading memory
  decode    tokens of GPT-2 124M, as a share of reading memory; beside llama.cpp where node-llama-cpp is installed (bench/peers/llama.ts)
  launch    what the host takes to launch a micro-batch of GPT-2 124M, kernels dropped: op by op and as captured graphs [--device cuda]
  finetune  finetuning GPT-2 124M with LoRA and QLoRA: shares of the memory and speed of finetuning all of it [--memory: memory alone]
  load      GPT-2 124M from a file in the page cache, as a share of copying its bytes
  start     from import of the built package to the first op's result
  targets   all of these against what the CPU path is asked to reach; what misses is measured again, up to three times in all
  kernels   single ops on any device [--device cuda:0]
  matmul --tune   the cost of each tile of Hopper's matmul on --device, into the table by which tiles are chosen
  SUBJECT ... --static [--archs 80,90] [--python PYTHON] [--record]
            what bounds the CUDA kernels, read from their machine code: matmul, attention, layernorm, softmax, cross-entropy, adamw
            memory: what kernels that move it ask of it (none: all of these); gpt2: a training step of GPT-2 124M

  --threads 2   --rounds 7   --small   --json FILE   HEDDLE_CPU=avx2 forces an instruction set`;

/** What is wrong with the command line, without a stack: the program is all right. */
function fail(error: unknown): never {
  console.error(`bench: ${(error as Error).message}\n(--help says what there is)`);
  process.exit(1);
}

const OPTIONS = {
  jobs: { type: 'string', default: 'cpu,char,gpt2' },
  modes: { type: 'string', default: 'eager,fused,compile' },
  compute: { type: 'string', default: 'f32' },
  threads: { type: 'string', default: String(Math.min(2, availableParallelism())) },
  rounds: { type: 'string', default: '7' },
  python: { type: 'string' },
  device: { type: 'string', default: native.devices().find((d) => d.problem === '')?.name ?? 'cpu' },
  small: { type: 'boolean', default: false },
  static: { type: 'boolean', default: false },
  archs: { type: 'string', default: '80,90' },
  record: { type: 'boolean', default: false },
  tune: { type: 'boolean', default: false },
  memory: { type: 'boolean', default: false },
  json: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

function parse() {
  try {
    return parseArgs({ allowPositionals: true, options: OPTIONS });
  } catch (error) {
    return fail(error);
  }
}

const { values, positionals } = parse();
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const list = (text: string): string[] => text.split(',').filter((s) => s !== '');
function count(name: 'threads' | 'rounds'): number {
  const n = Number(values[name]);
  return Number.isInteger(n) && n > 0 ? n : fail(new Error(`--${name} must be a positive integer, got ${values[name]}`));
}
const [threads, rounds] = [count('threads'), count('rounds')];
const { small } = values;
const machine = describeMachine(threads);
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** `subjects`: of all rows those that begin with one of these. */
async function kernels(subjects: readonly string[] = []): Promise<unknown> {
  const { device } = values;
  setDefaultDevice(device);
  const rows = await benchKernels({ device, small, rounds, ...(subjects.length > 0 && { subjects }) });
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

const TUNING = 'cuda/matmul/hopper_tuning.inc';

async function tune(): Promise<unknown> {
  const { device } = values;
  const card = gpuInfo(device);
  if (!card || card.simulated || card.capability !== 90)
    throw new ArgumentError(`matmul --tune: --device must be a GPU of compute capability 9.0, got ${describeDevice(device)}`);
  const costs = costsOf(card.multiprocessors, timeOn(device));
  for (const [i, { step, rest }] of costs.entries())
    console.log(`${TILES[i]?.padEnd(8)} ${step.toFixed(1).padStart(7)} ns for 64 of k, ${rest.toFixed(0).padStart(6)} ns around them`);
  writeFileSync(TUNING, withCard(readFileSync(TUNING, 'utf8'), card.card, costs));
  console.log(`${card.card}: written to ${TUNING}; the next build chooses tiles by it`);
  return costs;
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
  const r = await benchDecode({ threads, rounds, ...(small && { preset: 'quickstart', peer: false }) });
  console.log(
    `${r.preset}: ${r.tokensPerSecond.toFixed(1)} tokens/s, ${r.gbPerSecond.toFixed(1)} GB/s of weights, ` +
      `${percent(r.share)} of read bandwidth (kernels alone ${percent(r.kernelShare)})`,
  );
  if (r.peer) console.log(`llama.cpp, f32: ${r.peer.tokensPerSecond.toFixed(1)} tokens/s; heddle ${r.peer.ratio.toFixed(2)}x`);
  return [r];
}

async function finetune(): Promise<unknown> {
  const rows = benchFinetune({ threads, rounds: values.memory ? 0 : rounds, ...(small && { preset: 'quickstart', batch: 2, length: 64 }) });
  for (const r of rows)
    console.log(
      `${r.method.padEnd(6)} ${r.recompute === 'block' ? 'block recompute' : ''.padEnd(15)}  learns ${percent(r.learned / r.parameters).padStart(7)}  ` +
        `${(r.peakBytes / 2 ** 20).toFixed(0).padStart(5)} MiB, ${percent(r.share).padStart(7)} of full (target ${percent(r.target)})` +
        (r.speed === undefined ? '' : `  ${r.tokensPerSecond?.toFixed(0).padStart(5)} tokens/s, ${r.speed.toFixed(2)}x full`),
    );
  return rows;
}

async function load(): Promise<unknown> {
  const r = await benchLoad({ threads, rounds, ...(small && { preset: 'quickstart' }) });
  console.log(
    `${r.preset}: ${(r.bytes / 2 ** 20).toFixed(0)} MiB in ${r.loadMs.toFixed(0)} ms, copied in ${r.copyMs.toFixed(0)} ms: ${percent(r.share)} of its speed`,
  );
  return [r];
}

async function targets(): Promise<unknown> {
  const rows = benchTargets(
    machine,
    list(values.jobs),
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
  const { python = process.env.PYTHON ?? 'python3', compute } = values;
  if (compute !== 'f32' && compute !== 'bf16') throw new ArgumentError(`--compute must be f32 or bf16, got ${compute}`);
  const { bf16 } = native.info();
  if (compute === 'bf16')
    console.log(bf16 === 'f32' ? 'this processor does not multiply bf16: heddle computes in f32' : `heddle's products in bf16: ${bf16}`);
  const rows = await benchTrain({ jobs: list(values.jobs), modes: list(values.modes), compute, python, threads, rounds });
  printTrain(rows);
  const record = recorded<TrainRow>(compute === 'bf16' ? 'train-bf16' : 'train')[0];
  if (record && !rows.some((r) => r.who.startsWith('torch'))) {
    console.log(`recorded ${record.date.slice(0, 10)} on ${record.machine.note ?? record.machine.cpu}, not measured here:`);
    printTrain(record.rows);
  }
  return rows;
}

async function launch(): Promise<unknown> {
  const rows = await benchLaunch({
    device: process.argv.some((arg) => arg.startsWith('--device')) ? values.device : 'cpu',
    rounds,
    ...(small && { job: 'cpu' }),
  });
  for (const r of rows)
    console.log(
      `${r.job.padEnd(5)} ${r.how.padEnd(9)} ${r.msMedian.toFixed(3).padStart(8)} ms per micro-batch (min ${r.msMin.toFixed(3)})`,
    );
  return rows;
}

async function start(): Promise<unknown> {
  const times = benchStart(rounds);
  for (const [what, { median, min }] of Object.entries(times))
    console.log(`${what.padEnd(10)} ${median.toFixed(1).padStart(7)} ms (min ${min.toFixed(1)})`);
  return times;
}

const SUBJECTS: Record<string, () => Promise<unknown>> = {
  ...{ train, matmul, attention, memory, decode, launch, finetune, load, start, targets },
  kernels: () => kernels(),
};

// Kernels of GPUs: timed on one, or read from their machine code.
const KERNEL_SUBJECTS = ['matmul', 'attention', 'layernorm', 'softmax', 'cross-entropy', 'adamw'];
const STATIC_SUBJECTS = [...KERNEL_SUBJECTS, 'memory', 'gpt2'];

/** What to run; positionals that name nothing are an error. */
function runOf(subjects: readonly string[]): () => Promise<unknown> {
  const wrong = (of: readonly string[]): string | undefined => subjects.find((name) => !of.includes(name));
  if (values.static) {
    const unknown = wrong(STATIC_SUBJECTS);
    if (unknown !== undefined) throw new Error(`--static: the subjects must be of ${STATIC_SUBJECTS.join(', ')}, got ${unknown}`);
    return async () => {
      const { staticReport } = await import('./static/main.ts');
      return staticReport({
        subjects,
        archs: list(values.archs).map((arch) => Number.parseInt(arch, 10)),
        python: values.python,
        record: values.record,
      });
    };
  }
  if (values.tune) {
    if (subjects.length !== 1 || subjects[0] !== 'matmul')
      throw new Error(`--tune: the subject must be matmul, got ${subjects.join(' ') || 'none'}`);
    return tune;
  }
  const alone = SUBJECTS[subjects[0] ?? 'train'];
  if (alone && subjects.length <= 1) return alone;
  if (wrong(STATIC_SUBJECTS) !== undefined)
    throw new Error(`the subject must be one of ${Object.keys(SUBJECTS).join(', ')}, got ${subjects.join(' ')}`);
  const command = `npm run bench -- ${subjects.join(' ')} --static`;
  if (!hasGpu())
    throw new Error(`${subjects.join(' ')}: timed on an NVIDIA GPU, and there is none here. What their machine code predicts: ${command}`);
  const untimed = wrong(KERNEL_SUBJECTS);
  if (untimed !== undefined) throw new Error(`${untimed} is a prediction beside others: ${command}`);
  return () => kernels(subjects);
}

function runOrExit(subjects: readonly string[]): () => Promise<unknown> {
  try {
    return runOf(subjects);
  } catch (error) {
    return fail(error);
  }
}

const run = runOrExit(positionals);
if (!values.static)
  console.log(`${machine.cpu}, ${machine.isa} (has ${machine.isas.join(', ')}), ${threads} threads, load ${machine.load.join(' ')}`);
const rows = await run().catch((error) => (error instanceof ArgumentError ? fail(error) : Promise.reject(error)));
if (values.json) {
  const command = ['npm run bench --', ...positionals, ...process.argv.slice(2).filter((a) => !positionals.includes(a))].join(' ');
  writeFileSync(values.json, `${JSON.stringify({ command, date: new Date().toISOString(), machine, rows }, null, 2)}\n`);
}
