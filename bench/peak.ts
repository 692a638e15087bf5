// Shares of the CPU's peak: bursts of fused multiply-adds are run between the pieces of work, on the same threads, so that both meet
// the same clock. A processor under the load of real products may hold a clock far below the one of an idle machine.
import { native, type OpTime } from '../lib/native/addon.ts';
import { scope, type Tensor } from '../lib/tensor/index.ts';
import { median } from './machine.ts';

export interface Share {
  /** Median, of one run. */
  ms: number;
  gflops: number;
  /** Of the bursts, median. */
  peakGflops: number;
  /** Median of the rounds' ratios. */
  share: number;
}

const total = (times: readonly OpTime[], ops: readonly string[]): number =>
  times.filter(({ op }) => ops.includes(op)).reduce((sum, { ms }) => sum + ms, 0);

let burstSteps = 100_000;

/** Enqueues a burst of about 0.7 ms and returns its operations: the same for each. */
const burst = (): number => native.fmaBurst(burstSteps);

/** GFLOP/s of the bursts among the times, of so many operations each. */
function burstRate(times: readonly OpTime[], operations: number): number {
  const bursts = times.find(({ op }) => op === 'fmaBurst');
  if (!bursts) throw new Error('no burst was timed');
  return (operations * bursts.count) / bursts.ms / 1e6;
}

/** GFLOP/s of a burst now. */
export function peakNow(): number {
  native.timeOps('cpu');
  const operations = burst();
  return burstRate(native.takeOpTimes('cpu'), operations);
}

/** GB/s at which these tensors are read now, or copied to others. */
export function bandwidth(tensors: readonly (readonly [from: Tensor, to: Tensor | null])[]): number {
  native.timeOps('cpu');
  let bytes = 0;
  for (const [from, to] of tensors) bytes += native.memoryBurst(from.handle, to?.handle ?? null);
  return bytes / total(native.takeOpTimes('cpu'), ['memoryBurst']) / 1e6;
}

/** Sets the length of a burst; with the threads that are set. */
export function calibrateBurst(): void {
  for (const want of [0.7, 0.7]) {
    native.timeOps('cpu');
    for (let i = 0; i < 3; i++) burst();
    const ms = total(native.takeOpTimes('cpu'), ['fmaBurst']) / 3;
    burstSteps = Math.max(1000, Math.round((burstSteps * want) / ms));
  }
}

/** `work` enqueues the ops named, of so many operations in all. A round runs it for some milliseconds, between two bursts. */
export function besidePeak(work: () => void, ops: readonly string[], operations: number, rounds: number): Share {
  const round = (repeats: number): { ms: number; peak: number } => {
    native.timeOps('cpu');
    burst();
    for (let i = 0; i < repeats; i++) scope(work);
    const operationsOfBurst = burst();
    const times = native.takeOpTimes('cpu');
    return { ms: total(times, ops) / repeats, peak: burstRate(times, operationsOfBurst) };
  };
  const once = round(2).ms;
  const repeats = Math.max(1, Math.min(50, Math.round(8 / once)));
  const results = Array.from({ length: rounds }, () => round(repeats));
  const ms = median(results.map((r) => r.ms));
  return {
    ...{ ms, gflops: operations / ms / 1e6, peakGflops: median(results.map((r) => r.peak)) },
    share: median(results.map((r) => operations / r.ms / 1e6 / r.peak)),
  };
}
