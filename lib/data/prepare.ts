// Text to tokens, once: a folder with train-000.tokens ..., validation-000.tokens ... and meta.json, which is written last, so
// a folder that has one is complete.
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { isAlive, makeFolder, naming, removeFile, writeFileAtomic } from '../util/files.ts';
import { PartWriter } from './part_writer.ts';
import { META_FILE, openPrepared, PREPARED_FORMAT, type PreparedMeta, type PreparedPart, readMeta } from './prepared.ts';
import { openSource, type Source, type SourceFile } from './source.ts';
import { checkFraction, type Part, planSplit, type SplitPlan, splitItems } from './split.ts';

/** 2^27 tokens: shards of a quarter of a gigabyte. */
const SHARD_TOKENS = 2 ** 27;
/** Between two chances for the event loop. */
const TURN_MS = 20;

/** How far `prepare` is. */
export interface PrepareProgress {
  /** First the source is read once for its size and hash, then tokenized. */
  phase: 'reading' | 'tokenizing';
  /** Bytes of text done, of how many; the total is that of the files while reading, 0 where it is not known. */
  bytes: number;
  totalBytes: number;
}

export interface PrepareOptions {
  /** A file, a folder, or any source. */
  source: string | Source;
  tokenizer: Tokenizer;
  /** The folder for shards and meta.json; made where missing. */
  out: string;
  /** The last part of the text goes to validation; default 0.1, 0 for none. Not together with `valSource`. */
  valFraction?: number;
  /** Validation text of its own. */
  valSource?: string | Source;
  /** Tokens of a shard at most. */
  shardTokens?: number;
  onProgress?: (progress: PrepareProgress) => void;
  signal?: AbortSignal;
}

/** A prepared folder. */
export interface Prepared {
  folder: string;
  meta: PreparedMeta;
  /** True when the shards were there already. */
  reused: boolean;
}

/** Lets the event loop run every few milliseconds of work, and ends the work when the signal says so. */
function pacer(signal: AbortSignal | undefined): () => Promise<void> {
  let last = performance.now();
  return async () => {
    signal?.throwIfAborted();
    if (performance.now() - last < TURN_MS) return;
    await setImmediate();
    last = performance.now();
    signal?.throwIfAborted();
  };
}

/** True if the folder can be opened as it is. */
function opens(folder: string, tokenizer: Tokenizer): boolean {
  try {
    openPrepared(folder, { tokenizer }).close();
    return true;
  } catch (error) {
    if (error instanceof FileError) return false;
    throw error;
  }
}

function knownMeta(folder: string): PreparedMeta | undefined {
  try {
    return readMeta(folder);
  } catch (error) {
    if (error instanceof FileError) return undefined; // damaged: made again
    throw error;
  }
}

/** Removes shards that meta.json does not name, and temporary files of processes that are gone. */
function removeLeftovers(folder: string, keep: readonly string[]): void {
  for (const name of naming(folder, 'list', () => readdirSync(folder))) {
    const match = /^(?:train|validation)-\d+\.tokens(?:\.(\d+)\.tmp)?$/.exec(name);
    if (match === null || keep.includes(name)) continue;
    if (match[1] !== undefined && Number(match[1]) !== process.pid && isAlive(Number(match[1]))) continue;
    naming(join(folder, name), 'remove', () => rmSync(join(folder, name), { force: true }));
  }
}

/** Makes the folder complete. */
function writeMeta(folder: string, meta: PreparedMeta): void {
  writeFileAtomic(join(folder, META_FILE), `${JSON.stringify(meta, null, 2)}\n`);
}

const sameFiles = (a: readonly SourceFile[], b: readonly SourceFile[]): boolean =>
  a.length > 0 &&
  a.length === b.length &&
  a.every((file, i) => file.path === b[i]?.path && file.size === b[i]?.size && file.mtimeMs === b[i]?.mtimeMs);

