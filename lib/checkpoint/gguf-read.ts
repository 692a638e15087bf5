// Reading GGUF files of version 2 and 3. Nothing is taken on trust: every count is held against the bytes that are left.
import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { type FileSystem, naming, nodeFileSystem, type OpenFile, readFully } from './filesystem.ts';
import { decodeElements, GGUF_TYPES, type GGUFType, LAYOUTS, typeOfId } from './gguf-types.ts';
import { ALIGNMENT, MAGIC, VALUE_TYPES } from './gguf-write.ts';

export interface GGUFTensorInfo {
  readonly type: GGUFType;
  /** Row-major: the other way round than in the file. */
  readonly shape: readonly number[];
  /** From the beginning of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export type GGUFMetadata = number | bigint | boolean | string | readonly GGUFMetadata[];

export interface GGUFFile {
  readonly file: string;
  readonly metadata: ReadonlyMap<string, GGUFMetadata>;
  readonly tensors: ReadonlyMap<string, GGUFTensorInfo>;
  /** The values of a tensor. */
  read(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

const WINDOW_BYTES = 1 << 16;
const MOST_DIMENSIONS = 4;
const DEEPEST_ARRAY = 4;

/** Reads a header from its start, a window at a time. */
class Cursor {
  position = 0;
  readonly #source: OpenFile;
  readonly #file: string;
  readonly #size: number;
  #window: Uint8Array = new Uint8Array(0);
  #start = 0;

  constructor(source: OpenFile, file: string, size: number) {
    this.#source = source;
    this.#file = file;
    this.#size = size;
  }

  get left(): number {
    return this.#size - this.position;
  }

  /** The next bytes; a view until the next call. `what` stands in errors. */
  async take(count: number, what: string): Promise<DataView> {
    if (count > this.left) throw new FileError(this.#file, `${what} must be ${count} bytes, the file has ${this.left} left`);
    if (this.position + count > this.#start + this.#window.length) {
      const length = Math.min(this.left, Math.max(count, WINDOW_BYTES));
      this.#window = await readFully(this.#source, this.#file, what, this.position, length);
      this.#start = this.position;
    }
    const view = new DataView(this.#window.buffer, this.#window.byteOffset + this.position - this.#start, count);
    this.position += count;
    return view;
  }

  async u32(what: string): Promise<number> {
    return (await this.take(4, what)).getUint32(0, true);
  }

  /** A count or an offset; no file is so long that it would not be exact. */
  async u64(what: string): Promise<number> {
    const value = (await this.take(8, what)).getBigUint64(0, true);
    if (value > BigInt(this.#size)) throw new FileError(this.#file, `${what} must be at most the file's ${this.#size} bytes, got ${value}`);
    return Number(value);
  }

  async text(what: string): Promise<string> {
    const view = await this.take(await this.u64(`length of ${what}`), what);
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(view);
    } catch (error) {
      throw new FileError(this.#file, `${what} must be UTF-8`, { cause: error });
    }
  }

  /** One value of metadata. */
  async value(type: number, what: string, depth = 0): Promise<GGUFMetadata> {
    const { u8, i8, u16, i16, u32, i32, f32, bool, string, array, u64, i64, f64 } = VALUE_TYPES;
    if (type === u8) return (await this.take(1, what)).getUint8(0);
    if (type === i8) return (await this.take(1, what)).getInt8(0);
    if (type === bool) return (await this.take(1, what)).getUint8(0) !== 0;
    if (type === u16) return (await this.take(2, what)).getUint16(0, true);
    if (type === i16) return (await this.take(2, what)).getInt16(0, true);
    if (type === u32) return this.u32(what);
    if (type === i32) return (await this.take(4, what)).getInt32(0, true);
    if (type === f32) return (await this.take(4, what)).getFloat32(0, true);
    if (type === u64) return (await this.take(8, what)).getBigUint64(0, true);
    if (type === i64) return (await this.take(8, what)).getBigInt64(0, true);
    if (type === f64) return (await this.take(8, what)).getFloat64(0, true);
    if (type === string) return this.text(what);
    if (type !== array || depth === DEEPEST_ARRAY)
      throw new FileError(this.#file, `type of ${what} must be from 0 to 12, got ${type}${type === array ? ' nested too deep' : ''}`);
    const itemType = await this.u32(`item type of ${what}`);
    const length = await this.u64(`length of ${what}`);
    const items: GGUFMetadata[] = [];
    // A claimed length costs nothing: each item takes a byte of the file at least.
    for (let i = 0; i < length; i++) items.push(await this.value(itemType, `${what}[${i}]`, depth + 1));
    return items;
  }
}

async function readMetadata(cursor: Cursor, file: string, count: number): Promise<Map<string, GGUFMetadata>> {
  const metadata = new Map<string, GGUFMetadata>();
  for (let i = 0; i < count; i++) {
    const key = await cursor.text(`key ${i}`);
    if (metadata.has(key)) throw new FileError(file, `key ${show(key)} stands twice`);
    metadata.set(key, await cursor.value(await cursor.u32(`type of ${show(key)}`), show(key)));
  }
  return metadata;
}

interface Described {
  readonly name: string;
  readonly type: GGUFType;
  readonly shape: number[];
  readonly offset: number;
  readonly byteLength: number;
}

async function readTensorInfo(cursor: Cursor, file: string, i: number): Promise<Described> {
  const name = await cursor.text(`name of tensor ${i}`);
  const fail = (field: string, expected: string, got: unknown) =>
    new FileError(file, `tensor ${show(name)}: ${field} must be ${expected}, got ${show(got)}`);
  const rank = await cursor.u32(`number of dimensions of ${show(name)}`);
  if (rank < 1 || rank > MOST_DIMENSIONS) throw fail('number of dimensions', `from 1 to ${MOST_DIMENSIONS}`, rank);
  const shape: number[] = [];
  // Elements of four bits: a dimension may be twice the file's size.
  for (let d = 0; d < rank; d++) shape.unshift(Number((await cursor.take(8, `dimension ${d} of ${show(name)}`)).getBigUint64(0, true)));
  const id = await cursor.u32(`type of ${show(name)}`);
  const type = typeOfId(id);
  if (type === undefined) throw fail('type', `one of ${GGUF_TYPES.map((t) => `${LAYOUTS[t].id} (${t})`).join(', ')}`, id);
  const { block, bytes } = LAYOUTS[type];
  const elements = shape.reduce((a, b) => a * b, 1);
  if (!Number.isSafeInteger(elements) || shape.some((size) => size < 1)) throw fail('shape', 'sizes from 1', shape);
  if ((shape.at(-1) as number) % block !== 0) throw fail('shape', `rows of whole blocks of ${block}`, shape);
  return { name, type, shape, offset: await cursor.u64(`offset of ${show(name)}`), byteLength: (elements / block) * bytes };
}

function alignmentOf(file: string, metadata: ReadonlyMap<string, GGUFMetadata>): number {
  const alignment = metadata.get('general.alignment') ?? ALIGNMENT;
  if (typeof alignment === 'number' && Number.isInteger(alignment) && alignment >= 8 && alignment % 8 === 0) return alignment;
  throw new FileError(file, `general.alignment must be a multiple of 8, got ${show(alignment)}`);
}

/** Places the tensors in the file. @throws FileError where they overlap or reach beyond its end */
function place(
  file: string,
  described: readonly Described[],
  dataStart: number,
  size: number,
  alignment: number,
): Map<string, GGUFTensorInfo> {
  const tensors = new Map<string, GGUFTensorInfo>();
  let end = 0;
  for (const { name, type, shape, offset, byteLength } of described.toSorted((a, b) => a.offset - b.offset)) {
    if (tensors.has(name)) throw new FileError(file, `tensor ${show(name)} stands twice`);
    if (offset % alignment !== 0 || offset < end)
      throw new FileError(file, `tensor ${show(name)}: offset must be a multiple of ${alignment} from ${end} on, got ${offset}`);
    end = offset + byteLength;
    if (dataStart + end > size)
      throw new FileError(file, `tensor ${show(name)} must end within the file's ${size} bytes, got ${dataStart + end}`);
    tensors.set(name, { type, shape, offset: dataStart + offset, byteLength });
  }
  return tensors;
}

/** Opens a GGUF file, header first. @throws FileError naming the file and the field that is wrong */
export async function openGGUF(file: string, fs: FileSystem = nodeFileSystem): Promise<GGUFFile> {
  const source = await naming(file, 'open', () => fs.open(file, 'r'));
  try {
    const size = await naming(file, 'tell its size', () => source.size());
    const cursor = new Cursor(source, file, size);
    const magic = await cursor.u32('magic');
    if (magic !== MAGIC) throw new FileError(file, `magic must be ${show('GGUF')}, got ${magic.toString(16)}`);
    const version = await cursor.u32('version');
    if (version !== 2 && version !== 3) throw new FileError(file, `version must be 2 or 3, got ${version}`);
    const tensorCount = await cursor.u64('number of tensors');
    const keys = await cursor.u64('number of keys');
    const metadata = await readMetadata(cursor, file, keys);
    const described: Described[] = [];
    for (let i = 0; i < tensorCount; i++) described.push(await readTensorInfo(cursor, file, i));
    const alignment = alignmentOf(file, metadata);
    const tensors = place(file, described, Math.ceil(cursor.position / alignment) * alignment, size, alignment);
    return {
      file,
      metadata,
      tensors,
      async read(name) {
        const info = tensors.get(name);
        if (!info) throw new FileError(file, `tensor ${show(name)} is missing`);
        return decodeElements(info.type, await readFully(source, file, `tensor ${show(name)}`, info.offset, info.byteLength));
      },
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}
