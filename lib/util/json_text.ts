import { FileError } from './errors.ts';

/** Nobody nests deeper. What walks a value recursively, as `JSON.stringify` does, would run out of stack far beyond it. */
export const MAX_NESTING = 200;

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];

/** @throws FileError where lists and objects of a JSON text stand within each other deeper than `MAX_NESTING` */
export function checkNesting(file: string, bytes: Uint8Array, what = ''): void {
  if (isTooDeep(bytes)) throw new FileError(file, `${what}must be JSON nested at most ${MAX_NESTING} deep`);
}

/** Whether lists and objects of a JSON text in UTF-8 stand within each other deeper than `MAX_NESTING`. */
function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      for (i++; i < bytes.length && bytes[i] !== QUOTE; i++) if (bytes[i] === BACKSLASH) i++;
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > MAX_NESTING) return true;
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
  }
  return false;
}

/**
 * The value of a JSON text in UTF-8. `what` stands in errors before what is wrong, where it is not the whole file: `line 3: `.
 * @throws FileError for other bytes, other text, and lists or objects nested deeper than anybody writes
 */
export function parseJSON(file: string, bytes: Uint8Array, what = ''): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FileError(file, `${what}must be UTF-8 text: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  checkNesting(file, bytes, what);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FileError(file, `${what}must be JSON: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}
