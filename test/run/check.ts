// A property of all cases, checked on random instances. A failure names the seed: HEDDLE_SEED=... repeats it.
import test from 'ava';
import fc from 'fast-check';
import type { Case, Instance } from '../cases/case.ts';
import { DISTINCT } from '../cases/index.ts';

export interface CheckOptions {
  /** Sizes of dimensions. */
  max: number;
  /** Instances of each case. */
  runs: number;
  /** Only these cases. */
  only?: (c: Case) => boolean;
}

const SEED = Number(process.env.HEDDLE_SEED ?? 20240607);

/** A test for every case: `problem` says what is wrong with an instance, or undefined. */
export function checkAll(title: string, options: CheckOptions, problem: (instance: Instance, c: Case) => string | undefined): void {
  for (const [op, c] of DISTINCT) {
    if (options.only && !options.only(c)) continue;
    test(`${op}: ${title}`, (t) => {
      const property = fc.property(c.instances(options.max), (instance) => {
        const found = problem(instance, c);
        if (found !== undefined) throw new Error(found);
      });
      const result = fc.check(property, { seed: SEED, numRuns: options.runs, endOnFailure: true });
      const error = result.errorInstance;
      t.false(result.failed, `${error instanceof Error ? error.message : error} (HEDDLE_SEED=${result.seed})`);
    });
  }
}
