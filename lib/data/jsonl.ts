// A JSONL file as documents and examples, one line in memory at a time.
import { closeSync } from 'node:fs';
import { FileError } from '../util/errors.ts';
import { checkNesting } from '../util/json_text.ts';
import type { SourceItem } from './source.ts';
import { byteOrderMark, checkText, fill, openForReading } from './text_file.ts';

const CHUNK_BYTES = 2 ** 20;
/** A longer line is taken for a mistake (a JSON array under the name .jsonl), not for a document. */
const MAX_LINE_BYTES = 2 ** 28;
const LF = 10;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The lines of a file as bytes without their LF, with numbers from 1. */
function* readLines(path: string): Generator<{ bytes: Uint8Array; line: number }> {
  const fd = openForReading(path);
  try {
    let buffer = new Uint8Array(CHUNK_BYTES);
    let filled = 0;
    let line = 1;
    for (;;) {
      const scanned = filled;
      filled = fill(fd, buffer, filled);
      const ended = filled < buffer.length;
      let start = line === 1 && scanned === 0 ? byteOrderMark(path, buffer.subarray(0, filled)) : 0;
      let end = buffer.subarray(0, filled).indexOf(LF, Math.max(scanned, start));
      for (; end >= 0; end = buffer.subarray(0, filled).indexOf(LF, start)) {
        yield { bytes: buffer.subarray(start, end), line };
        line++;
        start = end + 1;
      }
      if (ended) {
        if (start < filled) yield { bytes: buffer.subarray(start, filled), line };
        return;
      }
      if (start === 0) {
        if (buffer.length >= MAX_LINE_BYTES) throw new FileError(path, `line ${line}: must be at most ${MAX_LINE_BYTES} bytes long`);
        const grown = new Uint8Array(buffer.length * 2);
        grown.set(buffer);
        buffer = grown;
      } else {
        buffer.copyWithin(0, start, filled);
        filled -= start;
      }
    }
  } finally {
    closeSync(fd);
  }
}

/** A value's type for an error, an object's with those of its fields. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value !== 'object') return `a ${typeof value}`;
  const keys = Object.entries(value).map(
    ([key, inner]) => `${key}: ${inner === null ? 'null' : Array.isArray(inner) ? 'array' : typeof inner}`,
  );
  return `an object with {${keys.slice(0, 6).join(', ')}}`;
}

/** The values of the lines of a file; empty ones are passed over. */
export function* readJsonValues(path: string): Generator<{ value: unknown; line: number }> {
  for (const { bytes, line } of readLines(path)) {
    checkText(path, bytes, line);
    const text = decoder.decode(bytes).trim();
    if (text === '') continue;
    checkNesting(path, bytes, `line ${line}: `);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new FileError(path, `line ${line}: must be JSON: ${(error as Error).message}`, { cause: error });
    }
    yield { value, line };
  }
}

/** One line as an item, or undefined where its text is empty. */
function itemOf(path: string, value: unknown, line: number): SourceItem | undefined {
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { text: document, prompt, completion } = fields;
  if (typeof document === 'string') {
    if (document === '') return undefined;
    return { kind: 'text', bytes: encoder.encode(document), first: true, file: path, line };
  }
  if (typeof prompt === 'string' && typeof completion === 'string') {
    if (completion === '') throw new FileError(path, `line ${line}: completion must not be empty`);
    return { kind: 'example', prompt, completion, file: path, line };
  }
  throw new FileError(path, `line ${line}: must have a string "text", or strings "prompt" and "completion", got ${describe(value)}`);
}

/** The documents and examples of one JSONL file. */
export function* readJsonLines(path: string): Generator<SourceItem> {
  for (const { value, line } of readJsonValues(path)) {
    const item = itemOf(path, value, line);
    if (item !== undefined) yield item;
  }
}
