import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type FileSystem, nodeFileSystem, type OpenFile } from '../../../lib/checkpoint/filesystem.ts';

/** A folder of its own for a test, removed when the test ends. */
export function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Deterministic random integers below `n`. */
export function randomIntegers(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Called before each operation with its name and path; what it throws, the operation throws. `shorten` cuts a write. */
export interface Faults {
  before(operation: string, path: string): void;
  shorten?(length: number): number;
}

/** The real file system with faults. It syncs nothing: no test cuts the power, and a sync is slow. */
export function faultyFileSystem(faults: Faults): FileSystem {
  const wrapFile = (file: OpenFile, path: string): OpenFile => ({
    read: async (buffer, position) => {
      faults.before('read', path);
      return file.read(buffer, position);
    },
    write: async (bytes) => {
      faults.before('write', path);
      return file.write(faults.shorten ? bytes.subarray(0, faults.shorten(bytes.length)) : bytes);
    },
    size: () => file.size(),
    sync: async () => {
      faults.before('sync', path);
    },
    close: () => file.close(),
  });
  return {
    open: async (path, flags) => {
      faults.before(flags === 'r' ? 'open' : 'create', path);
      return wrapFile(await nodeFileSystem.open(path, flags), path);
    },
    list: async (folder) => {
      faults.before('list', folder);
      return nodeFileSystem.list(folder);
    },
    makeFolder: async (folder) => {
      faults.before('makeFolder', folder);
      return nodeFileSystem.makeFolder(folder);
    },
    syncFolder: async (folder) => {
      faults.before('syncFolder', folder);
    },
    rename: async (from, to) => {
      faults.before('rename', `${from} ${to}`);
      return nodeFileSystem.rename(from, to);
    },
    remove: async (path) => {
      faults.before('remove', path);
      return nodeFileSystem.remove(path);
    },
  };
}
