import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { ArgumentError, FileError } from '../../util/errors.ts';

/** A row of the log: an event of a step with its numbers. */
export interface MetricsRow {
  /** Optimizer steps done when the event happened. */
  readonly step: number;
  readonly [name: string]: number | string | boolean | null;
}

function isRow(value: unknown): value is MetricsRow {
  return typeof value === 'object' && value !== null && 'step' in value && typeof value.step === 'number';
}

/** Rows with the byte after each; a last line without its line break is one that a crash tore, and left out. */
function parseRows(file: string, bytes: Uint8Array): { row: MetricsRow; end: number }[] {
  const rows: { row: MetricsRow; end: number }[] = [];
  for (let start = 0, line = 1; ; line++) {
    const lineEnd = bytes.indexOf(10, start);
    if (lineEnd < 0) return rows;
    const text = new TextDecoder().decode(bytes.subarray(start, lineEnd)).trim();
    start = lineEnd + 1;
    if (text === '') continue;
    let row: unknown;
    try {
      row = JSON.parse(text);
    } catch (error) {
      // A power cut may leave the last line with its length but without its content.
      if (start === bytes.length) return rows;
      throw new FileError(file, `line ${line} must be JSON: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
    if (!isRow(row)) throw new FileError(file, `line ${line} must be an object with step, got ${text.slice(0, 80)}`);
    rows.push({ row, end: start });
  }
}

/** Length of the log up to its first row after `step`. Steps never fall within a log, so cutting it there is enough. */
function bytesUntil(file: string, step: number): number {
  let end = 0;
  for (const next of parseRows(file, readFileSync(file))) {
    if (next.row.step > step) break;
    end = next.end;
  }
  return end;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The rows of a log. A torn last line is left out; a missing file has no rows. @throws FileError naming a line that is no row. */
export function readMetrics(file: string): MetricsRow[] {
  if (!existsSync(file)) return [];
  return parseRows(file, readFileSync(file)).map((r) => r.row);
}

/**
 * Appends rows to a JSON-lines file, each written through when it is logged. NaN and the infinities are written as text
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
    const kept = resumeAt === undefined || !existsSync(file) ? 0 : bytesUntil(file, resumeAt);
    try {
      mkdirSync(dirname(file), { recursive: true });
      this.#fd = openSync(file, 'a');
      ftruncateSync(this.#fd, kept);
    } catch (error) {
      throw new FileError(file, `cannot open: ${describe(error)}`, { cause: error });
    }
  }

  /** Appends a row. */
  write(row: MetricsRow): void {
    if (this.#fd === undefined) throw new ArgumentError(`MetricsLog: ${this.file} is closed`);
    const text = JSON.stringify(row, (_, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value));
    const line = Buffer.from(`${text}\n`);
    try {
      for (let done = 0; done < line.length; ) done += writeSync(this.#fd, line, done);
    } catch (error) {
      throw new FileError(this.file, `cannot write: ${describe(error)}`, { cause: error });
    }
  }

  /** Nothing can be written afterwards; a second call does nothing. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
