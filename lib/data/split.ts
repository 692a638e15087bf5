// The split into training and validation text: the last part of the bytes (nanoGPT's split), at a character boundary, the
// same for tokens, the n-gram yardstick and the finetuning task.
import { createHash, type Hash } from 'node:crypto';
import { ArgumentError } from '../util/errors.ts';
import type { Source, SourceItem } from './source.ts';

export type Part = 'train' | 'validation';

/** What one reading of a source found, and where the validation part begins. */
export interface SplitPlan {
  /** Bytes of all text, prompts and completions. */
  bytes: number;
  examples: number;
  /** SHA-256 of the content, hexadecimal: does not depend on file names or times. */
  contentHash: string;
  /** What `cut` counts: examples where there is nothing else, bytes otherwise. */
  unit: 'bytes' | 'examples';
  /** Validation begins here. */
  cut: number;
}

/** @throws ArgumentError unless 0 <= valFraction < 1. */
export function checkFraction(what: string, valFraction: number): void {
  if (!(valFraction >= 0 && valFraction < 1))
    throw new ArgumentError(`${what}: valFraction must be at least 0 and below 1, got ${valFraction}`);
}

// Marks where documents, prompts and completions begin; the first byte stands in no UTF-8. Where pieces end leaves no mark.
const DOCUMENT = new Uint8Array([0xff, 1]);
const PROMPT = new Uint8Array([0xff, 2]);
const COMPLETION = new Uint8Array([0xff, 3]);

function hashItem(hash: Hash, item: SourceItem): void {
  if (item.kind === 'example') {
    hash.update(PROMPT).update(item.prompt).update(COMPLETION).update(item.completion);
  } else {
    if (item.first) hash.update(DOCUMENT);
    hash.update(item.bytes);
  }
}

const sizeOf = (item: SourceItem): number =>
  item.kind === 'text' ? item.bytes.length : Buffer.byteLength(item.prompt) + Buffer.byteLength(item.completion);

/**
 * Reads a source once to find its size and content hash, and says where the last `valFraction` of it begins. `onBytes` is
 * called and awaited after every item.
 */
export async function planSplit(source: Source, valFraction: number, onBytes?: (bytes: number) => Promise<void>): Promise<SplitPlan> {
  checkFraction('planSplit', valFraction);
  const hash = createHash('sha256');
  let bytes = 0;
  let examples = 0;
  let texts = 0;
  for (const item of source.items()) {
    hashItem(hash, item);
    bytes += sizeOf(item);
    if (item.kind === 'example') examples++;
    else texts++;
    await onBytes?.(bytes);
  }
  const unit = texts === 0 ? 'examples' : 'bytes';
  const cut = Math.floor((unit === 'bytes' ? bytes : examples) * (1 - valFraction));
  return { bytes, examples, contentHash: hash.digest('hex'), unit, cut };
}

/** The first character boundary of UTF-8 at or after `offset`. */
function characterBoundary(bytes: Uint8Array, offset: number): number {
  let at = Math.min(offset, bytes.length);
  while (at < bytes.length && ((bytes[at] as number) & 0xc0) === 0x80) at++;
  return at;
}

/** Both parts of one text in memory; cuts where `splitItems` cuts. */
export function splitBytes(bytes: Uint8Array, valFraction: number): Record<Part, Uint8Array> {
  checkFraction('splitBytes', valFraction);
  const cut = characterBoundary(bytes, Math.floor(bytes.length * (1 - valFraction)));
  return { train: bytes.subarray(0, cut), validation: bytes.subarray(cut) };
}

/**
 * The items of one part. A document in which the cut falls gives its beginning to training and its end to validation; an
 * example goes whole to the part in which it begins.
 */
export function* splitItems(source: Source, plan: SplitPlan, part: Part): Generator<SourceItem> {
  let before = 0;
  let begun = false;
  for (const item of source.items()) {
    const at = before;
    before += plan.unit === 'examples' ? 1 : sizeOf(item);
    if (part === 'train' && at >= plan.cut) return;
    if (part === 'validation' && before <= plan.cut) continue;
    if (item.kind === 'example') {
      if (at < plan.cut === (part === 'train')) yield item;
      continue;
    }
    const cut = at >= plan.cut ? 0 : characterBoundary(item.bytes, plan.cut - at);
    const bytes = part === 'train' ? item.bytes.subarray(0, cut) : item.bytes.subarray(cut);
    if (bytes.length === 0) continue;
    yield { ...item, bytes, first: item.first || !begun };
    begun = true;
  }
}

/** The text of one part in one array, documents and examples one after the other; reading stops at `maxBytes`. */
export function readPart(source: Source, plan: SplitPlan, part: Part, maxBytes = 2 ** 30): Uint8Array {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (const item of splitItems(source, plan, part)) {
    const piece = item.kind === 'text' ? item.bytes : new TextEncoder().encode(item.prompt + item.completion);
    pieces.push(piece);
    size += piece.length;
    if (size >= maxBytes) break;
  }
  return new Uint8Array(Buffer.concat(pieces).subarray(0, maxBytes));
}
