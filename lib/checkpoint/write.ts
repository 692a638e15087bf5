import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { FileError } from '../util/errors.ts';
import { isAlive } from '../util/files.ts';
import { type FileSystem, naming, type OpenFile } from './filesystem.ts';

/** What proves later that a file is the one that was written. */
export interface FileStamp {
  readonly size: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** Hashing blocks the event loop: a piece takes a few milliseconds. One system call also takes no more than 2 GiB. */
const PIECE_BYTES = 4 << 20;

async function writeFully(target: OpenFile, file: string, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0; ) {
    const taken = await naming(file, 'write', () => target.write(rest));
    if (taken === 0) throw new FileError(file, `cannot write: none of ${rest.length} bytes were taken`);
    rest = rest.subarray(taken);
  }
}

/**
 * Writes a file that must not exist yet and returns when it has reached the disk. A failure removes what was begun.
 * @throws FileError naming the file; whatever `chunks` throws comes through as it is.
 */
export async function writeNewFile(
  fs: FileSystem,
  file: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<FileStamp> {
  const hash = createHash('sha256');
  let size = 0;
  const target = await naming(file, 'create', () => fs.open(file, 'wx'));
  try {
    for await (const chunk of chunks) {
      size += chunk.length;
      for (let start = 0; start < chunk.length; start += PIECE_BYTES) {
        const piece = chunk.subarray(start, start + PIECE_BYTES);
        hash.update(piece);
        await writeFully(target, file, piece);
      }
    }
    await naming(file, 'sync to disk', () => target.sync());
    await naming(file, 'close', () => target.close());
  } catch (error) {
    // The first error is the one to tell; the file may be closed, or gone, already.
    await target.close().catch(() => undefined);
    await fs.remove(file).catch(() => undefined);
    throw error;
  }
  return { size, sha256: hash.digest('hex') };
}

/** Removes what writers of `file` left that were killed: of large files it would fill the disk. */
async function removeUnfinished(fs: FileSystem, file: string): Promise<void> {
  const folder = dirname(file);
  const start = `${basename(file)}.tmp-`;
  for (const name of await naming(folder, 'list', () => fs.list(folder))) {
    const pid = name.startsWith(start) ? Number(name.slice(start.length)) : Number.NaN;
    if (Number.isInteger(pid) && (pid === process.pid || !isAlive(pid))) {
      await naming(join(folder, name), 'remove', () => fs.remove(join(folder, name)));
    }
  }
}

/**
 * Writes a file under a temporary name beside its own and renames it when it is complete and on the disk: at every moment the name
 * holds the whole old content or the whole new one.
 */
export async function replaceFile(
  fs: FileSystem,
  file: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<FileStamp> {
  const temporary = `${file}.tmp-${process.pid}`;
  await removeUnfinished(fs, file);
  const stamp = await writeNewFile(fs, temporary, chunks);
  try {
    await naming(file, 'put in place', () => fs.rename(temporary, file));
  } catch (error) {
    await fs.remove(temporary).catch(() => undefined);
    throw error;
  }
  await naming(dirname(file), 'sync to disk', () => fs.syncFolder(dirname(file)));
  return stamp;
}
