import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { FileError } from '../util/errors.ts';
import { foldersAbove, namingAsync as naming } from '../util/files.ts';

export { namingAsync as naming } from '../util/files.ts';

/** An open file. `read` and `write` may do less than asked, as the system calls behind them may. */
export interface OpenFile {
  /** The system's number of it; undefined: read with `read` alone. */
  readonly descriptor?: number;
  /** Reads up to `buffer.length` bytes from `position`; returns how many came, 0 at the end of the file. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Appends up to all of `bytes`; returns how many were taken. */
  write(bytes: Uint8Array): Promise<number>;
  size(): Promise<number>;
  /** Returns when the content has reached the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** All that checkpoints ask of a file system, so that tests can put one in its place that fails where they wish. */
export interface FileSystem {
  /** `wx` makes a new file and fails where there is one. */
  open(path: string, flags: 'r' | 'wx'): Promise<OpenFile>;
  /** Names in a folder, in no order; of a folder that does not exist, none. */
  list(folder: string): Promise<string[]>;
  /** Makes the folder and those above it; gives the first that it made, undefined where all were there. */
  makeFolder(folder: string): Promise<string | undefined>;
  /** Returns when the folder's entries (files made, renamed) have reached the disk. */
  syncFolder(folder: string): Promise<void>;
  /** Replaces a file; a folder's new name must be free. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a folder with all in it; nothing there is no error. */
  remove(path: string): Promise<void>;
}

/** Whether the system threw this with one of the codes. */
export const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

class NodeFile implements OpenFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  get descriptor(): number {
    return this.#handle.fd;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    return (await this.#handle.read(buffer, 0, buffer.length, position)).bytesRead;
  }

  async write(bytes: Uint8Array): Promise<number> {
    return (await this.#handle.write(bytes)).bytesWritten;
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  sync(): Promise<void> {
    return this.#handle.sync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** Windows refuses a rename while a virus scanner or an indexer looks into the folder; it lets go after a moment. */
async function renamePatiently(from: string, to: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await rename(from, to);
    } catch (error) {
      if (process.platform !== 'win32' || attempt === 5 || !isCode(error, 'EPERM', 'EACCES', 'EBUSY')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20 * 2 ** attempt));
    }
  }
}

/** The real one. */
export const nodeFileSystem: FileSystem = {
  open: async (path, flags) => new NodeFile(await open(path, flags)),
  list: async (folder) => {
    try {
      return await readdir(folder);
    } catch (error) {
      if (isCode(error, 'ENOENT')) return [];
      throw error;
    }
  },
  makeFolder: (folder) => mkdir(folder, { recursive: true }),
  syncFolder: async (folder) => {
    if (process.platform === 'win32') return; // folders cannot be opened there; NTFS journals its entries
    const handle = await open(folder, constants.O_RDONLY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  rename: renamePatiently,
  remove: (path) => rm(path, { recursive: true, force: true }),
};

/** One system call takes no more than 2 GiB. */
const READ_BYTES = 64 << 20;

/** Bytes of a file, in memory of their own. `what` stands in errors. @throws FileError where the file ends before */
export async function readFully(source: OpenFile, file: string, what: string, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const got = await naming(file, `read ${what}`, () => source.read(bytes.subarray(done, done + READ_BYTES), position + done));
    if (got === 0) throw new FileError(file, `${what} must be ${length} bytes long, got ${done}: the file is cut short`);
    done += got;
  }
  return bytes;
}

/** Makes a folder and those above it, and returns when all of them have reached the disk. */
export async function makeFolders(fs: FileSystem, folder: string): Promise<void> {
  const first = await naming(folder, 'make the folder', () => fs.makeFolder(folder));
  for (const above of foldersAbove(folder, first)) await naming(above, 'sync to disk', () => fs.syncFolder(above));
}
