// Records what a program does to the files below one folder, by standing in the place of node:fs, and makes the operations fail that a
// test chooses. Code under test needs no door for it: whatever it calls is seen, and a call that is not known here is refused.
import fs from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { constants } from 'node:os';
import { dirname, join, resolve, sep } from 'node:path';

/** What the kernel is asked for. `handle` is a number that no other opening has; folders are opened to be synced. */
export type Operation =
  | { kind: 'mkdir'; path: string }
  | { kind: 'open'; path: string; handle: number; flags: string; folder: boolean }
  | { kind: 'write'; path: string; handle: number; bytes: Uint8Array; position: number | null }
  | { kind: 'truncate'; path: string; handle: number; length: number }
  | { kind: 'sync'; path: string; handle: number }
  | { kind: 'close'; path: string; handle: number }
  | { kind: 'rename'; path: string; to: string }
  | { kind: 'unlink'; path: string }
  | { kind: 'rmdir'; path: string };

/** What befalls an operation: an error, or, for a write, only so many bytes taken. */
export type Fault = { readonly code: string } | { readonly bytes: number };

/** Decides about the operation that is about to be done; `index` counts from 0. */
export type Faults = (operation: Operation, index: number) => Fault | undefined;

const MESSAGES: Record<string, string> = { EIO: 'i/o error', ENOSPC: 'no space left on device', EDQUOT: 'disk quota exceeded' };

/** The error as Node throws it. */
function systemError(code: string, { kind, path }: Operation): NodeJS.ErrnoException {
  const call = kind === 'sync' ? 'fsync' : kind === 'truncate' ? 'ftruncate' : kind;
  const named = ['mkdir', 'open', 'rename', 'unlink', 'rmdir'].includes(kind);
  const errno = -((constants.errno as Record<string, number>)[code] ?? 0);
  return Object.assign(new Error(`${code}: ${MESSAGES[code] ?? code}, ${call}${named ? ` '${path}'` : ''}`), {
    ...{ code, errno, syscall: call },
    ...(named && { path }),
  });
}

/** Runs `task` without syncing anything below `root`: for what no power cut follows, and a sync is slow. */
export const withoutSync = <T>(root: string, task: () => T | Promise<T>): Promise<T> => new Recorder(root).during(task);

/** An operation in words, for messages. */
export function describe(operation: Operation | undefined, root = ''): string {
  if (operation === undefined) return 'the end';
  const short = (path: string): string => path.slice(root.length + 1) || '.';
  const more =
    operation.kind === 'rename' ? ` to ${short(operation.to)}` : operation.kind === 'write' ? ` ${operation.bytes.length} bytes` : '';
  return `${operation.kind} ${short(operation.path)}${more}`;
}

const REFUSED_SYNC = [
  'appendFileSync',
  'copyFileSync',
  'cpSync',
  'createWriteStream',
  'linkSync',
  'symlinkSync',
  'truncateSync',
  'writevSync',
];
const REFUSED_CALLBACK = ['appendFile', 'copyFile', 'mkdir', 'open', 'rename', 'rm', 'rmdir', 'truncate', 'unlink', 'writeFile'];
const REFUSED_PROMISES = ['appendFile', 'copyFile', 'cp', 'link', 'symlink', 'truncate'];

interface Open {
  readonly path: string;
  readonly handle: number;
  readonly folder: boolean;
}

export class Recorder {
  readonly root: string;
  readonly log: Operation[] = [];
  #faults: Faults = () => undefined;
  #count = 0;
  #handles = 0;
  readonly #open = new Map<number, Open>();
  readonly #real = { ...fs };
  readonly #realPromises = { ...promises };
  readonly #restore: (() => void)[] = [];
  static #active = false;

  /** Watches what lies below `root`, which is there already. */
  constructor(root: string) {
    this.root = resolve(root);
  }

