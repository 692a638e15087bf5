import { readJsonValues } from '../data/jsonl.ts';
import { readTextPieces } from '../data/text_file.ts';
import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { readParquetRows } from './parquet.ts';

/** The fields of a row of a data set, checked as they are read: errors name the file, the row and the field. */
export class Fields {
  readonly file: string;
  /** Where the row stands: `line 3`. */
  readonly where: string;
  readonly #value: Record<string, unknown>;
  /** Field names before these: `question.`. */
  readonly #path: string;

  /** @throws FileError unless `value` is an object. */
  constructor(file: string, where: string, value: unknown, path = '') {
    this.file = file;
    this.where = where;
    this.#path = path;
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.#error(path === '' ? 'must be an object' : `${path.slice(0, -1)} must be an object`, value);
    this.#value = value as Record<string, unknown>;
  }

  #error(what: string, got: unknown): FileError {
    return new FileError(this.file, `${this.where}: ${what}, got ${show(got)}`);
  }

  /** An error about a field. */
  wrong(name: string, expected: string): FileError {
    return this.#error(`${this.#path}${name} must be ${expected}`, this.raw(name));
  }

  /** What stands there, unchecked; undefined where nothing does. */
  raw(name: string): unknown {
    return Object.hasOwn(this.#value, name) ? this.#value[name] : undefined;
  }

  text(name: string): string {
    const value = this.raw(name);
    if (typeof value !== 'string') throw this.wrong(name, 'a text');
    return value;
  }

  /** A list of at least `least` texts. */
  texts(name: string, least: number): string[] {
    const value = this.raw(name);
    if (!Array.isArray(value) || value.length < least || value.some((item) => typeof item !== 'string'))
      throw this.wrong(name, `a list of at least ${least} texts`);
    return value as string[];
  }

  /** An index below `count`: a number (Parquet's are often of 64 bits), or one written as a text. */
  index(name: string, count: number): number {
    const value = this.raw(name);
    const isWritten = (typeof value === 'string' && value.trim() !== '') || typeof value === 'bigint';
    const number = isWritten ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number >= count)
      throw this.wrong(name, `a number from 0 to ${count - 1}`);
    return number;
  }

  object(name: string): Fields {
    return new Fields(this.file, this.where, this.raw(name), `${this.#path}${name}.`);
  }

  objects(name: string): Fields[] {
    const value = this.raw(name);
    if (!Array.isArray(value)) throw this.wrong(name, 'a list of objects');
    return value.map((item: unknown, i) => new Fields(this.file, this.where, item, `${this.#path}${name}[${i}].`));
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * The rows of a data set, one at a time: JSONL, one object a line; .parquet; or a .txt or .md as rows with `text`, pieces of at most a megabyte that
 * end where words do.
 * @throws FileError that names file and line, for what is no such file
 */
export async function* readDataset(path: string): AsyncGenerator<Fields> {
  if (/\.(txt|md)$/i.test(path)) {
    for (const { bytes, line } of readTextPieces(path)) yield new Fields(path, `line ${line}`, { text: decoder.decode(bytes) });
    return;
  }
  if (/\.parquet$/i.test(path)) {
    for await (const { value, row } of readParquetRows(path)) yield new Fields(path, `row ${row}`, value);
    return;
  }
  for (const { value, line } of readJsonValues(path)) yield new Fields(path, `line ${line}`, value);
}
