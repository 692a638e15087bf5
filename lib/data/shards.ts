// Reading shards. A set of moderate size is read into memory once (and its checksum verified), a larger one by position: a row of a
// batch costs a system call, and a file that is cut short meanwhile is an error, which in a mapping would be a signal.
import { closeSync, fstatSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { ArgumentError, FileError } from '../util/errors.ts';
import { printable } from '../util/show.ts';
import { checkEndianness, decodeHeader, HEADER_BYTES, layout, type ShardHeader } from './shard_format.ts';
import { openForReading } from './text_file.ts';
import { checkRange, type TokenData } from './tokens.ts';

/** Sets up to this size are read into memory. */
const RESIDENT_BYTES = 2 ** 28;
const SCAN_BYTES = 2 ** 20;

/** What the system says about a file comes out as a FileError that names it. */
function naming<T>(path: string, task: () => T): T {
  try {
    return task();
  } catch (error) {
    throw new FileError(path, `cannot be read: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** Reads exactly `out.length` bytes at `position`. */
function readAt(path: string, fd: number, out: Uint8Array, position: number): void {
  for (let done = 0; done < out.length; ) {
    const got = naming(path, () => readSync(fd, out, done, out.length - done, position + done));
    if (got === 0) throw new FileError(path, `tokens end at byte ${position + done}, the header says they go on (was the file cut short?)`);
    done += got;
  }
}

/** One open shard file. */
class Shard {
  readonly path: string;
  readonly header: ShardHeader;
  readonly bytes: number;
  /** Positions in this shard at which documents begin. */
  readonly starts: Uint32Array;
  readonly #fd: number;
  readonly #tokensAt: number;
  readonly #maskAt: number;
  #payload: Uint8Array | undefined;

  constructor(path: string) {
    this.path = path;
    this.#fd = openForReading(path);
    try {
      this.bytes = fstatSync(this.#fd).size;
      const head = new Uint8Array(Math.min(HEADER_BYTES, this.bytes));
      readAt(path, this.#fd, head, 0);
      this.header = decodeHeader(path, head, this.bytes);
      const at = layout(this.header);
      this.#tokensAt = at.tokens;
      this.#maskAt = at.mask;
      this.starts = new Uint32Array(this.header.documents);
      readAt(path, this.#fd, new Uint8Array(this.starts.buffer), at.starts);
      for (let i = 0; i < this.starts.length; i++) {
        const start = this.starts[i] as number;
        if (start >= this.header.count || (i > 0 && start <= (this.starts[i - 1] as number))) {
          throw new FileError(path, `document starts must ascend and stay below ${this.header.count}, got ${start} as number ${i}`);
        }
      }
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Reads everything once and compares it with the checksum. With `keep` it stays in memory. */
  verify(keep: boolean): void {
    let checksum = 0;
    const payload = new Uint8Array(keep ? this.bytes - HEADER_BYTES : Math.min(SCAN_BYTES, this.bytes - HEADER_BYTES));
    for (let position = HEADER_BYTES; position < this.bytes; ) {
      const from = keep ? position - HEADER_BYTES : 0;
      const part = payload.subarray(from, from + Math.min(SCAN_BYTES, this.bytes - position));
      readAt(this.path, this.#fd, part, position);
      checksum = crc32(part, checksum);
      position += part.length;
    }
    if (checksum !== this.header.payloadChecksum) {
      throw new FileError(
        this.path,
        `checksum of the tokens must be ${this.header.payloadChecksum.toString(16)}, got ${checksum.toString(16)}`,
      );
    }
    if (keep) this.#payload = payload;
  }

  /** Bytes of the file from `position` on; a view where they are in memory. */
  #bytesAt(position: number, count: number): Uint8Array {
    if (this.#payload !== undefined) return this.#payload.subarray(position - HEADER_BYTES, position - HEADER_BYTES + count);
    const out = new Uint8Array(count);
    readAt(this.path, this.#fd, out, position);
    return out;
  }

  read(start: number, count: number, out: Int32Array, at: number): void {
    const { tokenBytes, vocabSize } = this.header;
    const bytes = this.#bytesAt(this.#tokensAt + start * tokenBytes, count * tokenBytes);
    const words =
      tokenBytes === 2 ? new Uint16Array(bytes.buffer, bytes.byteOffset, count) : new Uint32Array(bytes.buffer, bytes.byteOffset, count);
    for (let i = 0; i < count; i++) {
      const token = words[i] as number;
      if (token >= vocabSize) throw new FileError(this.path, `token ${start + i} must be an id below ${vocabSize}, got ${token}`);
      out[at + i] = token;
    }
  }

  readMask(start: number, count: number, out: Uint8Array, at: number): void {
    if (!this.header.masked) {
      out.fill(1, at, at + count);
      return;
    }
    const bytes = this.#bytesAt(this.#maskAt + start, count);
    const wrong = bytes.findIndex((value) => value > 1);
    if (wrong >= 0) throw new FileError(this.path, `mask of token ${start + wrong} must be 0 or 1, got ${bytes[wrong]}`);
    out.set(bytes, at);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Index of the last element that is at most `value`, in an ascending array whose first element is. */
function lastAtMost(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((ascending[middle] as number) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** How `openShards` checks and reads. */
export interface OpenShardsOptions {
  /** The tokenizer that will read these tokens: its hash must be the one in the files. */
  tokenizer?: { hash(): string; readonly vocabSize: number };
  /** Sets up to this many bytes are read into memory; default 256 MiB. */
  residentBytes?: number;
}

/** One or more shard files as one row of tokens. Close it when done; a second `close` does nothing. */
export class Shards implements TokenData {
  readonly length: number;
  readonly documents: number;
  readonly vocabSize: number;
  readonly endOfText: number | undefined;
  readonly masked: boolean;
  /** UTF-8 bytes of the text that the tokens stand for. */
  readonly textBytes: number;
  /** Tokens that carry loss. */
  readonly targets: number;
  readonly #shards: Shard[] = [];
  readonly #firstToken: number[] = [];
  readonly #firstDocument: number[] = [];
  #closed = false;

  /** @throws FileError naming file and field for damage, or another tokenizer's tokens. */
  constructor(paths: readonly string[], options: OpenShardsOptions = {}) {
    checkEndianness();
    if (paths.length === 0) throw new ArgumentError('Shards: paths must name at least one file, got none');
    try {
      for (const path of paths) this.#shards.push(new Shard(path));
      const first = (this.#shards[0] as Shard).header;
      const hash = options.tokenizer?.hash() ?? first.tokenizerHash;
      const vocabSize = options.tokenizer?.vocabSize ?? first.vocabSize;
      let [length, documents, textBytes, targets] = [0, 0, 0, 0];
      for (const { path, header } of this.#shards) {
        if (header.tokenizerHash !== hash) {
          throw new FileError(path, `tokenizer hash must be ${hash}, got ${printable(header.tokenizerHash)}`, {
            hint: "These tokens are another tokenizer's: prepare the data again.",
          });
        }
        if (header.vocabSize !== vocabSize) throw new FileError(path, `vocabulary must be ${vocabSize}, got ${header.vocabSize}`);
        this.#firstToken.push(length);
        this.#firstDocument.push(documents);
        length += header.count;
        documents += header.documents;
        textBytes += header.textBytes;
        targets += header.targets;
      }
      for (const [field, sum] of Object.entries({ count: length, 'bytes of text': textBytes }))
        if (!Number.isSafeInteger(sum))
          throw new FileError(paths.at(-1) as string, `${field} must be at most 2^53-1 with the shards before it, got ${sum}`);
      this.length = length;
      this.documents = documents;
      this.vocabSize = vocabSize;
      this.endOfText = first.endOfText;
      this.masked = this.#shards.some(({ header }) => header.masked);
      this.textBytes = textBytes;
      this.targets = targets;
      const bytes = this.#shards.reduce((sum, shard) => sum + shard.bytes, 0);
      if (bytes <= (options.residentBytes ?? RESIDENT_BYTES)) for (const shard of this.#shards) shard.verify(true);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Reads every file once and compares it with its checksum. */
  verify(): void {
    for (const shard of this.#shards) shard.verify(false);
  }

  read(start: number, count: number, out: Int32Array, at: number): void {
    this.#each(start, count, (shard, from, part, done) => shard.read(from, part, out, at + done));
  }

  readMask(start: number, count: number, out: Uint8Array, at: number): void {
    this.#each(start, count, (shard, from, part, done) => shard.readMask(from, part, out, at + done));
  }

  /** Calls `visit` for each shard that holds a part of the range. */
  #each(start: number, count: number, visit: (shard: Shard, from: number, part: number, done: number) => void): void {
    if (this.#closed) throw new ArgumentError('Shards: read after close');
    checkRange('Shards', this.length, start, count);
    for (let done = 0; done < count; ) {
      const index = lastAtMost(this.#firstToken, start + done);
      const shard = this.#shards[index] as Shard;
      const from = start + done - (this.#firstToken[index] as number);
      const part = Math.min(count - done, shard.header.count - from);
      visit(shard, from, part, done);
      done += part;
    }
  }

  documentStart(index: number): number {
    if (index >= this.documents) return this.length;
    const shard = lastAtMost(this.#firstDocument, index);
    const inShard = (this.#shards[shard] as Shard).starts[index - (this.#firstDocument[shard] as number)] as number;
    return (this.#firstToken[shard] as number) + inShard;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const shard of this.#shards) shard.close();
  }
}
