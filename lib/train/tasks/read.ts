import { type RecordKind, type Records, readRecords, splitRecords } from '../../data/index.ts';
import { ArgumentError } from '../../util/errors.ts';
import type { RunConfig } from '../config.ts';

export type TaskFiles = Pick<RunConfig['finetune'], 'path' | 'valPath' | 'valFraction'>;

/** @throws ArgumentError where no file is named; `what`: what it should hold */
export function requirePath({ path }: TaskFiles, what: string): string {
  if (path !== undefined) return path;
  throw new ArgumentError(`finetune.path must name a JSONL file of ${what}`, { hint: 'Or give --data FILE.' });
}

/** The records of the files that a configuration names. */
export function readFiles<T>(files: TaskFiles, kind: RecordKind<T>, what: string): Records<T> {
  const records = readRecords(requirePath(files, what), kind);
  if (files.valPath !== undefined) return { train: records, validation: readRecords(files.valPath, kind) };
  return splitRecords(records, files.valFraction);
}
