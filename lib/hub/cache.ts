// The cache as huggingface_hub lays it out, so that either finds what the other fetched:
//
//   models--owner--name/refs/main                        the commit that a branch or tag stood at
//   models--owner--name/blobs/<hash>                     contents, by sha256 or git's sha1
//   models--owner--name/snapshots/<commit>/config.json   links to ../../blobs/<hash>
import { copyFile, lstat, mkdir, readFile, readlink, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { threadId } from 'node:worker_threads';
import { namingAsync as naming } from '../util/files.ts';
import { isCommit } from './names.ts';

/** Size of a file, through links; undefined where there is none. */
export const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    (found) => (found.isFile() ? found.size : undefined),
    () => undefined,
  );

/** In the name of what this process and thread writes. */
export const OWN = `${process.pid}-${threadId}`;

/** The part of the cache that one model has. Names are checked before they come here. */
export class RepoCache {
  readonly folder: string;

  constructor(cacheDir: string, id: string) {
    this.folder = join(cacheDir, `models--${id.replaceAll('/', '--')}`);
  }

  blob(hash: string): string {
    return join(this.folder, 'blobs', hash);
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  /** Whether a file of a commit is there, whoever fetched it. */
  async has(commit: string, file: string): Promise<boolean> {
    return (await sizeOf(join(this.snapshot(commit), file))) !== undefined;
  }

  /** The commit of a revision as it was when last asked for. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const text = await readFile(join(this.folder, 'refs', revision), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  async noteCommit(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    await this.#put(join(this.folder, 'refs', revision), (path) => writeFile(path, commit));
  }

  /** Gives a content its name in a snapshot: a link, or a copy where the system makes no links. */
  async link(commit: string, file: string, hash: string): Promise<void> {
    const path = join(this.snapshot(commit), file);
    const blob = this.blob(hash);
    const to = relative(dirname(path), blob);
    const there = await lstat(path).catch(() => undefined);
    if (there?.isSymbolicLink() && (await readlink(path)) === to) return;
    await this.#put(path, (temporary) => symlink(to, temporary).catch(() => copyFile(blob, temporary)));
  }

  /** Makes a file under a name of its own and gives it its name when it is whole. */
  async #put(path: string, make: (temporary: string) => Promise<unknown>): Promise<void> {
    await naming(dirname(path), 'make the folder', () => mkdir(dirname(path), { recursive: true }));
    const temporary = `${path}.${OWN}.tmp`;
    await naming(path, 'write', async () => {
      await rm(temporary, { force: true });
      await make(temporary);
      await rename(temporary, path);
    });
  }
}
