import { ASCII_CLASS, CLASS_BITS, CLASS_MASK, charAt, SPACE } from './utf8.ts';

/**
 * GPT-2's split pattern as published: contractions, then words, numbers and runs of anything else, each with one space
 * before it, then whitespace, whose last character is left to the word that follows.
 *
 * Text is split by `pieceEnd`, which does the same on UTF-8 bytes without making strings. Two rules go beyond the pattern:
 * - A byte that belongs to no well-formed UTF-8 sequence is one character that is neither letter, number nor space (as
 *   U+FFFD is). Pieces are slices of the bytes, so such bytes come back from decoding as they were.
 * - `\s` is JavaScript's. It holds U+FEFF and not U+0085; in Python and Rust it is the other way round.
 */
export const GPT2_PATTERN = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

const BLANK = 0x20;
const APOSTROPHE = 0x27;

/** End of the piece that starts at `start`; always beyond it. `end` is the end of the text, where no piece goes on. */
export function pieceEnd(bytes: Uint8Array, start: number, end: number): number {
  const first = bytes[start] as number;
  if (first === APOSTROPHE) {
    const contraction = contractionEnd(bytes, start, end);
    if (contraction !== 0) return contraction;
  }
  const classes = ASCII_CLASS;
  let i = first === BLANK && start + 1 < end ? start + 1 : start;
  let kind = classes[bytes[i] as number] as number;
  if (kind === 0) {
    const character = charAt(bytes, i, end);
    kind = character & CLASS_MASK;
    i += character >>> CLASS_BITS;
  } else {
    i++;
  }
  if (kind === SPACE) return spaceEnd(bytes, start, end);
  for (;;) {
    while (i < end && classes[bytes[i] as number] === kind) i++;
    if (i >= end || classes[bytes[i] as number] !== 0) return i;
    const character = charAt(bytes, i, end);
    if ((character & CLASS_MASK) !== kind) return i;
    i += character >>> CLASS_BITS;
  }
}

/** End of 's, 't, 're, 've, 'm, 'll or 'd at `start`; 0 if there is none. */
function contractionEnd(bytes: Uint8Array, start: number, end: number): number {
  if (start + 1 >= end) return 0;
  const a = String.fromCharCode(bytes[start + 1] as number);
  if (a === 's' || a === 't' || a === 'm' || a === 'd') return start + 2;
  if (start + 2 >= end) return 0;
  const b = String.fromCharCode(bytes[start + 2] as number);
  return (b === 'e' && (a === 'r' || a === 'v')) || (a === 'l' && b === 'l') ? start + 3 : 0;
}

/** `\s+(?!\S)|\s+`: the whole run at the end of the text, else all but its last character, of which there may be one only. */
function spaceEnd(bytes: Uint8Array, start: number, end: number): number {
  let last = start;
  let i = start;
  while (i < end) {
    const character = charAt(bytes, i, end);
    if ((character & CLASS_MASK) !== SPACE) break;
    last = i;
    i += character >>> CLASS_BITS;
  }
  return i === end || last === start ? i : last;
}
