import { readFileSync, statSync } from 'node:fs';
import { FileError } from '../util/errors.ts';
import { parseJSON } from '../util/json_text.ts';
import { show as showValue } from '../util/show.ts';

/** An object read from JSON. */
export type JSONObject = { readonly [key: string]: unknown };

function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new FileError(file, `cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** Reads a text file; a FileError if it cannot be read or is no UTF-8. */
export function readText(file: string): string {
  const bytes = readBytes(file);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FileError(file, `must be UTF-8 text: ${messageOf(error)}`, { cause: error });
  }
}

/** Reads a file whose content is one JSON object. */
export function readObject(file: string): JSONObject {
  return expectObject(file, 'content', parseJSON(file, readBytes(file)));
}

export function exists(path: string): 'file' | 'folder' | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return undefined;
  return stat.isDirectory() ? 'folder' : 'file';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A value for an error message, cut where it is long. */
export function show(value: unknown): string {
  return Array.isArray(value) ? `a list of ${value.length}` : showValue(value);
}

export function wrongField(file: string, field: string, expected: string, value: unknown): FileError {
  return new FileError(file, `${field} must be ${expected}, got ${show(value)}`);
}

export function isObject(value: unknown): value is JSONObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function expectObject(file: string, field: string, value: unknown): JSONObject {
  if (!isObject(value)) throw wrongField(file, field, 'an object', value);
  return value;
}

export function expectArray(file: string, field: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw wrongField(file, field, 'a list', value);
  return value;
}

export function expectText(file: string, field: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw wrongField(file, field, 'a text that is not empty', value);
  return value;
}

/** Whether a value is an integer from 0 to `count - 1`. Where ids may not repeat either, that leaves no holes. */
export function isId(value: unknown, count: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < count;
}

export function wrongId(file: string, field: string, value: unknown, count: number): FileError {
  return wrongField(file, field, `an integer from 0 to ${count - 1} (ids of ${count} tokens, without holes)`, value);
}
