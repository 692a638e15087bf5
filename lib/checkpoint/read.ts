import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { FileError } from '../util/errors.ts';
import { type FileSystem, naming, nodeFileSystem, type OpenFile } from './filesystem.ts';
import { type CheckpointManifest, MANIFEST_FILE, parseManifest } from './manifest.ts';
import type { FileStamp } from './write.ts';

const CHUNK_BYTES = 1 << 20;

/** A complete checkpoint whose files were compared with their stamps. */
export interface Checkpoint {
  readonly folder: string;
  readonly manifest: CheckpointManifest;
  /** Path of one of its files. @throws FileError where the checkpoint holds no such file. */
  path(name: string): string;
  readBytes(name: string): Promise<Uint8Array>;
  readText(name: string): Promise<string>;
}

async function withFile<T>(fs: FileSystem, file: string, task: (source: OpenFile) => Promise<T>): Promise<T> {
  const source = await naming(file, 'open', () => fs.open(file, 'r'));
  try {
    return await naming(file, 'read', () => task(source));
  } finally {
    await source.close();
  }
}

/** The whole content of a file. */
export function readWholeFile(fs: FileSystem, file: string): Promise<Uint8Array> {
  return withFile(fs, file, async (source) => {
    const bytes = new Uint8Array(await source.size());
    let done = 0;
    while (done < bytes.length) {
      const got = await source.read(bytes.subarray(done), done);
      if (got === 0) throw new FileError(file, `must be ${bytes.length} bytes long, got ${done}`);
      done += got;
    }
    return bytes;
  });
}

async function verifyFile(fs: FileSystem, file: string, stamp: FileStamp): Promise<void> {
  await withFile(fs, file, async (source) => {
    const size = await source.size();
    if (size !== stamp.size) throw new FileError(file, `must be ${stamp.size} bytes long, got ${size}`);
    const hash = createHash('sha256');
    const buffer = new Uint8Array(Math.min(size, CHUNK_BYTES));
    for (let position = 0; position < size; ) {
      const got = await source.read(buffer, position);
      if (got === 0) throw new FileError(file, `must be ${size} bytes long, got ${position}`);
      hash.update(buffer.subarray(0, got));
      position += got;
    }
    const sha256 = hash.digest('hex');
    if (sha256 !== stamp.sha256) throw new FileError(file, `sha256 must be ${stamp.sha256}, got ${sha256}: its content was damaged`);
  });
}

/**
 * Opens a checkpoint folder and compares every file with the size and SHA-256 in `checkpoint.json`.
 * @throws FileError naming the file and field that is missing or damaged.
 */
export async function openCheckpoint(folder: string, fs: FileSystem = nodeFileSystem): Promise<Checkpoint> {
  const manifestFile = join(folder, MANIFEST_FILE);
  const manifest = parseManifest(manifestFile, await readWholeFile(fs, manifestFile));
  for (const [name, stamp] of Object.entries(manifest.files)) await verifyFile(fs, join(folder, name), stamp);
  const path = (name: string): string => {
    if (Object.hasOwn(manifest.files, name)) return join(folder, name);
    throw new FileError(manifestFile, `files must hold ${name}, got ${Object.keys(manifest.files).join(', ') || 'none'}`);
  };
  const readBytes = async (name: string) => readWholeFile(fs, path(name));
  return { folder, manifest, path, readBytes, readText: async (name) => new TextDecoder().decode(await readBytes(name)) };
}
