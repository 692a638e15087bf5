// What a checkpoint's manifest keeps of the trainer, checked: the file is foreign input like any other.
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/index.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';

export interface Progress {
  bestLoss: number | null;
  /** Step of that evaluation. */
  bestStep: number | null;
  withoutProgress: number;
}

export interface SavedState {
  readonly seed: number;
  /** Of the optimizer. */
  readonly updates: number;
  readonly progress: Progress;
  /** Older checkpoints have none. */
  readonly lossScale: { value: number; steady: number } | undefined;
}

const manifestOf = (checkpoint: Checkpoint): string => join(checkpoint.folder, 'checkpoint.json');

const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
/** What the device counts in 32 bits. */
const isCount32 = (x: unknown): x is number => isCount(x) && x < 2 ** 31;
const isNumber = (x: unknown): x is number => Number.isFinite(x);
const isPositive = (x: unknown): x is number => Number.isFinite(x) && (x as number) > 0;
const orNull =
  <T>(is: (x: unknown) => x is T) =>
  (x: unknown): x is T | null =>
    x === null || is(x);

/** @throws FileError naming the field of checkpoint.json that is wrong */
export function savedState(checkpoint: Checkpoint): SavedState {
  const file = manifestOf(checkpoint);
  const section = (name: string, value: unknown) => {
    if (typeof value !== 'object' || value === null) throw new FileError(file, `${name} must be an object, got ${show(value)}`);
    return <T>(field: string, expected: string, is: (x: unknown) => x is T): T => {
      const got = (value as Record<string, unknown>)[field];
      if (!is(got)) throw new FileError(file, `${name}.${field} must be ${expected}, got ${show(got)}`);
      return got;
    };
  };
  const { rng, state } = checkpoint.manifest;
  const seed = section('rng', rng)('seed', 'an integer from 0', isCount);
  const of = section('state', state);
  const saved = (state as { lossScale?: unknown }).lossScale;
  const scale = saved === undefined ? undefined : section('state.lossScale', saved);
  return {
    seed,
    updates: of('updates', 'an integer from 0 to 2^31 - 1', isCount32),
    progress: {
      bestLoss: of('bestLoss', 'a number or null', orNull(isNumber)),
      bestStep: of('bestStep', 'an integer from 0 or null', orNull(isCount)),
      withoutProgress: of('withoutProgress', 'an integer from 0', isCount),
    },
    lossScale: scale && { value: scale('value', 'a positive number', isPositive), steady: scale('steady', 'an integer from 0', isCount) },
  };
}

/** Hands the loader its state; what it does not like is an error of checkpoint.json. */
export function restoreLoader(checkpoint: Checkpoint, restore: () => void): void {
  const { loader } = checkpoint.manifest;
  const file = manifestOf(checkpoint);
  if (typeof loader !== 'object' || loader === null) throw new FileError(file, `loader must be an object, got ${show(loader)}`);
  try {
    restore();
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new FileError(file, `loader: ${error.message}`, { cause: error });
  }
}
