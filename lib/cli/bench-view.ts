// What `heddle bench` says: the measurements, each with its share of what the machine can do, and the estimates that follow from them.

import { native } from '../native/addon.ts';
import { type NativeInfo, packageVersion } from '../native/load.ts';
import { describeDevice, gpuInfo } from '../tensor/device.ts';
import { formatCount, formatDuration } from '../train/metrics/format.ts';
import { columns } from './args.ts';
import { type Estimate, estimatePresets, TOKENS_PER_PARAMETER } from './bench-estimate.ts';
import type { Measurements, Skipped } from './bench-run.ts';
import { gib } from './machine.ts';
import { grid, marked } from './output.ts';

/** Room that the system and the tensors of others take. */
const USABLE = 0.9;

const BUDGET = `${TOKENS_PER_PARAMETER} tokens per parameter (Chinchilla)`;

export interface BenchResult extends Measurements {
  readonly version: string;
  readonly instructions: Pick<NativeInfo, 'isa' | 'isas' | 'compiledIsas' | 'threads'>;
  /** What shares are of, in FLOP/s: the FMA peak, or on a GPU the fastest matmul. */
  readonly shareOf: { readonly what: string; readonly flops: number };
  /** Bytes there are for training. */
  readonly memory: number;
  /** The training that the estimates are of. */
  readonly budget: string;
  readonly estimates: readonly Estimate[];
}

/** The measurements with what follows from them. */
export function bench(measured: Measurements, info: NativeInfo = native.info()): BenchResult {
  const { isa, isas, compiledIsas, threads } = info;
  const { ceilings, matmul, training, machine, device } = measured;
  const gpu = gpuInfo(device);
  const shareOf =
    ceilings.fma === null
      ? { what: 'the fastest matmul', flops: Math.max(...matmul.map((m) => m.gflops)) * 1e9 }
      : { what: 'the FMA peak', flops: ceilings.fma * 1e9 };
  const memory = Math.floor((gpu ? gpu.memory : machine.memory) * USABLE);
  const absent: Skipped[] = compiledIsas
    .filter((name) => !isas.includes(name))
    .map((name) => ({ what: name, why: 'this processor does not have these instructions' }));
  return {
    ...{
      version: packageVersion(),
      instructions: { isa, isas, compiledIsas, threads },
      ...measured,
      skipped: [...absent, ...measured.skipped],
    },
    ...{ shareOf, memory, budget: BUDGET, estimates: estimatePresets(training, memory, gpu !== undefined) },
  };
}

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
const rate = (flops: number): string =>
  flops >= 9.995e12 ? `${(flops / 1e12).toFixed(0)} TFLOP/s` : `${(flops / 1e9).toPrecision(3)} GFLOP/s`;
const bandwidth = (gb: number): string => `${gb.toFixed(gb < 99.5 ? 1 : 0)} GB/s`;

function machineText({ machine, instructions, device, ceilings, skipped, load }: BenchResult): string {
  const gpu = gpuInfo(device);
  const { isa, threads } = instructions;
  const forced = process.env.HEDDLE_CPU ? ' (forced by HEDDLE_CPU)' : '';
  const quota = machine.quota === undefined ? '' : `, the container's quota is ${Number(machine.quota.toFixed(2))}`;
  const busy: [string, string][] =
    load > 0.5 ? [['load', `${load.toFixed(1)} before it began: other programs run here, and the figures are too low`]] : [];
  const rows: [string, string][] = [
    ['processor', `${machine.cpu}, ${machine.available} of ${machine.processors} processors${quota}`],
    ['instructions', `${isa}${forced}`],
    ['threads', String(threads)],
    ['memory', `${gib(machine.memory)}, ${gib(machine.free)} free`],
    ...busy,
    ...(gpu
      ? [[gpu.name, `${gpu.card}, ${gpu.multiprocessors} multiprocessors, ${gib(gpu.memory)}, ${gib(gpu.free)} free`] as [string, string]]
      : []),
    ...(ceilings.fma === null ? [] : [['FMA peak, f32', `${rate(ceilings.fma * 1e9)} measured`] as [string, string]]),
    ['memory copy', `${bandwidth(ceilings.copy)} measured, bytes read and written; arrays of ${ceilings.bytes / 2 ** 20} MiB`],
    ['memory read', `${bandwidth(ceilings.read)} measured`],
    ...skipped.map(({ what, why }): [string, string] => [what, `not measured here: ${why}`]),
  ];
  return columns(rows);
}

function heddleText({ matmul, training, shareOf, ceilings }: BenchResult): string {
  const share = (of: number) => `${percent(of)} of ${shareOf.what}`;
  const rows = [
    ...matmul.map((m) => [
      `matmul ${m.dtype}`,
      `${m.size} x ${m.size} x ${m.size}`,
      '',
      rate(m.gflops * 1e9),
      share((m.gflops * 1e9) / shareOf.flops),
    ]),
    ...training.map((t) => [
      `training ${t.preset}, ${t.compute}`,
      `${t.batch} x ${t.length} tokens`,
      `${formatCount(t.tokensPerSecond)} tokens/s`,
      rate(t.flops),
      share(t.flops / shareOf.flops),
    ]),
  ];
  const decoding = training.flatMap(({ preset, decoding: d }) => {
    if (d === null) return [];
    const ofRead = d.gbPerSecond / ceilings.read;
    const of = ofRead > 1 ? 'out of the caches' : `${percent(ofRead)} of memory read`;
    return [
      [
        `decoding ${preset}`,
        '1 token at a time',
        `${formatCount(d.tokensPerSecond)} tokens/s`,
        `${bandwidth(d.gbPerSecond)} of weights`,
        of,
      ],
    ];
  });
  return grid([...rows, ...decoding]);
}

function estimatesText({ estimates, memory, device }: BenchResult): string {
  const fitting = estimates.filter((e) => e.fits);
  const rows = fitting.map((e) => [
    e.preset,
    formatCount(e.parameters),
    formatCount(e.tokens),
    `${e.memory < 0.95 * 2 ** 30 ? `${Math.ceil(e.memory / 2 ** 20)} MiB` : gib(e.memory)}`,
    formatDuration(e.seconds),
    e.from,
    e.outOfReach ? (device === 'cpu' ? 'needs a GPU' : 'needs several GPUs') : '',
  ]);
  const large = estimates.filter((e) => !e.fits).map((e) => `${e.preset} (${gib(e.memory)})`);
  const head = ['preset', 'parameters', 'tokens', 'memory', 'time', 'from the step of', ''];
  return [grid([head, ...rows]), large.length > 0 && `  do not fit into ${gib(memory)}, estimated: ${large.join(', ')}`]
    .filter(Boolean)
    .join('\n');
}

/** The same for people. */
export function benchText(result: BenchResult, quick: boolean): string {
  const { device, version, training } = result;
  const sections = [
    marked(`heddle ${version} on ${describeDevice(device)}${quick ? ', quick: rough figures' : ''}`),
    `The machine\n${machineText(result)}`,
    `Measured: what heddle reaches\n${heddleText(result)}`,
    training.length === 0
      ? 'No estimates: no training step was measured.'
      : [
          `Estimated from the measured steps: a training of ${BUDGET}`,
          estimatesText(result),
          '  Memory is that of one sequence at a time. Sequences are as long as the context, at most 2048 tokens.',
        ].join('\n'),
  ];
  return sections.join('\n\n');
}
