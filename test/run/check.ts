// A property of all cases, checked on random instances. A failure names the seed: HEDDLE_SEED=... repeats it.
import test from 'ava';
import fc from 'fast-check';
import { setDefaultDevice } from '../../lib/tensor/device.ts';
import type { Case, Instance } from '../cases/case.ts';
import { DISTINCT } from '../cases/index.ts';
import { DEVICE, DEVICES, onDevice } from './devices.ts';

export interface CheckOptions {
  /** Sizes of dimensions. */
  max: number;
  /** Instances of each case. */
  runs: number;
  /** Only these cases. */
  only?: (c: Case) => boolean;
  /** Only these devices. */
  on?: (device: string) => boolean;
}

const SEED = Number(process.env.HEDDLE_SEED ?? 20240607);

/**
 * A test for every case on every device, which is the default device meanwhile: `problem` says what is wrong with an instance, or
 * undefined.
 */
export function checkAll(title: string, options: CheckOptions, problem: (instance: Instance, c: Case) => string | undefined): void {
  for (const [op, c] of DISTINCT) {
    if (options.only && !options.only(c)) continue;
    for (const device of DEVICES) if (options.on?.(device) ?? true) checkCase(device, op, c, title, options, problem);
  }
}

function checkCase(
  device: string,
  op: string,
  c: Case,
  title: string,
  { max, runs }: CheckOptions,
  problem: (instance: Instance, c: Case) => string | undefined,
): void {
  test(`${op}: ${title}${onDevice(device)}`, (t) => {
    const property = fc.property(c.instances(max), (instance) => {
      const found = problem(instance, c);
      if (found !== undefined) throw new Error(found);
    });
    setDefaultDevice(device);
    const result = fc.check(property, { seed: SEED, numRuns: runs, endOnFailure: true });
    setDefaultDevice(DEVICE);
    const error = result.errorInstance;
    t.false(result.failed, `${error instanceof Error ? error.message : error} (HEDDLE_SEED=${result.seed})`);
  });
}
