// Files of a model, all of one commit, in the cache: asked for where the hub can be reached, else what the cache holds.
import { join } from 'node:path';
import { namingAsync as naming } from '../util/files.ts';
import { show } from '../util/show.ts';
import { RepoCache } from './cache.ts';
import { download } from './download.ts';
import { ConnectionError, HubError } from './error.ts';
import { checkRepoId, checkRevision, isCommit, isSafePath } from './names.ts';
import { describeFile, describeRepo } from './remote.ts';
import { type HubOptions, hubSettings } from './settings.ts';

/** A model at a commit. */
export interface Snapshot {
  /** The folder of the files. */
  readonly folder: string;
  readonly commit: string;
  /** The hub was not asked, or did not answer: the model may have more files. */
  readonly cached: boolean;
  /** Whether the model has a file; of one that comes from the cache alone: whether that holds it. */
  has(file: string): Promise<boolean>;
  /** Fetches files that are not in the cache yet, one after the other. @throws HubError for one that the model has not */
  fetch(files: readonly string[]): Promise<void>;
  /** To be called when all is there: the revision then means this commit without a network, too. */
  done(): Promise<void>;
}

function fromCache(cache: RepoCache, id: string, commit: string, why: string): Snapshot {
  return {
    folder: cache.snapshot(commit),
    commit,
    cached: true,
    has: (file) => cache.has(commit, file),
    async fetch(files) {
      for (const file of files)
        if (!(await cache.has(commit, file)))
          throw new HubError(`${id}: ${file} is not in the cache ${cache.folder}, and ${why}`, {
            hint: 'Fetch the model once with a network.',
          });
    },
    done: async () => undefined,
  };
}

/**
 * Opens a model of the hub at a revision.
 * @throws HubError where the hub refuses, or cannot be reached and the cache knows nothing of the revision
 */
export async function openSnapshot(id: string, options: HubOptions = {}): Promise<Snapshot> {
  checkRepoId(id);
  const settings = hubSettings(options);
  const { revision } = settings;
  checkRevision(revision);
  const cache = new RepoCache(settings.cacheDir, id);
  const known = await cache.commitOf(revision);
  if (settings.offline) {
    if (known !== undefined) return fromCache(cache, id, known, 'the hub is not asked (offline)');
    throw new HubError(`${id}: revision ${revision} is not in the cache ${cache.folder}, and the hub is not asked (offline)`, {
      hint: 'Fetch the model once without HF_HUB_OFFLINE.',
    });
  }
  try {
    const { commit, files } = await describeRepo(settings, id);
    if (isCommit(revision) && commit !== revision) throw new HubError(`${id}: commit must be ${revision} as asked for, got ${commit}`);
    return {
      folder: cache.snapshot(commit),
      commit,
      cached: false,
      has: async (file) => files.has(file),
      async fetch(wanted) {
        for (const name of wanted) {
          if (!isSafePath(name)) throw new HubError(`${id}: a file must have a name that stays in its folder, got ${show(name)}`);
          if (!files.has(name)) throw new HubError(`${id}: the model has no file ${name}`);
          if (await cache.has(commit, name)) continue;
          await download(settings, cache, commit, await describeFile(settings, id, commit, name));
        }
      },
      done: () => naming(cache.folder, 'write', () => cache.noteCommit(revision, commit)),
    };
  } catch (error) {
    if (!(error instanceof ConnectionError) || known === undefined) throw error;
    settings.onMessage(`${error.message}; using what the cache holds of ${id}`);
    return fromCache(cache, id, known, error.message);
  }
}

/** Path of one file of a model, fetched where the cache does not hold it. */
export async function fetchFile(id: string, file: string, options: HubOptions = {}): Promise<string> {
  const snapshot = await openSnapshot(id, options);
  await snapshot.fetch([file]);
  await snapshot.done();
  return join(snapshot.folder, file);
}
