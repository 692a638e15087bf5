// Token files of llm.c (`tinyshakespeare_val.bin`, `fineweb_train_000001.bin`): 256 header words, then tokens of 2 or 4 bytes,
// little-endian. An end-of-text token stands before each document.
import { closeSync, fstatSync, readSync } from 'node:fs';
import { ArgumentError, FileError } from '../util/errors.ts';
import { naming } from '../util/files.ts';
import { checkEndianness } from './shard_format.ts';
import { openForReading } from './text_file.ts';
import { MemoryTokens } from './tokens.ts';

const HEADER_BYTES = 1024;
/** Magic number and version of the two kinds. */
const KINDS = [
  { magic: 20240520, version: 1, tokenBytes: 2 },
  { magic: 20240801, version: 7, tokenBytes: 4 },
] as const;

function readFully(file: string, fd: number, out: Uint8Array, position: number): void {
  for (let done = 0; done < out.length; ) {
    const got = naming(file, 'read', () => readSync(fd, out, done, out.length - done, position + done));
    if (got === 0) throw new FileError(file, `tokens end at byte ${position + done}, the header says they go on`);
    done += got;
  }
}

function readFile(file: string): Uint16Array | Uint32Array {
  const fd = openForReading(file);
  try {
    const size = fstatSync(fd).size;
    if (size < HEADER_BYTES) throw new FileError(file, `header must be ${HEADER_BYTES} bytes, the file holds ${size}`);
    const header = new Int32Array(HEADER_BYTES / 4);
    readFully(file, fd, new Uint8Array(header.buffer), 0);
    const [magic, version, count = 0] = header;
    const kind = KINDS.find((k) => k.magic === magic);
    if (!kind) throw new FileError(file, `magic must be ${KINDS.map((k) => k.magic).join(' or ')}, that of tokens of llm.c, got ${magic}`);
    if (version !== kind.version) throw new FileError(file, `version must be ${kind.version} for magic ${magic}, got ${version}`);
    const bytes = HEADER_BYTES + count * kind.tokenBytes;
    if (count < 1 || size !== bytes) throw new FileError(file, `file size must be ${bytes} bytes for ${count} tokens, got ${size}`);
    const tokens = kind.tokenBytes === 2 ? new Uint16Array(count) : new Uint32Array(count);
    readFully(file, fd, new Uint8Array(tokens.buffer), HEADER_BYTES);
    return tokens;
  } finally {
    closeSync(fd);
  }
}

export interface LLMCTokensOptions {
  /** Default 50257, that of GPT-2. */
  vocabSize?: number;
  /** Default 50256, that of GPT-2. */
  endOfText?: number;
}

/**
 * Reads token files of llm.c into memory as one row, for a `Loader`. Documents begin at the end-of-text tokens.
 * @throws FileError naming the file and the field that is wrong
 */
export function readLLMCTokens(files: readonly string[], options: LLMCTokensOptions = {}): MemoryTokens {
  checkEndianness();
  const { vocabSize = 50257, endOfText = 50256 } = options;
  if (files.length === 0) throw new ArgumentError('readLLMCTokens: files must name at least one file, got none');
  const parts = files.map((file) => {
    const tokens = readFile(file);
    const wrong = tokens.findIndex((token) => token >= vocabSize);
    if (wrong >= 0) throw new FileError(file, `token ${wrong} must be an id below ${vocabSize}, got ${tokens[wrong]}`);
    return tokens;
  });
  const only = parts.length === 1 ? parts[0] : undefined;
  const tokens = only ?? new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  if (only === undefined) {
    let at = 0;
    for (const part of parts) {
      tokens.set(part, at);
      at += part.length;
    }
  }
  const starts = [0];
  for (let i = 1; i < tokens.length; i++) if (tokens[i] === endOfText) starts.push(i);
  return new MemoryTokens({ tokens, vocabSize, endOfText, starts });
}
