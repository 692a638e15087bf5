// Writing one shard: tokens go to a temporary file as they come; the mask and the document starts wait in memory; the header
// is written last, then the file is synced and gets its name.
import { crc32 } from 'node:zlib';
import { ArgumentError } from '../util/errors.ts';
import { NewFile } from '../util/files.ts';
import { checkEndianness, encodeHeader, HEADER_BYTES, type ShardHeader, tokenBytesFor } from './shard_format.ts';

/** Tokens that are collected before they are written. */
const BUFFER_TOKENS = 2 ** 16;

/** A growing array of bytes or 32-bit words. */
class Growing<A extends Uint8Array | Uint32Array> {
  length = 0;
  #array: A;
  readonly #make: (length: number) => A;

  constructor(make: (length: number) => A) {
    this.#make = make;
    this.#array = make(1024);
  }

  fill(value: number, count: number): void {
    while (this.length + count > this.#array.length) {
      const grown = this.#make(this.#array.length * 2);
      grown.set(this.#array);
      this.#array = grown;
    }
    this.#array.fill(value, this.length, this.length + count);
    this.length += count;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#array.buffer, 0, this.length * this.#array.BYTES_PER_ELEMENT);
  }
}

/** What the shards of a set have in common. */
export interface ShardKind {
  vocabSize: number;
  endOfText: number | undefined;
  tokenizerHash: string;
  masked: boolean;
}

/** Writes one shard; `finish` gives it its name, `abandon` leaves nothing behind. */
export class ShardWriter {
  count = 0;
  readonly #kind: ShardKind;
  readonly #tokenBytes: 2 | 4;
  readonly #file: NewFile;
  /** Tokens that wait to be written, and how many. */
  readonly #waiting: Uint16Array | Uint32Array;
  #waitingCount = 0;
  readonly #mask: Growing<Uint8Array> = new Growing((length) => new Uint8Array(length));
  readonly #starts: Growing<Uint32Array> = new Growing((length) => new Uint32Array(length));
  #checksum = 0;
  #targets = 0;
  #textBytes = 0;

  constructor(path: string, kind: ShardKind) {
    checkEndianness();
    this.#kind = kind;
    this.#tokenBytes = tokenBytesFor(kind.vocabSize);
    this.#waiting = this.#tokenBytes === 2 ? new Uint16Array(BUFFER_TOKENS) : new Uint32Array(BUFFER_TOKENS);
    this.#file = new NewFile(path);
    this.#file.write(new Uint8Array(HEADER_BYTES));
  }

  /** Says that a document begins with the next token. */
  beginDocument(): void {
    this.#starts.fill(this.count, 1);
  }

  /**
   * Appends tokens, all with loss or all without. `textBytes` is how many bytes of text they stand for.
   * @throws ArgumentError for an id outside the vocabulary.
   */
  append(tokens: ArrayLike<number>, loss: boolean, textBytes: number): void {
    const { vocabSize } = this.#kind;
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i] as number;
      if (!(token >= 0 && token < vocabSize)) throw new ArgumentError(`shard: token id must be from 0 to ${vocabSize - 1}, got ${token}`);
      if (this.#waitingCount === BUFFER_TOKENS) this.#flush();
      this.#waiting[this.#waitingCount++] = token;
    }
    if (this.#kind.masked) this.#mask.fill(loss ? 1 : 0, tokens.length);
    this.count += tokens.length;
    this.#textBytes += textBytes;
    if (loss) this.#targets += tokens.length;
  }

  #flush(): void {
    this.#write(new Uint8Array(this.#waiting.buffer, 0, this.#waitingCount * this.#tokenBytes));
    this.#waitingCount = 0;
  }

  #write(bytes: Uint8Array): void {
    this.#file.write(bytes);
    this.#checksum = crc32(bytes, this.#checksum);
  }

  #pad(bytes: number): void {
    this.#write(new Uint8Array((8 - (bytes % 8)) % 8));
  }

  /** Completes the file and gives it its name; returns the header that it wrote. */
  finish(): ShardHeader {
    this.#flush();
    this.#pad(this.count * this.#tokenBytes);
    if (this.#kind.masked) {
      this.#write(this.#mask.bytes());
      this.#pad(this.count);
    }
    this.#write(this.#starts.bytes());
    const header: ShardHeader = {
      ...this.#kind,
      tokenBytes: this.#tokenBytes,
      documents: this.#starts.length,
      count: this.count,
      targets: this.#targets,
      textBytes: this.#textBytes,
      payloadChecksum: this.#checksum,
    };
    this.#file.write(encodeHeader(header), 0);
    this.#file.finish();
    return header;
  }

  /** Gives up: closes and removes the temporary file. */
  abandon(): void {
    this.#file.abandon();
  }
}
