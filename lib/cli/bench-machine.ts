// What the machine itself can do, to hold heddle against.
import { setImmediate } from 'node:timers/promises';
import { native } from '../native/addon.ts';
import { copyInto, sum } from '../ops/index.ts';
import { type DeviceInfo, scope, synchronize, type Tensor, zeros } from '../tensor/index.ts';

/** One measurement: its name is shown while it runs, and the work can be stopped before it begins. */
export type Step = <T>(name: string, work: () => T | Promise<T>) => Promise<T>;

/** What a device can do at most. */
export interface Ceilings {
  /** GFLOP/s of fused multiply-adds in f32, in registers; null where that is not measured. */
  readonly fma: number | null;
  /** GB/s; of copying, bytes read and written. */
  readonly copy: number;
  readonly read: number;
  /** Of the arrays that are copied and read. */
  readonly bytes: number;
}

/** Bytes of an array that hardly a cache holds, and of which several fit into the memory that is free. */
function arrayBytes(free: number, quick: boolean): number {
  const mib = Math.min(quick ? 32 : 256, Math.floor(free / 8 / 2 ** 20));
  return Math.max(1, mib) * 2 ** 20;
}

/** The best of some tries: whatever disturbs makes a ceiling too low. */
async function best(tries: number, signal: AbortSignal, probe: () => number | Promise<number>): Promise<number> {
  let highest = 0;
  for (let i = 0; i < tries; i++) {
    await setImmediate(); // a probe blocks: signals come in between
    signal.throwIfAborted();
    highest = Math.max(highest, await probe());
  }
  return highest;
}

/** Measures the CPU with threads of its own; a GPU with heddle's copy and sum. */
export async function measureCeilings(
  device: string,
  gpu: DeviceInfo | undefined,
  free: number,
  quick: boolean,
  signal: AbortSignal,
  step: Step,
): Promise<Ceilings> {
  const tries = quick ? 2 : 3;
  if (gpu === undefined) {
    const { threads } = native.info();
    const bytes = arrayBytes(free, quick);
    const probe = (name: string, what: 'fma' | 'copy' | 'read') =>
      step(name, () => best(tries, signal, () => native.probe(what, threads, bytes)));
    return {
      fma: await probe('FMA peak', 'fma'),
      copy: await probe('memory copy', 'copy'),
      read: await probe('memory read', 'read'),
      bytes,
    };
  }
  const bytes = gpu.simulated ? 2 ** 16 : arrayBytes(gpu.free, quick);
  const arrays: Tensor[] = [];
  try {
    for (let i = 0; i < 2; i++) arrays.push(zeros([bytes / 4], { device }));
    const [source, target] = arrays as [Tensor, Tensor];
    const rate = async (moved: number, run: () => void): Promise<number> => {
      await synchronize(device);
      const repeats = gpu.simulated ? 1 : 20;
      const start = performance.now();
      for (let r = 0; r < repeats; r++) scope(run);
      await synchronize(device);
      return (moved * repeats) / (performance.now() - start) / 1e6;
    };
    const copy = await step('memory copy', () => best(tries + 1, signal, () => rate(2 * bytes, () => copyInto(target, source))));
    const read = await step('memory read', () => best(tries + 1, signal, () => rate(bytes, () => void sum(source))));
    return { fma: null, copy, read, bytes };
  } finally {
    for (const array of arrays) array.dispose();
  }
}
