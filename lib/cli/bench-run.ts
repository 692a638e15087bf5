// What `heddle bench` measures on a device, in which order, and what it leaves out.
import { loadavg } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { gptConfig } from '../models/config.ts';
import { flopsPerToken } from '../models/size.ts';
import { gpuInfo } from '../tensor/device.ts';
import { trainingMemory } from './bench-estimate.ts';
import { type Ceilings, measureCeilings, type Step } from './bench-machine.ts';
import {
  type Job,
  type MatmulResult,
  measureMatmul,
  measureTraining,
  resolveDevice,
  type Settings,
  type TrainingResult,
} from './bench-measure.ts';
import { gib, type Machine, machine } from './machine.ts';

/** What is not measured, and why. */
export interface Skipped {
  readonly what: string;
  readonly why: string;
}

/** Everything that was measured. */
export interface Measurements {
  readonly device: string;
  readonly machine: Machine;
  /** How many programs ran here on average in the minute before. */
  readonly load: number;
  readonly ceilings: Ceilings;
  readonly matmul: readonly MatmulResult[];
  readonly training: readonly TrainingResult[];
  readonly skipped: readonly Skipped[];
}

/** Seconds after which no further training is begun that would end later. */
const PATIENCE_SECONDS = 45;

/** Steps of a training that is measured: one to warm up, and two. */
const STEPS = 3;

/** Share of the free memory that a measurement may take. */
const USABLE = 0.8;

interface Plan {
  readonly sizes: readonly number[];
  /** From small to large. */
  readonly jobs: readonly Job[];
}

function planOf(device: string, simulated: boolean, quick: boolean): Plan {
  if (simulated) return { sizes: [64], jobs: [{ preset: 'char-cpu', batch: 1, length: 8, changes: { layers: 1, contextLength: 16 } }] };
  if (quick) return { sizes: [device === 'cpu' ? 256 : 2048], jobs: [{ preset: 'char-cpu', batch: 4, length: 64 }] };
  if (device === 'cpu')
    return {
      sizes: [1024, 2048],
      jobs: [
        { preset: 'quickstart', batch: 16, length: 128 },
        { preset: 'char-gpu', batch: 4, length: 256 },
        { preset: 'gpt2', batch: 1, length: 256 },
      ],
    };
  return {
    sizes: [4096, 8192],
    jobs: [
      { preset: 'char-gpu', batch: 64, length: 256 },
      { preset: 'gpt2', batch: 8, length: 1024 },
      { preset: 'gpt2-large', batch: 4, length: 1024 },
    ],
  };
}

/** Measures a device. `progress` hears of each measurement as it begins: how many are done, and how many there are. */
export async function measure(
  options: { readonly device: string; readonly quick: boolean; readonly signal: AbortSignal },
  progress: (name: string, done: number, of: number) => void,
): Promise<Measurements> {
  const { quick, signal } = options;
  const started = performance.now();
  const device = resolveDevice(options.device);
  const gpu = gpuInfo(device);
  const facts = { device, machine: machine(), load: loadavg()[0] ?? 0 };
  const { sizes, jobs } = planOf(device, gpu?.simulated ?? false, quick);
  let done = 0;
  const step: Step = async (name, work) => {
    progress(name, done, (gpu ? 2 : 3) + sizes.length + 2 * jobs.length);
    await setImmediate(); // lets signals in
    signal.throwIfAborted();
    const result = await work();
    done++;
    return result;
  };
  const settings: Settings = { device, signal, step, budget: quick ? 150 : 2000, least: quick ? 1 : STEPS - 1 };

  const ceilings = await measureCeilings(device, gpu, facts.machine.free, quick, signal, step);
  const matmul: MatmulResult[] = [];
  for (const size of sizes) matmul.push(await measureMatmul(gpu ? 'bf16' : 'f32', size, settings));
  const training: TrainingResult[] = [];
  const skipped: Skipped[] = gpu ? [{ what: 'FMA peak', why: 'there is no probe for GPUs; shares are of the fastest matmul' }] : [];
  for (const job of jobs) {
    const free = (gpu ? gpuInfo(device)?.free : machine().free) ?? 0;
    const why = tooMuch(job, gpu !== undefined, free, training.at(-1), PATIENCE_SECONDS - (performance.now() - started) / 1000);
    if (why === undefined) training.push(await measureTraining(job, settings));
    else skipped.push({ what: `training and decoding ${job.preset}`, why });
  }
  return { ...facts, ceilings, matmul, training, skipped };
}

/** Why a training is not begun: memory, or the seconds that are left, by the rate of the one before; undefined: nothing. */
function tooMuch(
  { preset, batch, length, changes = {} }: Job,
  half: boolean,
  free: number,
  before: TrainingResult | undefined,
  left: number,
): string | undefined {
  const config = gptConfig(changes, preset);
  const needed = trainingMemory(config, batch, length, half);
  if (needed > free * USABLE) return `it needs about ${gib(needed)}, ${gib(free)} are free`;
  const seconds = before ? (STEPS * batch * length * flopsPerToken(config, length)) / before.flops : 0;
  return seconds > left ? `it would take about ${seconds.toFixed(0)} s more` : undefined;
}
