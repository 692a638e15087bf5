// A shard: tokens in a file, little-endian, to be read by position.
//
//   0    256 bytes of header (below)
//   256  count tokens of 2 or 4 bytes, padded with zeros to a multiple of 8
//        count mask bytes (1 = loss), padded to a multiple of 8, if flag bit 0 is set
//        documents x u32: the positions at which documents begin, ascending
//
//   header  0 magic "heddleTK"      8 u32 version        12 u32 bytes of a token (2 or 4)
//          16 u32 flags            20 u32 vocabulary     24 u32 end-of-text id, 2^32-1 if none
//          28 u32 documents        32 f64 count          40 f64 tokens with loss
//          48 f64 bytes of text    56 u32 CRC-32 of everything after the header
//          60 u32 length of the tokenizer's hash, then up to 128 bytes of it, then zeros
//         252 u32 CRC-32 of bytes 0..251
//
// Counts are f64 because that is what JavaScript counts in; they are integers.
import { endianness } from 'node:os';
import { crc32 } from 'node:zlib';
import { ArgumentError, FileError, HeddleError } from '../util/errors.ts';

export const HEADER_BYTES = 256;
const MAGIC = 'heddleTK';
const VERSION = 1;
const HASH_AT = 64;
const HASH_BYTES = 128;
const CHECKSUM_AT = 252;
const NO_TOKEN = 0xffffffff;
const FLAG_MASKED = 1;

/** What the header of a shard says. */
export interface ShardHeader {
  tokenBytes: 2 | 4;
  masked: boolean;
  vocabSize: number;
  endOfText: number | undefined;
  documents: number;
  /** Tokens. */
  count: number;
  /** Tokens that carry loss. */
  targets: number;
  /** UTF-8 bytes of the text that the tokens stand for. */
  textBytes: number;
  /** CRC-32 of everything after the header. */
  payloadChecksum: number;
  tokenizerHash: string;
}

/** Bytes of a token for a vocabulary: 2 up to 65,536 tokens, else 4. */
export function tokenBytesFor(vocabSize: number): 2 | 4 {
  return vocabSize <= 0x10000 ? 2 : 4;
}

const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** Where the sections of a shard begin and where it ends, in bytes. */
export function layout(header: Pick<ShardHeader, 'tokenBytes' | 'masked' | 'documents' | 'count'>): {
  tokens: number;
  mask: number;
  starts: number;
  end: number;
} {
  const mask = HEADER_BYTES + padded(header.count * header.tokenBytes);
  const starts = mask + (header.masked ? padded(header.count) : 0);
  return { tokens: HEADER_BYTES, mask, starts, end: starts + header.documents * 4 };
}

/** Shards are read as they lie, so a big-endian machine (none that Node's releases run heddle on) cannot. */
export function checkEndianness(): void {
  if (endianness() !== 'LE') throw new HeddleError('ERR_HEDDLE_PLATFORM', 'shards: need a little-endian machine');
}

/** @throws ArgumentError when the tokenizer's hash is longer than the header has room for. */
export function encodeHeader(header: ShardHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const hash = new TextEncoder().encode(header.tokenizerHash);
  if (hash.length > HASH_BYTES) throw new ArgumentError(`shard: tokenizer hash must be at most ${HASH_BYTES} bytes, got ${hash.length}`);
  bytes.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, VERSION, true);
  view.setUint32(12, header.tokenBytes, true);
  view.setUint32(16, header.masked ? FLAG_MASKED : 0, true);
  view.setUint32(20, header.vocabSize, true);
  view.setUint32(24, header.endOfText ?? NO_TOKEN, true);
  view.setUint32(28, header.documents, true);
  view.setFloat64(32, header.count, true);
  view.setFloat64(40, header.targets, true);
  view.setFloat64(48, header.textBytes, true);
  view.setUint32(56, header.payloadChecksum, true);
  view.setUint32(60, hash.length, true);
  bytes.set(hash, HASH_AT);
  view.setUint32(CHECKSUM_AT, crc32(bytes.subarray(0, CHECKSUM_AT)), true);
  return bytes;
}

/**
 * Reads a header and checks every field of it, and the length of the file against it.
 * @throws FileError naming the file and the field.
 */
export function decodeHeader(path: string, bytes: Uint8Array, fileBytes: number): ShardHeader {
  const must = (field: string, expected: string, got: string | number): FileError =>
    new FileError(path, `${field} must be ${expected}, got ${got}`);
  if (bytes.length < HEADER_BYTES) throw must('header', `${HEADER_BYTES} bytes`, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const magic = Buffer.from(bytes.subarray(0, 8)).toString('latin1');
  if (magic !== MAGIC) throw must('magic', JSON.stringify(MAGIC), JSON.stringify(magic));
  const version = view.getUint32(8, true);
  if (version !== VERSION) throw must('version', String(VERSION), version);
  const checksum = crc32(bytes.subarray(0, CHECKSUM_AT));
  const stored = view.getUint32(CHECKSUM_AT, true);
  if (checksum !== stored) throw must('header checksum', stored.toString(16), checksum.toString(16));
  const tokenBytes = view.getUint32(12, true);
  if (tokenBytes !== 2 && tokenBytes !== 4) throw must('token bytes', '2 or 4', tokenBytes);
  const flags = view.getUint32(16, true);
  if (flags > FLAG_MASKED) throw must('flags', `0 or ${FLAG_MASKED}`, flags);
  const hashBytes = view.getUint32(60, true);
  if (hashBytes > HASH_BYTES) throw must('tokenizer hash length', `at most ${HASH_BYTES}`, hashBytes);
  const endOfText = view.getUint32(24, true);
  const header: ShardHeader = {
    tokenBytes,
    masked: flags === FLAG_MASKED,
    vocabSize: view.getUint32(20, true),
    endOfText: endOfText === NO_TOKEN ? undefined : endOfText,
    documents: view.getUint32(28, true),
    count: view.getFloat64(32, true),
    targets: view.getFloat64(40, true),
    textBytes: view.getFloat64(48, true),
    payloadChecksum: view.getUint32(56, true),
    tokenizerHash: new TextDecoder().decode(bytes.subarray(HASH_AT, HASH_AT + hashBytes)),
  };
  if (!Number.isSafeInteger(header.count) || header.count < 0) throw must('count', 'an integer of at least 0', header.count);
  if (!(header.targets >= 0 && header.targets <= header.count)) throw must('targets', `from 0 to ${header.count}`, header.targets);
  if (!Number.isInteger(header.targets)) throw must('targets', 'an integer', header.targets);
  if (!Number.isSafeInteger(header.textBytes) || header.textBytes < 0)
    throw must('bytes of text', 'an integer of at least 0', header.textBytes);
  if (header.endOfText !== undefined && header.endOfText >= header.vocabSize)
    throw must('end of text', `below ${header.vocabSize}`, header.endOfText);
  if (header.documents > header.count) throw must('documents', `at most ${header.count}`, header.documents);
  const { end } = layout(header);
  if (fileBytes !== end)
    throw must('file size', `${end} bytes for count ${header.count}`, `${fileBytes}${fileBytes < end ? ' (the file was cut short)' : ''}`);
  return header;
}
