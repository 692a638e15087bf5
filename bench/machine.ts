// What a record says about the machine it was taken on.
import { readFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { native } from '../lib/native/addon.ts';

export interface Machine {
  cpu: string;
  /** In use, and all that this machine has. */
  isa: string;
  isas: string[];
  threads: number;
  /** Bytes; 0: the system does not tell. */
  lastLevelCache: number;
  memory: number;
  node: string;
  load: number[];
}

/** Bytes of the largest cache of the first processor, 0 where the system does not tell. */
export function lastLevelCache(): number {
  for (const level of [4, 3, 2]) {
    try {
      const text = readFileSync(`/sys/devices/system/cpu/cpu0/cache/index${level}/size`, 'utf8').trim();
      return Number.parseInt(text, 10) * (text.endsWith('K') ? 1024 : text.endsWith('M') ? 1024 ** 2 : 1);
    } catch {
      // no such cache
    }
  }
  return 0;
}

export function describeMachine(threads: number): Machine {
  const { isa, isas } = native.info();
  return {
    ...{ cpu: cpus()[0]?.model ?? '', isa, isas, threads, lastLevelCache: lastLevelCache(), memory: totalmem() },
    ...{ node: process.version, load: loadavg().map((l) => Math.round(l * 100) / 100) },
  };
}

export const median = (xs: readonly number[]): number => {
  const sorted = xs.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

export const geometricMean = (xs: readonly number[]): number => Math.exp(xs.reduce((a, x) => a + Math.log(x), 0) / xs.length);
