// Damage that knows nothing of the format: bits, bytes, ranges, integers in binary headers, byte sequences that decoders fear.
import type { Draw } from './draw.ts';

/** Makes a hostile file of a good one. `donor`: another file of the same kind, to splice with. */
export type Mutator = (draw: Draw, bytes: Uint8Array, donor: Uint8Array) => Uint8Array;

/** Nothing grows beyond this: what is sought are wrong readers, not slow disks. */
export const MOST_BYTES = 256 << 10;

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Byte order marks, NUL, line ends, invalid UTF-8: overlong, a surrogate, beyond U+10FFFF, cut short; a terminal's escape. */
const SEQUENCES = [
  ...['\xef\xbb\xbf', '\xff\xfe', '\xfe\xff', '\0', '\r\n', '\r', '\n', '\n\n', '\xc0\xaf', '\xed\xa0\x80', '\xf4\x90\x80\x80', '\xe4\xba'],
  ...['\xff', '\x1b[31m', '\u0085', '"', '\\', '{', '}', '[', ']', ',', ':', ' ', '\t', '-', '.', 'e', '#', '%', '&', '*', '!'],
].map(latin1);

const BYTES = [0, 1, 2, 0x0a, 0x0d, 0x20, 0x22, 0x2c, 0x30, 0x7b, 0x7d, 0x7f, 0x80, 0xbf, 0xc0, 0xef, 0xf0, 0xfe, 0xff];

export const NUMBERS: readonly number[] = [
  ...[0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 257, 511, 512, 1023, 1024, 4095, 4096, 65535, 65536, 1e6, 2 ** 24, 2 ** 28],
  ...[2 ** 30, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 33, 2 ** 40, 2 ** 53 - 1, 2 ** 53, 2 ** 63, -1, -2, -(2 ** 31)],
];

/** Replaces `bytes[start, end)`. */
export function replaced(bytes: Uint8Array, start: number, end: number, by: Uint8Array): Uint8Array {
  const out = new Uint8Array(start + by.length + bytes.length - end);
  out.set(bytes.subarray(0, start));
  out.set(by, start);
  out.set(bytes.subarray(end), start + by.length);
  return out.length > MOST_BYTES ? out.subarray(0, MOST_BYTES) : out;
}

function withInteger(draw: Draw, bytes: Uint8Array): Uint8Array {
  const width = draw.pick([1, 2, 4, 4, 8, 8]);
  if (bytes.length < width) return bytes;
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  // Headers stand in front and are aligned.
  const room = (draw.oneIn(3) ? bytes.length : Math.min(bytes.length, 64)) - width;
  const at = draw.oneIn(4) ? draw.below(room + 1) : draw.below(Math.floor(room / width) + 1) * width;
  const value = draw.oneIn(4) ? draw.pick([bytes.length, bytes.length - 1, bytes.length + 1, bytes.length * 2]) : draw.pick(NUMBERS);
  if (width === 1) view.setUint8(at, value);
  else if (width === 2) view.setUint16(at, value, true);
  else if (width === 4) view.setUint32(at, value, true);
  else if (draw.oneIn(3)) view.setFloat64(at, draw.pick([value, Number.NaN, Number.POSITIVE_INFINITY, 0.5, -0]), true);
  else view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
  return out;
}

/** Another number in the place of one that stands in a text. */
function withNumber(draw: Draw, bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString('latin1');
  const numbers = [...text.matchAll(/-?\d+(\.\d+)?(e[+-]?\d+)?/g)];
  if (numbers.length === 0) return withInteger(draw, bytes);
  const found = draw.pick(numbers);
  const by = draw.oneIn(3)
    ? String(Number(found[0]) + draw.pick([1, -1, 2, 10]))
    : draw.pick([...NUMBERS.map(String), '1e400', '-1e400', '1e-400', '0.5', '-0', '1e2', '00', '0x10', '1_000', '12345678901234567890']);
  return replaced(bytes, found.index, found.index + found[0].length, latin1(by));
}

const operations: readonly Mutator[] = [
  (draw, bytes) => {
    const out = bytes.slice();
    if (out.length > 0) {
      const at = draw.below(out.length);
      out[at] = (out[at] as number) ^ (1 << draw.below(8));
    }
    return out;
  },
  (draw, bytes) => {
    const out = bytes.slice();
    if (out.length > 0) out[draw.below(out.length)] = draw.oneIn(2) ? draw.pick(BYTES) : draw.below(256);
    return out;
  },
  (draw, bytes) => bytes.subarray(0, draw.oneIn(3) ? draw.below(Math.min(bytes.length, 16) + 1) : draw.below(bytes.length + 1)),
  (draw, bytes) => {
    const at = draw.below(bytes.length + 1);
    return replaced(bytes, at, at, draw.pick(SEQUENCES));
  },
  (draw, bytes) => {
    const at = draw.below(bytes.length + 1);
    const [start, end] = draw.range(bytes.length, 64);
    return replaced(bytes, at, at, bytes.subarray(start, end));
  },
  (draw, bytes) => {
    const [start, end] = draw.range(bytes.length, 64);
    return replaced(bytes, start, end, new Uint8Array(0));
  },
  (draw, bytes) => {
    const [start, end] = draw.range(bytes.length, 32);
    return replaced(bytes, start, end, draw.oneIn(2) ? new Uint8Array(end - start) : draw.pick(SEQUENCES));
  },
  (draw, bytes, donor) => {
    const [start, end] = draw.range(donor.length);
    const at = draw.below(bytes.length + 1);
    return draw.oneIn(2) ? replaced(bytes, at, bytes.length, donor.subarray(start)) : replaced(bytes, at, at, donor.subarray(start, end));
  },
  withInteger,
  withInteger,
  withNumber,
  withNumber,
  (draw, bytes) => {
    // Once in a while something much longer than anybody writes.
    const [start, end] = draw.range(bytes.length, 16);
    const unit = Buffer.from(start === end ? draw.pick(SEQUENCES) : bytes.subarray(start, end));
    return replaced(bytes, end, end, Buffer.alloc(draw.oneIn(8) ? 65536 : 1024, unit));
  },
];

export const mutateBytes: Mutator = (draw, bytes, donor) => {
  let out = bytes;
  for (let n = draw.length(4); n > 0; n--) out = draw.pick(operations)(draw, out, donor);
  return out;
};

/** Mutators in turn, each as often as its weight says. */
export function oneOf(...weighted: readonly (readonly [weight: number, mutator: Mutator])[]): Mutator {
  const [mutators, weights] = [weighted.map(([, mutator]) => mutator), weighted.map(([weight]) => weight)];
  return (draw, bytes, donor) => draw.weighted(mutators, weights)(draw, bytes, donor);
}
