/** The classes of characters that the split patterns tell apart. */
export const OTHER = 1;
export const LETTER = 2;
export const NUMBER = 3;
export const SPACE = 4;

/** Low bits of what `charAt` returns hold the class, the bits above them the length in bytes. */
export const CLASS_BITS = 3;
export const CLASS_MASK = 7;

const letterPattern = /^\p{L}$/u;
const numberPattern = /^\p{N}$/u;
const spacePattern = /^\s$/u;

// One byte for every code point; 0 means "not looked up yet". Pages of 256 are filled when a text first needs them:
// asking the regular expressions about all of Unicode at start-up would take a tenth of a second.
const classes = new Uint8Array(0x110000);

/** Class of each ASCII byte; 0 for bytes from 0x80 on, which need decoding. */
export const ASCII_CLASS = new Uint8Array(256);

function classify(codePoint: number): number {
  const character = String.fromCodePoint(codePoint);
  if (letterPattern.test(character)) return LETTER;
  if (numberPattern.test(character)) return NUMBER;
  return spacePattern.test(character) ? SPACE : OTHER;
}

function fillPage(codePoint: number): void {
  const first = codePoint & ~0xff;
  for (let c = first; c < first + 256; c++) classes[c] = classify(c);
}

fillPage(0);
ASCII_CLASS.set(classes.subarray(0, 128));

/** Class of a code point: OTHER, LETTER, NUMBER or SPACE, as JavaScript's `\p{L}`, `\p{N}` and `\s` have it. */
export function classOf(codePoint: number): number {
  if (classes[codePoint] === 0) fillPage(codePoint);
  return classes[codePoint] as number;
}

/**
 * Length in bytes of the well-formed UTF-8 sequence at `i`, or 0 where there is none (stray continuation, overlong form,
 * surrogate, beyond U+10FFFF, cut off by `end`).
 */
export function sequenceLength(bytes: Uint8Array, i: number, end: number): number {
  const a = bytes[i] as number;
  if (a < 0x80) return 1;
  if (a < 0xc2 || a > 0xf4) return 0;
  const b = i + 1 < end ? (bytes[i + 1] as number) : 0;
  if ((b & 0xc0) !== 0x80) return 0;
  if (a < 0xe0) return 2;
  const c = i + 2 < end ? (bytes[i + 2] as number) : 0;
  if ((c & 0xc0) !== 0x80) return 0;
  if (a < 0xf0) return (a === 0xe0 && b < 0xa0) || (a === 0xed && b > 0x9f) ? 0 : 3;
  const d = i + 3 < end ? (bytes[i + 3] as number) : 0;
  if ((d & 0xc0) !== 0x80) return 0;
  return (a === 0xf0 && b < 0x90) || (a === 0xf4 && b > 0x8f) ? 0 : 4;
}

/** Code point of the well-formed sequence of `length` bytes at `i`. */
export function codePointAt(bytes: Uint8Array, i: number, length: number): number {
  const a = bytes[i] as number;
  if (length === 1) return a;
  const b = (bytes[i + 1] as number) & 0x3f;
  if (length === 2) return ((a & 0x1f) << 6) | b;
  const c = (bytes[i + 2] as number) & 0x3f;
  if (length === 3) return ((a & 0x0f) << 12) | (b << 6) | c;
  return ((a & 0x07) << 18) | (b << 12) | (c << 6) | ((bytes[i + 3] as number) & 0x3f);
}

/**
 * The character at `i` as `length << CLASS_BITS | class`. A byte that belongs to no well-formed sequence counts as one
 * character of class OTHER, as U+FFFD would.
 */
export function charAt(bytes: Uint8Array, i: number, end: number): number {
  const ascii = ASCII_CLASS[bytes[i] as number] as number;
  if (ascii !== 0) return (1 << CLASS_BITS) | ascii;
  const length = sequenceLength(bytes, i, end);
  if (length === 0) return (1 << CLASS_BITS) | OTHER;
  return (length << CLASS_BITS) | classOf(codePointAt(bytes, i, length));
}
