// The entries of a ZIP file that are stored as they are, as `torch.save` writes them (PKWARE's APPNOTE.TXT, 4.3 and 4.5, with ZIP64).
import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { naming, type OpenFile, readFully } from './filesystem.ts';

export interface ZipEntry {
  /** Of its bytes, from the beginning of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

const [END, END64, LOCATOR64, CENTRAL, LOCAL] = [0x06054b50, 0x06064b50, 0x07064b50, 0x02014b50, 0x04034b50];
const END_BYTES = 22;
const MOST_COMMENT = 0xffff;
/** A central directory takes no more memory than this. */
const MOST_DIRECTORY = 64 << 20;

interface Directory {
  readonly entries: number;
  readonly offset: number;
  readonly byteLength: number;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

async function findDirectory(source: OpenFile, file: string, size: number): Promise<Directory> {
  const length = Math.min(size, END_BYTES + MOST_COMMENT);
  const tail = viewOf(await readFully(source, file, 'end of the ZIP directory', size - length, length));
  let at = length - END_BYTES;
  while (at >= 0 && tail.getUint32(at, true) !== END) at--;
  if (at < 0) throw new FileError(file, 'must end with a ZIP directory: no file of torch.save since PyTorch 1.6');
  const plain = {
    entries: tail.getUint16(at + 10, true),
    byteLength: tail.getUint32(at + 12, true),
    offset: tail.getUint32(at + 16, true),
  };
  if (at < 20 || tail.getUint32(at - 20, true) !== LOCATOR64) return plain;
  const where = Number(tail.getBigUint64(at - 12, true));
  if (!(where + 56 <= size))
    throw new FileError(file, `offset of the ZIP64 directory must be within the file's ${size} bytes, got ${where}`);
  const large = viewOf(await readFully(source, file, 'ZIP64 directory', where, 56));
  if (large.getUint32(0, true) !== END64) throw new FileError(file, 'ZIP64 directory must begin with its signature');
  const [entries, byteLength, offset] = [32, 40, 48].map((field) => Number(large.getBigUint64(field, true))) as [number, number, number];
  return { entries, byteLength, offset };
}

/** The fields of an entry that ZIP64 moves behind its name. */
function largeFields(extra: DataView, wanted: readonly boolean[]): (number | undefined)[] {
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const [id, length] = [extra.getUint16(at, true), extra.getUint16(at + 2, true)];
    const end = Math.min(at + 4 + length, extra.byteLength);
    let field = at + 4;
    if (id === 1)
      return wanted.map((is) => {
        if (!is || field + 8 > end) return undefined;
        field += 8;
        return Number(extra.getBigUint64(field - 8, true));
      });
    at = end;
  }
  return wanted.map(() => undefined);
}

/** The entries of an open file by name. @throws FileError naming the entry that is compressed, or does not lie within the file */
export async function zipEntries(source: OpenFile, file: string): Promise<Map<string, ZipEntry>> {
  const size = await naming(file, 'tell its size', () => source.size());
  if (size < END_BYTES) throw new FileError(file, `must be a ZIP file of at least ${END_BYTES} bytes, got ${size}`);
  const directory = await findDirectory(source, file, size);
  if (!(directory.offset + directory.byteLength <= size && directory.byteLength <= MOST_DIRECTORY))
    throw new FileError(
      file,
      `ZIP directory must lie within the file's ${size} bytes, got ${directory.byteLength} from ${directory.offset}`,
    );
  const bytes = await readFully(source, file, 'ZIP directory', directory.offset, directory.byteLength);
  const view = viewOf(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < directory.entries; i++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== CENTRAL)
      throw new FileError(file, `ZIP entry ${i} must begin with its signature`);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [number, number, number];
    const end = at + 46 + nameBytes + extraBytes + commentBytes;
    if (end > bytes.length) throw new FileError(file, `ZIP entry ${i} must lie within the directory`);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameBytes));
    const extra = new DataView(bytes.buffer, bytes.byteOffset + at + 46 + nameBytes, extraBytes);
    const own = [24, 20, 42].map((field) => view.getUint32(at + field, true)); // size, size in the file, offset of the local header
    const large = largeFields(
      extra,
      own.map((value) => value === 0xffffffff),
    );
    const [byteLength, stored, header] = own.map((value, k) => (value === 0xffffffff ? (large[k] ?? value) : value)) as [
      number,
      number,
      number,
    ];
    if (view.getUint16(at + 10, true) !== 0 || stored !== byteLength)
      throw new FileError(file, `ZIP entry ${show(name)} must be stored, not compressed`);
    if (entries.has(name)) throw new FileError(file, `ZIP entry ${show(name)} stands twice`);
    entries.set(name, { offset: await dataOffset(source, file, name, header, byteLength, size), byteLength });
    at = end;
  }
  return entries;
}

/** Where an entry's bytes begin: its local header has a name and an extra field of its own. */
async function dataOffset(source: OpenFile, file: string, name: string, header: number, byteLength: number, size: number): Promise<number> {
  const wrong = () =>
    new FileError(file, `ZIP entry ${show(name)} must lie within the file's ${size} bytes, got ${byteLength} from ${header}`);
  if (!(header + 30 + byteLength <= size)) throw wrong();
  const local = viewOf(await readFully(source, file, `ZIP entry ${show(name)}`, header, 30));
  if (local.getUint32(0, true) !== LOCAL) throw new FileError(file, `ZIP entry ${show(name)}: its header must begin with its signature`);
  const offset = header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  if (offset + byteLength > size) throw wrong();
  return offset;
}
