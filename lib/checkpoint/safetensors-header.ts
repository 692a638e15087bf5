import { FileError } from '../util/errors.ts';
import { checkNesting } from '../util/json_text.ts';
import { show as quote } from '../util/show.ts';
import { duplicateKey, isObject } from './json.ts';

/** Bytes of one element of each dtype that is read and written. */
export const DTYPE_BYTES = { F64: 8, I64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, U16: 2, U8: 1, BOOL: 1 } as const;

export type SafetensorsDType = keyof typeof DTYPE_BYTES;

/** Where a tensor lies. */
export interface TensorInfo {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Position of its first byte, from the beginning of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface SafetensorsHeader {
  /** In the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** The format's own limit. */
export const MAX_HEADER_BYTES = 100_000_000;

export const isDType = (name: unknown): name is SafetensorsDType => typeof name === 'string' && Object.hasOwn(DTYPE_BYTES, name);

const isSize = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;

/** Bytes of a tensor, or undefined where the product is no exact number. */
export function tensorBytes(dtype: SafetensorsDType, shape: readonly number[]): number | undefined {
  if (shape.includes(0)) return 0;
  let bytes: number = DTYPE_BYTES[dtype];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

function parseTensor(file: string, name: string, entry: unknown, dataStart: number, dataBytes: number): TensorInfo {
  const fail = (field: string, expected: string, got: unknown) =>
    new FileError(file, `tensor ${quote(name)}: ${field} must be ${expected}, got ${quote(got)}`);
  if (!isObject(entry)) throw fail('its entry', 'an object', entry);
  for (const key of Object.keys(entry)) {
    if (!['dtype', 'shape', 'data_offsets'].includes(key)) {
      throw new FileError(file, `tensor ${quote(name)}: field ${quote(key)} is not known`);
    }
  }
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isDType(dtype)) throw fail('dtype', `one of ${Object.keys(DTYPE_BYTES).join(', ')}`, dtype);
  if (!Array.isArray(shape) || !shape.every(isSize)) throw fail('shape', 'a list of sizes', shape);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) throw fail('data_offsets', '[begin, end]', offsets);
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes)
    throw fail('data_offsets', `in order and at most ${dataBytes}, the bytes of data in the file`, offsets);
  const byteLength = tensorBytes(dtype, shape);
  if (byteLength !== end - begin) {
    throw fail('data_offsets', `${byteLength ?? 'impossibly many'} bytes apart for ${dtype} ${quote(shape)}`, offsets);
  }
  return { dtype, shape, offset: dataStart + begin, byteLength };
}

function parseMetadata(file: string, value: unknown): Map<string, string> {
  if (!isObject(value)) throw new FileError(file, `__metadata__ must be an object of texts, got ${quote(value)}`);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw new FileError(file, `__metadata__: ${quote(key)} must be a text, got ${quote(text)}`);
  }
  return new Map(Object.entries(value) as [string, string][]);
}

/**
 * Parses and checks the JSON header of a file of `fileBytes` bytes. Nothing is taken on trust: dtypes, sizes, and that the
 * tensors tile the data without overlap or gap, from its first byte to its last.
 * @throws FileError naming the file and the tensor and field.
 */
export function parseHeader(file: string, header: Uint8Array, fileBytes: number): SafetensorsHeader {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
    json = JSON.parse(text);
  } catch (error) {
    throw new FileError(file, `header must be JSON in UTF-8: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  checkNesting(file, header, 'header ');
  if (!isObject(json)) throw new FileError(file, `header must be a JSON object, got ${quote(json)}`);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw new FileError(file, `header: key ${quote(twice)} stands twice`);

  const dataStart = 8 + header.length;
  const dataBytes = fileBytes - dataStart;
  let metadata = new Map<string, string>();
  const found: [string, TensorInfo][] = [];
  for (const [name, entry] of Object.entries(json)) {
    if (name === '__metadata__') metadata = parseMetadata(file, entry);
    else found.push([name, parseTensor(file, name, entry, dataStart, dataBytes)]);
  }
  found.sort(([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = dataStart;
  for (const [name, info] of found) {
    if (info.offset !== end) {
      const what = info.offset < end ? 'overlaps the tensor before it' : 'leaves a gap before it';
      throw new FileError(
        file,
        `tensor ${quote(name)}: data_offsets must begin at ${end - dataStart}, got ${info.offset - dataStart}: it ${what}`,
      );
    }
    end += info.byteLength;
  }
  if (end !== fileBytes) {
    throw new FileError(
      file,
      `data_offsets must cover the file: the header tells of ${end - dataStart} bytes, the file holds ${dataBytes}`,
    );
  }
  return { tensors: new Map(found), metadata };
}