/**
 * Tokenizes a source once into shards of `out`. The last tenth of the text (or `valFraction`, or `valSource`) becomes the
 * validation part. When the folder holds the same content in the same tokenizer's tokens already, it is used as it is. Works in
 * turns of some milliseconds, so timers and signals keep going; equal input gives equal files.
 * @throws ArgumentError for a bad fraction; FileError naming file and line for text that cannot be used; the signal's reason.
 */
export async function prepare(options: PrepareOptions): Promise<Prepared> {
  const { tokenizer, out: folder, signal, onProgress, shardTokens = SHARD_TOKENS } = options;
  const valFraction = options.valFraction ?? (options.valSource === undefined ? 0.1 : 0);
  checkFraction('prepare', valFraction);
  if (options.valSource !== undefined && valFraction > 0) throw new ArgumentError('prepare: give valFraction or valSource, not both');
  if (!(Number.isInteger(shardTokens) && shardTokens > 0 && shardTokens < 2 ** 32))
    throw new ArgumentError(`prepare: shardTokens must be from 1 to 2^32-1, got ${shardTokens}`);
  const toSource = (value: string | Source): Source => (typeof value === 'string' ? openSource(value) : value);
  const source = toSource(options.source);
  const valSource = options.valSource === undefined ? undefined : toSource(options.valSource);
  const files = [...source.files, ...(valSource?.files ?? [])];
  const inMemory = source.files.length === 0 || valSource?.files.length === 0;

  const old = knownMeta(folder);
  const usable = old !== undefined && old.valFraction === (valSource === undefined ? valFraction : null) && opens(folder, tokenizer);
  if (usable && !inMemory && sameFiles(old.files, files)) return { folder, meta: old, reused: true };

  const turn = pacer(signal);
  const fileBytes = files.reduce((sum, file) => sum + file.size, 0);
  const plan = await planSplit(source, valFraction, async (bytes) => {
    onProgress?.({ phase: 'reading', bytes, totalBytes: fileBytes });
    await turn();
  });
  const valPlan = valSource === undefined ? undefined : await planSplit(valSource, 0, turn);
  const contentHash = valPlan === undefined ? plan.contentHash : `${plan.contentHash}+${valPlan.contentHash}`;
  if (usable && old.contentHash === contentHash) {
    const meta = { ...old, source: source.name, files };
    writeMeta(folder, meta);
    return { folder, meta, reused: true };
  }

  makeFolder(folder);
  removeFile(join(folder, META_FILE)); // before the first shard: an old one must not vouch for new shards
  const totalBytes = plan.bytes + (valPlan?.bytes ?? 0);
  let bytes = 0;
  const write = async (name: Part, from: Source, fromPlan: SplitPlan, part: Part): Promise<PreparedPart> => {
    const writer = new PartWriter(folder, name, tokenizer, fromPlan.examples > 0, shardTokens);
    try {
      for (const item of splitItems(from, fromPlan, part)) {
        writer.add(item);
        bytes += item.kind === 'text' ? item.bytes.length : Buffer.byteLength(item.prompt + item.completion);
        onProgress?.({ phase: 'tokenizing', bytes, totalBytes });
        await turn();
      }
      return writer.finish(from);
    } catch (error) {
      writer.abandon();
      throw error;
    }
  };
  const train = await write('train', source, plan, 'train');
  let validation: PreparedPart | null = null;
  if (valSource !== undefined && valPlan !== undefined) validation = await write('validation', valSource, valPlan, 'train');
  else if (valFraction > 0) validation = await write('validation', source, plan, 'validation');
  const meta: PreparedMeta = {
    format: PREPARED_FORMAT,
    source: source.name,
    files,
    contentHash,
    tokenizerHash: tokenizer.hash(),
    vocabSize: tokenizer.vocabSize,
    valFraction: valSource === undefined ? valFraction : null,
    train,
    validation,
  };
  removeLeftovers(folder, [...train.shards, ...(validation?.shards ?? [])]);
  writeMeta(folder, meta);
  return { folder, meta, reused: false };
}
