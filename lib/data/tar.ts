// Reading a .tgz without unpacking it to disk: a small ustar reader (with the two pax headers that npm writes) over zlib.
// An archive is foreign input: names are checked as if they were going to be paths, sizes and counts have limits, and
// anything but plain files and folders is refused.
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';

const BLOCK = 512;

/** Limits of what an archive may hold. */
export interface TarLimits {
  /** Entries of any kind. */
  entries: number;
  /** Bytes of one file. */
  fileBytes: number;
  /** Bytes of the whole unpacked archive, headers and padding included. */
  totalBytes: number;
}

const DEFAULT_LIMITS: TarLimits = { entries: 20_000, fileBytes: 64 * 2 ** 20, totalBytes: 2 ** 30 };

/** One file of an archive. */
export interface TarFile {
  path: string;
  data: Uint8Array;
}

/** Hands out exactly as many bytes as asked for from a stream of chunks of any size. */
class ByteStream {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #file: string;
  readonly #limit: number;
  #rest: Uint8Array = new Uint8Array(0);
  #taken = 0;

  constructor(chunks: AsyncIterable<Uint8Array>, file: string, limit: number) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#file = file;
    this.#limit = limit;
  }

  /** The next `count` bytes, or undefined at the end of the stream; a stream that ends inside them is an error. */
  async take(count: number, what: string, keep: boolean): Promise<Uint8Array | undefined> {
    const parts: Uint8Array[] = []; // what came, not what a header says that will come
    let filled = 0;
    while (filled < count) {
      if (this.#rest.length === 0) {
        const { value, done } = await this.#chunks.next();
        if (done) {
          if (filled === 0) return undefined;
          throw new FileError(this.#file, `archive ends inside ${what}: expected ${count} bytes, got ${filled}`);
        }
        this.#rest = value;
        this.#taken += value.length;
        if (this.#taken > this.#limit) throw new FileError(this.#file, `archive must unpack to at most ${this.#limit} bytes, got more`);
      }
      const part = this.#rest.subarray(0, count - filled);
      if (keep) parts.push(part);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return parts.length === 1 ? (parts[0] as Uint8Array).slice() : new Uint8Array(Buffer.concat(parts));
  }
}

function text(block: Uint8Array, start: number, length: number): string {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

function octal(file: string, what: string, digits: string): number {
  const trimmed = digits.trim();
  if (!/^[0-7]{1,12}$/.test(trimmed)) throw new FileError(file, `archive: ${what} must be an octal number, got ${JSON.stringify(trimmed)}`);
  return Number.parseInt(trimmed, 8);
}

function decimal(file: string, what: string, digits: string): number {
  if (!/^\d{1,15}$/.test(digits)) throw new FileError(file, `archive: ${what} must be a decimal number, got ${show(digits)}`);
  return Number(digits);
}

function checkHeaderSum(file: string, block: Uint8Array): void {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : (block[i] as number);
  const stored = octal(file, 'header checksum', text(block, 148, 8));
  if (sum !== stored) throw new FileError(file, `archive: header checksum must be ${stored}, got ${sum}`);
}

/** Refuses names that would leave the folder they are unpacked to, on any system. */
function checkPath(file: string, path: string): void {
  const bad =
    path === '' ||
    path.includes('\0') ||
    path.includes('\\') ||
    path.startsWith('/') ||
    /^[A-Za-z]:/.test(path) ||
    path.split('/').includes('..');
  if (bad) throw new FileError(file, `archive: entry name must be a relative path inside the archive, got ${JSON.stringify(path)}`);
}

/** Records of a pax header: "LENGTH KEY=VALUE\n", the length counting itself. */
function paxRecords(file: string, data: Uint8Array): Map<string, string> {
  const records = new Map<string, string>();
  const decoder = new TextDecoder();
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(32, at);
    const length = space < 0 ? Number.NaN : Number(decoder.decode(data.subarray(at, space)));
    const record =
      Number.isInteger(length) && length > 0 && at + length <= data.length ? decoder.decode(data.subarray(space + 1, at + length)) : '';
    const equals = record.indexOf('=');
    if (equals < 1 || !record.endsWith('\n')) throw new FileError(file, 'archive: damaged pax header');
    records.set(record.slice(0, equals), record.slice(equals + 1, -1));
    at += length;
  }
  return records;
}

/**
 * The files of a gzipped tar archive whose path `wanted` accepts, in the archive's order. Only one file is in memory at a time.
 * @throws FileError naming the archive for damage, names that leave the archive, links and devices, or sizes beyond `limits`.
 */
export async function* readTarGz(
  file: string,
  wanted: (path: string) => boolean,
  limits: Partial<TarLimits> = {},
): AsyncGenerator<TarFile> {
  const limit = { ...DEFAULT_LIMITS, ...limits };
  // pipeline passes an error of either stream on to the reader; its own report would say it a second time.
  const unzipped = pipeline(createReadStream(file), createGunzip(), () => {});
  try {
    yield* entries(file, new ByteStream(unzipped, file, limit.totalBytes), wanted, limit);
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw new FileError(file, `cannot be unpacked: ${(error as Error).message}`, { cause: error });
  } finally {
    unzipped.destroy();
  }
}

async function* entries(file: string, stream: ByteStream, wanted: (path: string) => boolean, limit: TarLimits): AsyncGenerator<TarFile> {
  let pax = new Map<string, string>();
  for (let count = 0; ; count++) {
    const header = await stream.take(BLOCK, 'an entry header', true);
    if (header === undefined) throw new FileError(file, 'archive ends without its closing block');
    if (header.every((byte) => byte === 0)) return;
    if (count >= limit.entries) throw new FileError(file, `archive must hold at most ${limit.entries} entries, got more`);
    checkHeaderSum(file, header);
    const prefix = text(header, 257, 5) === 'ustar' ? text(header, 345, 155) : '';
    const name = text(header, 0, 100);
    const path = pax.get('path') ?? (prefix ? `${prefix}/${name}` : name);
    const ownSize = pax.get('size');
    const size =
      ownSize !== undefined
        ? decimal(file, `size of ${show(path)}`, ownSize)
        : octal(file, `size of ${JSON.stringify(path)}`, text(header, 124, 12));
    if (!Number.isSafeInteger(size) || size < 0 || size > limit.fileBytes) {
      throw new FileError(file, `archive: size of ${JSON.stringify(path)} must be at most ${limit.fileBytes} bytes, got ${size}`);
    }
    const type = header[156] === 0 ? '0' : String.fromCharCode(header[156] as number);
    const isPax = type === 'x' || type === 'g';
    if (!isPax) checkPath(file, path);
    if (!isPax && type !== '0' && type !== '5') {
      throw new FileError(file, `archive: ${JSON.stringify(path)} must be a file or a folder, got entry type ${JSON.stringify(type)}`);
    }
    const keep = isPax || (type === '0' && wanted(path));
    const data = await stream.take(size, JSON.stringify(path), keep);
    const padding = (BLOCK - (size % BLOCK)) % BLOCK;
    if (data === undefined || (await stream.take(padding, `the padding of ${JSON.stringify(path)}`, false)) === undefined) {
      throw new FileError(file, `archive ends before the contents of ${JSON.stringify(path)}`);
    }
    if (type === 'x') pax = paxRecords(file, data);
    else pax = new Map();
    if (type === '0' && keep) yield { path, data };
  }
}