  /** Runs `task` with every operation below the root recorded; those that `faults` chooses fail. Nothing is really synced. */
  async during<T>(task: () => T | Promise<T>, faults: Faults = () => undefined): Promise<T> {
    if (Recorder.#active) throw new Error('one recorder at a time stands in the place of node:fs: make the tests serial');
    Recorder.#active = true;
    this.#faults = faults;
    this.#count = 0;
    this.#install();
    try {
      return await task();
    } finally {
      for (const restore of this.#restore.splice(0)) restore();
      syncBuiltinESMExports();
      Recorder.#active = false;
    }
  }

  #watches(path: unknown): path is string {
    if (typeof path !== 'string') return false;
    const full = resolve(path);
    return full === this.root || full.startsWith(this.root + sep);
  }

  /** Does an operation, or what its fault leaves of it; `run` gets the number of bytes to write. */
  #perform<T>(operation: Operation, run: (bytes: number) => T): T {
    const fault = this.#faults(operation, this.#count++);
    if (fault !== undefined && 'code' in fault) {
      // A descriptor is gone even when closing it reports an error.
      if (operation.kind === 'close') run(0);
      throw systemError(fault.code, operation);
    }
    const length = operation.kind === 'write' ? operation.bytes.length : 0;
    const bytes = Math.min(length, fault?.bytes ?? length);
    const result = run(bytes);
    this.log.push(operation.kind === 'write' ? { ...operation, bytes: operation.bytes.slice(0, bytes) } : operation);
    return result;
  }

