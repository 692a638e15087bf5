// What a record says about the machine it was taken on.
import { cpus, loadavg, totalmem } from 'node:os';
import { native } from '../lib/native/addon.ts';

export interface Machine {
  cpu: string;
  /** In use, and all that this machine has. */
  isa: string;
  isas: string[];
  /** What products in bf16 are computed by; older records do not say. */
  bf16?: string;
  threads: number;
  /** Bytes of the last-level cache. */
  cacheBytes: number;
  memory: number;
  node: string;
  load: number[];
}

export function describeMachine(threads: number): Machine {
  const { isa, isas, bf16, cacheBytes } = native.info();
  return {
    ...{ cpu: cpus()[0]?.model ?? '', isa, isas, bf16, threads, cacheBytes, memory: totalmem() },
    ...{ node: process.version, load: loadavg().map((l) => Math.round(l * 100) / 100) },
  };
}

export const median = (xs: readonly number[]): number => {
  const sorted = xs.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

export const geometricMean = (xs: readonly number[]): number => Math.exp(xs.reduce((a, x) => a + Math.log(x), 0) / xs.length);
