// The records in bench/results, to print beside figures that are measured where a peer is not installed.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Machine } from './machine.ts';

export interface BenchRecord<Row> {
  /** ISO 8601. */
  date: string;
  command: string;
  machine: Machine & { note?: string };
  rows: Row[];
}

const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), 'results');

/** Records of one subject (the word after the date in the file's name), newest first. */
export function recorded<Row>(subject: string): BenchRecord<Row>[] {
  return readdirSync(folder)
    .filter((name) => new RegExp(`^\\d{4}-\\d\\d-\\d\\d-${subject}-.*\\.json$`).test(name))
    .sort()
    .reverse()
    .map((name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as BenchRecord<Row>);
}
