import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ArgumentError, FileError } from '../../util/errors.ts';
import { makeFolder, naming, quietly, syncFolder, writeAll } from '../../util/files.ts';
import { show } from '../../util/show.ts';

/** A row of the log: an event of a step with its numbers. */
export interface MetricsRow {
  /** Optimizer steps done when the event happened. */
  readonly step: number;
  readonly [name: string]: number | string | boolean | null;
}

function isRow(value: unknown): value is MetricsRow {
  return typeof value === 'object' && value !== null && 'step' in value && typeof value.step === 'number';
}

interface Line {
  /** The byte after the line. */
  readonly end: number;
  /** The row, or why it is none: text that is no JSON object, as a crash may leave it. */
  readonly row: MetricsRow | FileError;
}

/** @throws FileError for an object that is no row: that is no crash's work */
function parseRow(file: string, line: number, text: string): MetricsRow | FileError {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (error) {
    return new FileError(file, `line ${line} must be JSON: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  if (isRow(row)) {
    if (Number.isSafeInteger(row.step) && row.step >= 0) return row;
    throw new FileError(file, `line ${line}: step must be an integer from 0, got ${show(row.step)}`);
  }
  const error = new FileError(file, `line ${line} must be an object with step, got ${show(row)}`);
  if (typeof row === 'object' && row !== null) throw error;
  return error;
}

/** The lines of a log; a last one without its line break is one that a crash tore, and left out. */
function parseLines(file: string): Line[] {
  const bytes = naming(file, 'read', () => readFileSync(file));
  const lines: Line[] = [];
  for (let start = 0, line = 1; ; line++) {
    const end = bytes.indexOf(10, start) + 1;
    if (end === 0) return lines;
    const text = new TextDecoder().decode(bytes.subarray(start, end)).trim();
    if (text !== '') lines.push({ end, row: parseRow(file, line, text) });
    start = end;
  }
}

/**
 * Length of the log up to its first row after `step`. Steps never fall within a log, so cutting it there is enough. A power cut may
 * leave lines with their length but not their content after the last row that was synced, which is one up to `step`.
 * @throws FileError where a line before such a row is none, or all of the file is no log
 */
function bytesUntil(file: string, step: number): number {
  let end = 0;
  let wrong: FileError | undefined;
  for (const line of parseLines(file)) {
    if (line.row instanceof FileError) {
      wrong ??= line.row;
      if (end === 0) throw wrong;
    } else {
      if (line.row.step > step) break;
      if (wrong) throw wrong;
      end = line.end;
    }
  }
  return end;
}

/** The rows of a log. A torn last line is left out; a missing file has no rows. @throws FileError naming a line that is no row. */
export function readMetrics(file: string): MetricsRow[] {
  if (!existsSync(file)) return [];
  const rows = parseLines(file).map((line) => line.row);
  // A power cut may leave the last line with its length but without its content.
  if (rows.at(-1) instanceof FileError) rows.pop();
  return rows.map((row) => {
    if (row instanceof FileError) throw row;
    return row;
  });
}

/**
 * Appends rows to a JSON-lines file. Each is there for other processes when `write` returns, and on the disk when `sync` does. NaN and the infinities are written as text
 * (`"NaN"`), which JSON has no numbers for.
 */
export class MetricsLog {
  readonly file: string;
  #fd: number | undefined;

  /**
   * Opens a log. With `resumeAt` the rows of later steps are dropped, and a torn last line too, so that a run resumed from the
   * checkpoint of that step logs no step twice; without it the log starts empty.
   * @throws FileError for a file that cannot be opened, or is no log.
   */
  constructor(file: string, { resumeAt }: { resumeAt?: number } = {}) {
    this.file = file;
    const isThere = existsSync(file);
    const kept = resumeAt === undefined || !isThere ? 0 : bytesUntil(file, resumeAt);
    if (!isThere) makeFolder(dirname(file));
    const fd = naming(file, 'open', () => openSync(file, 'a'));
    this.#fd = fd;
    try {
      naming(file, 'open', () => ftruncateSync(fd, kept));
      if (!isThere) syncFolder(dirname(file));
    } catch (error) {
      quietly(() => this.close());
      throw error;
    }
  }

  #open(): number {
    if (this.#fd === undefined) throw new ArgumentError(`MetricsLog: ${this.file} is closed`);
    return this.#fd;
  }

  /** Appends a row, whole or not at all. */
  write(row: MetricsRow): void {
    const fd = this.#open();
    const text = JSON.stringify(row, (_, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value));
    const line = Buffer.from(`${text}\n`);
    const { size } = naming(this.file, 'write', () => fstatSync(fd));
    try {
      writeAll(this.file, fd, line);
    } catch (error) {
      quietly(() => ftruncateSync(fd, size)); // else the next row would stand on the line of this one's half
      throw error;
    }
  }

  /** Returns when all rows have reached the disk. */
  sync(): void {
    const fd = this.#open();
    naming(this.file, 'sync to disk', () => fsyncSync(fd));
  }

  /** Nothing can be written afterwards; a second call does nothing. */
  close(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) naming(this.file, 'close', () => closeSync(fd));
  }
}
