// A text file as pieces of at most a megabyte.
import { isUtf8 } from 'node:buffer';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { FileError } from '../util/errors.ts';
import type { TextItem } from './source.ts';

const PIECE_BYTES = 2 ** 20;
const CR = 13;
const LF = 10;

/** Opens a file for reading; the error names it. */
export function openForReading(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw new FileError(path, `cannot be read: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`, { cause: error });
  }
  if (!fstatSync(fd).isDirectory()) return fd;
  closeSync(fd);
  throw new FileError(path, 'must be a file, got a folder');
}

/** Reads until `buffer` is full from `at` on or the file ends; gives the end of what is filled. */
export function fill(fd: number, buffer: Uint8Array, at: number): number {
  let end = at;
  while (end < buffer.length) {
    const got = readSync(fd, buffer, end, buffer.length - end, null);
    if (got === 0) break;
    end += got;
  }
  return end;
}

/** The number of bytes of a UTF-8 byte order mark at the start of a file. @throws FileError for UTF-16. */
export function byteOrderMark(path: string, start: Uint8Array): number {
  const [a, b, c] = start;
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff))
    throw new FileError(path, 'must be UTF-8, got UTF-16', { hint: 'Convert the file to UTF-8 first.' });
  return a === 0xef && b === 0xbb && c === 0xbf ? 3 : 0;
}

export function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (let i = bytes.indexOf(LF); i >= 0; i = bytes.indexOf(LF, i + 1)) lines++;
  return lines;
}

/** @throws FileError naming file and line when `bytes`, which begin at `line`, hold a zero byte or are not UTF-8. */
export function checkText(path: string, bytes: Uint8Array, line: number): void {
  const zero = bytes.indexOf(0);
  if (zero >= 0)
    throw new FileError(path, `line ${line + countLines(bytes.subarray(0, zero))}: must be text, got a zero byte (is this a binary file?)`);
  if (isUtf8(bytes)) return;
  for (let start = 0; ; line++) {
    const end = bytes.indexOf(LF, start);
    if (end < 0 || !isUtf8(bytes.subarray(start, end))) throw new FileError(path, `line ${line}: must be UTF-8, got other bytes`);
    start = end + 1;
  }
}

/** CR LF to LF; a CR on its own stays. */
export function withoutCarriageReturns(bytes: Uint8Array): Uint8Array {
  let from = bytes.indexOf(CR);
  if (from < 0) return bytes;
  const out = bytes.slice();
  let to = from;
  for (; from < bytes.length; from++) {
    if (bytes[from] === CR && bytes[from + 1] === LF) continue;
    out[to++] = bytes[from] as number;
  }
  return out.subarray(0, to);
}

const isBlank = (byte: number | undefined): boolean => byte === 0x20 || byte === LF || byte === 9 || byte === CR;
const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** The character that ends before `end`. */
function characterBefore(bytes: Uint8Array, end: number): string {
  let start = end - 1;
  while (start > 0 && end - start < 4 && isContinuation(bytes[start])) start--;
  return new TextDecoder().decode(bytes.subarray(start, end));
}

/**
 * Where to cut a full buffer so that no tokenizer's pre-tokens are torn: between a letter or number and the blank after it;
 * failing that, before a blank after anything visible; failing that, between two characters. Only the last half is searched.
 */
export function cutPosition(bytes: Uint8Array): number {
  const half = bytes.length >> 1;
  for (const wanted of [/[\p{L}\p{N}]$/u, /\S$/u]) {
    for (let i = bytes.length - 1; i > half; i--) {
      if (isBlank(bytes[i]) && !isBlank(bytes[i - 1]) && wanted.test(characterBefore(bytes, i))) return i;
    }
  }
  let i = bytes.length - 1;
  while (i > bytes.length - 4 && (isContinuation(bytes[i]) || (bytes[i] === LF && bytes[i - 1] === CR))) i--;
  return i;
}

/** The pieces of one text file: UTF-8 with LF line ends and no byte order mark. An empty file has none. */
export function* readTextPieces(path: string, pieceBytes = PIECE_BYTES): Generator<TextItem> {
  const fd = openForReading(path);
  try {
    const buffer = new Uint8Array(pieceBytes);
    let first = true;
    let line = 1;
    let filled = 0;
    for (;;) {
      filled = fill(fd, buffer, filled);
      const last = filled < buffer.length;
      const start = first ? byteOrderMark(path, buffer.subarray(0, filled)) : 0;
      const end = last ? filled : cutPosition(buffer);
      const bytes = withoutCarriageReturns(buffer.slice(start, end));
      checkText(path, bytes, line);
      if (bytes.length > 0) yield { kind: 'text', bytes, first, file: path, line };
      if (last) return;
      line += countLines(bytes);
      first = false;
      buffer.copyWithin(0, end, filled);
      filled -= end;
    }
  } finally {
    closeSync(fd);
  }
}