  #openFile(file: string, flags: string): number {
    const path = resolve(file);
    const folder = flags === 'r' && this.#real.statSync(path).isDirectory();
    if (flags === 'r' && !folder) return this.#real.openSync(path, flags);
    const handle = this.#handles++;
    const fd = this.#perform({ kind: 'open', path, handle, flags, folder }, () => this.#real.openSync(path, flags));
    this.#open.set(fd, { path, handle, folder });
    return fd;
  }

  #write(fd: number, at: Open, bytes: Uint8Array, position: number | null): number {
    const { path, handle } = at;
    return this.#perform({ kind: 'write', path, handle, bytes, position }, (n) => this.#real.writeSync(fd, bytes, 0, n, position));
  }

  #sync(at: Open): void {
    this.#perform({ kind: 'sync', path: at.path, handle: at.handle }, () => undefined);
  }

  #close(fd: number, at: Open): void {
    this.#open.delete(fd);
    this.#perform({ kind: 'close', path: at.path, handle: at.handle }, () => this.#real.closeSync(fd));
  }

  #mkdir(folder: string, recursive: boolean): string | undefined {
    const path = resolve(folder);
    if (!recursive) return void this.#perform({ kind: 'mkdir', path }, () => this.#real.mkdirSync(path));
    if (this.#real.existsSync(path)) return this.#real.mkdirSync(path, { recursive: true }); // an error where it is a file
    const above = this.#watches(dirname(path)) ? this.#mkdir(dirname(path), true) : undefined;
    this.#perform({ kind: 'mkdir', path }, () => this.#real.mkdirSync(path));
    return above ?? path;
  }

  #remove(file: string, force: boolean): void {
    const path = resolve(file);
    const stats = this.#real.lstatSync(path, { throwIfNoEntry: !force });
    if (!stats) return;
    if (!stats.isDirectory()) {
      this.#perform({ kind: 'unlink', path }, () => this.#real.unlinkSync(path));
      return;
    }
    for (const name of this.#real.readdirSync(path).sort()) this.#remove(join(path, name), force);
    this.#perform({ kind: 'rmdir', path }, () => this.#real.rmdirSync(path));
  }

  #rename(from: string, to: string): void {
    const [path, target] = [resolve(from), resolve(to)];
    this.#perform({ kind: 'rename', path, to: target }, () => this.#real.renameSync(path, target));
    // Descriptors keep their file under its new name.
    for (const [fd, at] of this.#open) {
      if (at.path === path || at.path.startsWith(path + sep)) this.#open.set(fd, { ...at, path: target + at.path.slice(path.length) });
    }
  }

  #writeFile(path: string, data: string | Uint8Array): void {
    const fd = this.#openFile(path, 'w');
    const at = this.#open.get(fd) as Open;
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    for (let done = 0; done < bytes.length; ) done += this.#write(fd, at, bytes.subarray(done), null);
    this.#close(fd, at);
  }

  /** What stands for a `FileHandle`: only what is known here can be called. */
  #handle(fd: number): object {
    const at = this.#open.get(fd) as Open;
    return {
      fd,
      write: async (bytes: Uint8Array) => ({ bytesWritten: this.#write(fd, at, bytes, null), buffer: bytes }),
      sync: async () => this.#sync(at),
      stat: async () => this.#real.fstatSync(fd),
      close: async () => {
        // Another close of the same handle finds it closed, as Node's does.
        if (this.#open.get(fd)?.handle === at.handle) this.#close(fd, at);
      },
    };
  }

  #install(): void {
    const real = this.#real as unknown as Record<string, (...args: never[]) => unknown>;
    const realPromises = this.#realPromises as unknown as Record<string, (...args: never[]) => unknown>;
    /** `ours` where the first argument is watched: a path, or an open descriptor. */
    const put = (target: object, from: typeof real, name: string, ours: (...args: never[]) => unknown): void => {
      const other = from[name] as (...args: unknown[]) => unknown;
      const chosen = (...args: unknown[]): unknown =>
        this.#watches(args[0]) || (typeof args[0] === 'number' && this.#open.has(args[0])) ? ours(...(args as never[])) : other(...args);
      Object.assign(target, { [name]: chosen });
      this.#restore.push(() => Object.assign(target, { [name]: other }));
    };
    const at = (fd: number): Open => this.#open.get(fd) as Open;
    const sync: Record<string, (...args: never[]) => unknown> = {
      openSync: (path: string, flags: string | number = 'r') => this.#openFile(path, flags === 0 ? 'r' : String(flags)),
      writeSync: (fd: number, data: Uint8Array, offset = 0, length = data.length - offset, position: number | null = null) =>
        this.#write(fd, at(fd), data.subarray(offset, offset + length), position),
      fsyncSync: (fd: number) => this.#sync(at(fd)),
      fdatasyncSync: (fd: number) => this.#sync(at(fd)),
      ftruncateSync: (fd: number, length = 0) =>
        this.#perform({ kind: 'truncate', path: at(fd).path, handle: at(fd).handle, length }, () => this.#real.ftruncateSync(fd, length)),
      closeSync: (fd: number) => this.#close(fd, at(fd)),
      renameSync: (from: string, to: string) => this.#rename(from, to),
      mkdirSync: (path: string, options?: { recursive?: boolean }) => this.#mkdir(path, options?.recursive === true),
      rmSync: (path: string, options?: { force?: boolean }) => this.#remove(path, options?.force === true),
      unlinkSync: (path: string) => this.#perform({ kind: 'unlink', path: resolve(path) }, () => this.#real.unlinkSync(path)),
      rmdirSync: (path: string) => this.#perform({ kind: 'rmdir', path: resolve(path) }, () => this.#real.rmdirSync(path)),
      writeFileSync: (path: string, data: string | Uint8Array) => this.#writeFile(path, data),
    };
    for (const [name, ours] of Object.entries(sync)) {
      put(fs, real, name, ours);
      const plain = name.slice(0, -4);
      if (['rename', 'mkdir', 'rm', 'unlink', 'rmdir', 'writeFile'].includes(plain))
        put(promises, realPromises, plain, async (...args) => ours(...args));
    }
    put(promises, realPromises, 'open', async (path: string, flags: string | number = 'r') => {
      const mode = flags === 0 ? 'r' : String(flags);
      const folder = mode === 'r' && this.#real.statSync(path).isDirectory();
      return mode === 'r' && !folder ? this.#realPromises.open(path, 'r') : this.#handle(this.#openFile(path, mode));
    });
    const refuse = (name: string) => (): never => {
      throw new Error(`the recorder of test/disk does not know ${name}: teach it`);
    };
    for (const name of [...REFUSED_SYNC, ...REFUSED_CALLBACK]) put(fs, real, name, refuse(name));
    for (const name of REFUSED_PROMISES) put(promises, realPromises, name, refuse(name));
    syncBuiltinESMExports();
  }
}
