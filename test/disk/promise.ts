// What a run promised by some operation, and what a reader finds of it.
import { basename, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { bestCheckpoint, type Checkpoint, latestCheckpoint } from '../../lib/checkpoint/index.ts';
import type { Operation } from './recorder.ts';
import { type Files, filesOf } from './run.ts';

/** What whole runs come to. */
export interface Known {
  /** Files of each checkpoint, by `<seed>:<step>`. */
  readonly checkpoints: Map<string, Files>;
  /** What runs that nobody stopped come to, by seed: rows of the log, files of the last checkpoint. */
  readonly rows: Map<number, unknown[]>;
  readonly last: Map<number, Files>;
  readonly prepared: Files;
}

/** Only what proves that states are the same: paths and times are another run's. */
export const weights = (files: Files): Files => Object.fromEntries(Object.entries(files).filter(([name]) => name.endsWith('.safetensors')));

export const preparedOf = (out: string): Files =>
  Object.fromEntries(
    Object.entries({ ...filesOf(join(out, 'data')), ...filesOf(join(out, 'tokenizer')) }).filter(([name]) => name !== 'meta.json'),
  );

/** What has been promised after so many operations. */
export interface Promised {
  /** Seed of the run, and step of the newest checkpoint that is on the disk for sure. */
  seed: number;
  step: number;
  /** Step of the newest best checkpoint that is noted on the disk for sure. */
  best: number;
  /** The old run is being given up: all of it may be there, or nothing. */
  givenUp: boolean;
}

/** Reads promises about the checkpoints in `folder` off the log: a name is promised once its folder was synced after the rename. */
export function promises(log: readonly Operation[], folder: string): Promised[] {
  const now: Promised = { seed: 1, step: 0, best: 0, givenUp: false };
  let written = 0; // the step in the newest text for best.json
  let renamed = { step: 0, best: 0 };
  const all = [{ ...now }];
  for (const operation of log) {
    if (operation.kind === 'write' && basename(operation.path).startsWith('best.json'))
      written = Number(/"step":(\d+)/.exec(Buffer.from(operation.bytes).toString())?.[1] ?? written); // it may come in two
    if (operation.kind === 'rename') {
      const step = /^step-(\d+)$/.exec(basename(operation.to))?.[1];
      if (step !== undefined) renamed.step = Number(step);
      if (basename(operation.to) === 'best.json') renamed.best = written;
      if (operation.path === folder) {
        Object.assign(now, { seed: 2, step: 0, best: 0, givenUp: true });
        renamed = { step: 0, best: 0 };
      }
    }
    if (operation.kind === 'sync' && operation.path === folder && renamed.step > 0) {
      Object.assign(now, { step: renamed.step, best: renamed.best, givenUp: false });
    }
    all.push({ ...now });
  }
  return all;
}

/** What a reader finds among the checkpoints. */
export interface Found {
  readonly seed: number | undefined;
  readonly step: number;
  readonly best: number;
  /** What must never be. */
  readonly wrong: string[];
}

const seedOf = (checkpoint: Checkpoint): number => (checkpoint.manifest.rng as { seed: number }).seed;

/** Compares what is found with what was saved; `part` chooses the files that must be equal. */
export async function readCheckpoints(folder: string, known: Known, part: (files: Files) => Files = (files) => files): Promise<Found> {
  const wrong: string[] = [];
  const compare = (checkpoint: Checkpoint): void => {
    const saved = known.checkpoints.get(`${seedOf(checkpoint)}:${checkpoint.manifest.step}`);
    if (!isDeepStrictEqual(part(filesOf(checkpoint.folder)), saved)) wrong.push(`${basename(checkpoint.folder)} is not what was saved`);
  };
  const { checkpoint, skipped } = await latestCheckpoint(folder);
  for (const { name, why } of skipped.filter((s) => s.damaged)) wrong.push(`${name}: ${why}`);
  if (checkpoint) compare(checkpoint);
  const best = await bestCheckpoint(folder);
  if (best) compare(best.checkpoint);
  return { seed: checkpoint && seedOf(checkpoint), step: checkpoint?.manifest.step ?? 0, best: best?.checkpoint.manifest.step ?? 0, wrong };
}
