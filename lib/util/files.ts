// Files that are either there in full or not at all: written under a temporary name, synced, renamed, the folder synced.
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { FileError } from './errors.ts';

/** What the file system threw, as a FileError that names the path and what was being done. */
export function fileError(path: string, doing: string, error: unknown): FileError {
  if (error instanceof FileError) return error;
  return new FileError(path, `cannot ${doing}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

/** Runs `task`; what the file system throws comes out as a FileError that names the path and what was being done. */
export function naming<T>(path: string, doing: string, task: () => T): T {
  try {
    return task();
  } catch (error) {
    throw fileError(path, doing, error);
  }
}

/** The same for a task that gives a promise. */
export async function namingAsync<T>(path: string, doing: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    throw fileError(path, doing, error);
  }
}

/** Runs a task that tidies up after an error; that one is to be told, not those of the tidying. */
export function quietly(task: () => void): void {
  try {
    task();
  } catch {}
}

/** Whether the process that a temporary file names still runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Makes durable what was made, renamed or removed in `folder`. Windows cannot open folders and needs no such call. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  naming(folder, 'sync to disk', () => {
    const fd = openSync(folder, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
}

/** The folders with a new entry after `mkdir` made `folder` and those above it from `first` on (none: all were there). */
export function foldersAbove(folder: string, first: string | undefined): string[] {
  const above: string[] = [];
  if (first === undefined) return above;
  for (let at = resolve(folder); ; at = dirname(at)) {
    above.push(dirname(at));
    if (at.length <= resolve(first).length) return above;
  }
}

/** Makes a folder and those above it, durably. */
export function makeFolder(folder: string): void {
  const first = naming(folder, 'make the folder', () => mkdirSync(folder, { recursive: true }));
  for (const above of foldersAbove(folder, first)) syncFolder(above);
}

/** Writes all of `data` at the descriptor's position, or at `position` where given. `path` stands in errors. */
export function writeAll(path: string, fd: number, data: Uint8Array, position?: number): void {
  naming(path, 'write', () => {
    for (let done = 0; done < data.length; ) {
      done += writeSync(fd, data, done, data.length - done, position === undefined ? null : position + done);
    }
  });
}

/** Removes what writers of `path` that were killed left beside it. */
function removeUnfinished(path: string): void {
  const folder = dirname(path);
  for (const name of naming(folder, 'list', () => readdirSync(folder))) {
    if (!name.startsWith(`${basename(path)}.`) || !name.endsWith('.tmp')) continue;
    const pid = Number(name.slice(basename(path).length + 1, -'.tmp'.length));
    if (Number.isInteger(pid) && !isAlive(pid)) naming(join(folder, name), 'remove', () => rmSync(join(folder, name), { force: true }));
  }
}

/** A file that is being written under a temporary name. Whatever fails leaves what stood at `path` before, and nothing else. */
export class NewFile {
  readonly path: string;
  readonly #temporary: string;
  #fd: number | undefined;

  constructor(path: string) {
    this.path = path;
    this.#temporary = `${path}.${process.pid}.tmp`;
    removeUnfinished(path);
    this.#fd = naming(path, 'create', () => openSync(this.#temporary, 'w'));
  }

  /** Appends, or writes at `position`. */
  write(data: Uint8Array, position?: number): void {
    this.#orAbandon(() => writeAll(this.path, this.#open(), data, position));
  }

  /** Gives the complete file its name; returns when both have reached the disk. */
  finish(): void {
    this.#orAbandon(() => {
      const fd = this.#open();
      naming(this.path, 'sync to disk', () => fsyncSync(fd));
      this.#fd = undefined;
      naming(this.path, 'close', () => closeSync(fd));
      naming(this.path, 'put in place', () => renameSync(this.#temporary, this.path));
    });
    syncFolder(dirname(this.path));
  }

  /** Gives up: removes what was begun. */
  abandon(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) quietly(() => closeSync(fd));
    quietly(() => rmSync(this.#temporary, { force: true }));
  }

  #open(): number {
    if (this.#fd === undefined) throw new FileError(this.path, 'is closed');
    return this.#fd;
  }

  #orAbandon(task: () => void): void {
    try {
      task();
    } catch (error) {
      this.abandon();
      throw error;
    }
  }
}

/**
 * Writes a whole file so that no reader, crash or power cut ever meets half of it.
 * @throws FileError naming the file
 */
export function writeFileAtomic(path: string, data: Uint8Array | string): void {
  const file = new NewFile(path);
  file.write(typeof data === 'string' ? new TextEncoder().encode(data) : data);
  file.finish();
}

/** Removes a file, durably: no power cut brings it back beside what is written next. */
export function removeFile(path: string): void {
  naming(path, 'remove', () => rmSync(path, { force: true }));
  syncFolder(dirname(path));
}
