import { ArgumentError, FileError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import { type FileSystem, naming, nodeFileSystem, type OpenFile, readFully } from './filesystem.ts';
import {
  DTYPE_BYTES,
  isDType,
  MAX_HEADER_BYTES,
  parseHeader,
  type SafetensorsDType,
  type TensorInfo,
  tensorBytes,
} from './safetensors-header.ts';
import { replaceFile } from './write.ts';

export type { SafetensorsDType, TensorInfo } from './safetensors-header.ts';

/** A tensor to be written. A function as `bytes` is called only when its turn comes, so that one tensor at a time is in memory. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Little-endian elements in row-major order. */
  readonly bytes: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

/** An open file: the header is read and checked, the tensors are not read yet. */
export interface SafetensorsFile {
  readonly file: string;
  /** In the order of their bytes in the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
  /** The system's number of the open file, where it is one of the system. */
  readonly descriptor: number | undefined;
  /** The little-endian bytes of one tensor, in memory of their own. @throws ArgumentError for a name that the file does not hold. */
  read(name: string): Promise<Uint8Array>;
  close(): Promise<void>;
}

async function readHeader(source: OpenFile, file: string) {
  const fileBytes = await naming(file, 'tell its size', () => source.size());
  if (fileBytes < 8) throw new FileError(file, `header length must be 8 bytes, the file holds ${fileBytes}: not a safetensors file`);
  const prefix = await readFully(source, file, 'header length', 0, 8);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  const limit = Math.min(MAX_HEADER_BYTES, fileBytes - 8);
  if (length < 2n || length > BigInt(limit)) throw new FileError(file, `header length must be from 2 to ${limit}, got ${length}`);
  return parseHeader(file, await readFully(source, file, 'header', 8, Number(length)), fileBytes);
}

/**
 * Opens a safetensors file, header first. No more memory is ever taken than the file holds.
 * @throws FileError naming the file and the field or tensor that is wrong.
 */
export async function openSafetensors(file: string, fs: FileSystem = nodeFileSystem): Promise<SafetensorsFile> {
  const source = await naming(file, 'open', () => fs.open(file, 'r'));
  try {
    const { tensors, metadata } = await readHeader(source, file);
    return {
      file,
      tensors,
      metadata,
      descriptor: source.descriptor,
      read: (name) => {
        const info = tensors.get(name);
        if (info !== undefined) return readFully(source, file, `tensor ${JSON.stringify(name)}`, info.offset, info.byteLength);
        const near = nearest(name, tensors.keys());
        const hint = near === undefined ? {} : { hint: `Did you mean ${near}?` };
        throw new ArgumentError(`safetensors: name must be a tensor of ${file}, got ${JSON.stringify(name)}`, hint);
      },
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function checkEntries(entries: readonly SafetensorsEntry[]): void {
  const names = new Set<string>();
  for (const { name, dtype, shape } of entries) {
    if (name === '__metadata__') throw new ArgumentError('safetensors: name must not be __metadata__');
    if (names.has(name)) throw new ArgumentError(`safetensors: name must be unique, got ${JSON.stringify(name)} twice`);
    if (!isDType(dtype)) {
      throw new ArgumentError(`safetensors: dtype of ${name} must be one of ${Object.keys(DTYPE_BYTES).join(', ')}, got ${dtype}`);
    }
    if (tensorBytes(dtype, shape) === undefined || shape.some((size) => !Number.isSafeInteger(size) || size < 0)) {
      throw new ArgumentError(`safetensors: shape of ${name} must be a list of sizes, got ${JSON.stringify(shape)}`);
    }
    names.add(name);
  }
}

/** The chunks of a safetensors file: first the header, then one chunk a tensor. */
export async function* encodeSafetensors(
  entries: Iterable<SafetensorsEntry>,
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  const all = [...entries];
  checkEntries(all);
  // Large elements first: with the header padded to 8 bytes, every tensor then lies aligned to its elements.
  all.sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);

  const header: [string, unknown][] = Object.keys(metadata).length === 0 ? [] : [['__metadata__', metadata]];
  let offset = 0;
  for (const { name, dtype, shape } of all) {
    const end = offset + (tensorBytes(dtype, shape) ?? 0);
    header.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // fromEntries defines `__proto__` and number-like names as plain keys.
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const padded = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  yield head;

  for (const { name, dtype, shape, bytes } of all) {
    const chunk = typeof bytes === 'function' ? await bytes() : bytes;
    const expected = tensorBytes(dtype, shape);
    if (chunk.length !== expected) {
      throw new ArgumentError(
        `safetensors: bytes of ${name} must be ${expected} bytes for ${dtype} [${shape.join(', ')}], got ${chunk.length}`,
      );
    }
    yield chunk;
  }
}

/**
 * Writes a safetensors file, tensor by tensor, and returns once it has reached the disk. It takes its name only when complete:
 * a write that fails leaves what stood there before.
 * @throws ArgumentError for a wrong entry, FileError where the disk fails.
 */
export async function writeSafetensors(
  file: string,
  entries: Iterable<SafetensorsEntry>,
  metadata: Readonly<Record<string, string>> = {},
  fs: FileSystem = nodeFileSystem,
): Promise<void> {
  await replaceFile(fs, file, encodeSafetensors(entries, metadata));
}
