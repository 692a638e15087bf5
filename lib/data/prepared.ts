// A folder of prepared tokens: meta.json and the shards that it names.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { FileError } from '../util/errors.ts';
import { parseJSON } from '../util/json_text.ts';
import { show } from '../util/show.ts';
import { Shards } from './shards.ts';
import type { SourceFile } from './source.ts';
import type { Part } from './split.ts';

/** Version of the folder's layout. */
export const PREPARED_FORMAT = 1;
export const META_FILE = 'meta.json';

/** What meta.json says about one part. */
export interface PreparedPart {
  /** File names in the folder. */
  shards: string[];
  tokens: number;
  documents: number;
  /** Tokens that carry loss. */
  targets: number;
  /** UTF-8 bytes of the text. */
  textBytes: number;
  /**
   * Bytes of the text whose tokens are predicted with loss: all but those of the very first token (which nothing precedes,
   * unless it is the end-of-text token, which has none); of examples, the completions. The denominator of bits per byte.
   */
  predictedBytes: number;
}

/** meta.json. */
export interface PreparedMeta {
  format: number;
  source: string;
  /** Files with size and time, to see quickly whether anything changed. */
  files: SourceFile[];
  /** SHA-256 of the content of the source and, where there is one, of the validation source. */
  contentHash: string;
  tokenizerHash: string;
  vocabSize: number;
  /** null where validation has a source of its own. */
  valFraction: number | null;
  train: PreparedPart;
  /** null where nothing was split off. */
  validation: PreparedPart | null;
}

/** Reads and checks meta.json; undefined where there is none. @throws FileError when it is damaged. */
export function readMeta(folder: string): PreparedMeta | undefined {
  const path = join(folder, META_FILE);
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new FileError(path, `cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const meta = parseJSON(path, bytes) as Partial<PreparedMeta> | null;
  if (meta?.format !== PREPARED_FORMAT) throw new FileError(path, `format must be ${PREPARED_FORMAT}, got ${show(meta?.format)}`);
  for (const name of ['train', 'validation'] as const) {
    const part = meta[name];
    if (name === 'validation' && part === null) continue;
    if (
      !Array.isArray(part?.shards) ||
      part.shards.length === 0 ||
      !part.shards.every((shard) => typeof shard === 'string' && /^(train|validation)-\d+\.tokens$/.test(shard))
    ) {
      throw new FileError(path, `${name}.shards must list shard files, got ${show(part?.shards)}`);
    }
    // One named often would be read into memory as often.
    if (new Set(part.shards).size < part.shards.length)
      throw new FileError(path, `${name}.shards must list each file once, got ${show(part.shards)}`);
    for (const field of ['tokens', 'documents', 'targets', 'textBytes', 'predictedBytes'] as const) {
      const value = part[field];
      if (!Number.isSafeInteger(value)) throw new FileError(path, `${name}.${field} must be an integer, got ${show(value)}`);
      if (value < 0) throw new FileError(path, `${name}.${field} must be at least 0, got ${value}`);
    }
  }
  for (const field of ['source', 'contentHash', 'tokenizerHash'] as const) {
    if (typeof meta[field] !== 'string') throw new FileError(path, `${field} must be a string, got ${show(meta[field])}`);
  }
  if (!(Number.isSafeInteger(meta.vocabSize) && (meta.vocabSize as number) > 0))
    throw new FileError(path, `vocabSize must be a positive integer, got ${show(meta.vocabSize)}`);
  if (!Array.isArray(meta.files)) throw new FileError(path, `files must be a list, got ${show(meta.files)}`);
  return meta as PreparedMeta;
}

/** The shards of a prepared folder. */
export interface OpenPrepared {
  meta: PreparedMeta;
  train: Shards;
  validation: Shards | undefined;
  close(): void;
}

/**
 * Opens a folder that `prepare` made.
 * @throws FileError naming file and field when there is none, it is damaged, or its tokens are another tokenizer's.
 */
export function openPrepared(folder: string, options: { tokenizer?: Tokenizer } = {}): OpenPrepared {
  const meta = readMeta(folder);
  if (meta === undefined)
    throw new FileError(join(folder, META_FILE), 'no such file', {
      hint: 'Prepare the data first: heddle prepare CONFIG.yaml --data FILE|FOLDER',
    });
  const open = (name: Part, part: PreparedPart): Shards => {
    const shards = new Shards(
      part.shards.map((file) => join(folder, file)),
      options,
    );
    const wrong = (field: string, expected: string, got: number): FileError => {
      shards.close();
      return new FileError(join(folder, META_FILE), `${field} must be ${expected} as the shards say, got ${got}`);
    };
    for (const [field, value] of [
      ['tokens', shards.length],
      ['documents', shards.documents],
      ['targets', shards.targets],
      ['textBytes', shards.textBytes],
    ] as const)
      if (part[field] !== value) throw wrong(`${name}.${field}`, String(value), part[field]);
    if (part.predictedBytes > part.textBytes) throw wrong(`${name}.predictedBytes`, `at most ${part.textBytes}`, part.predictedBytes);
    if (meta.vocabSize !== shards.vocabSize) throw wrong('vocabSize', String(shards.vocabSize), meta.vocabSize);
    return shards;
  };
  const train = open('train', meta.train);
  try {
    const validation = meta.validation === null ? undefined : open('validation', meta.validation);
    return {
      meta,
      train,
      validation,
      close() {
        train.close();
        validation?.close();
      },
    };
  } catch (error) {
    train.close();
    throw error;
  }
}
