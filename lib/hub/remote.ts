// What the hub says of a model: the commit of a revision with the names of its files, and of each file its hash and size.
import { show } from '../util/show.ts';
import { HubError } from './error.ts';
import { isContentHash } from './hash.ts';
import { ask, readBody } from './http.ts';
import { isCommit, isSafePath } from './names.ts';
import { refusal } from './refusal.ts';
import { persist } from './retry.ts';
import type { HubSettings } from './settings.ts';

export interface RemoteRepo {
  readonly commit: string;
  readonly files: ReadonlySet<string>;
}

/** A file of a model at a commit. */
export interface RemoteFile {
  readonly id: string;
  readonly name: string;
  /** Of the hub: `/owner/name/resolve/<commit>/<name>`. */
  readonly path: string;
  /** See `contentHash`. */
  readonly hash: string;
  readonly size: number;
}

/** Names of a hundred thousand files. */
const LIST_BYTES = 64 << 20;

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** Names that lead out of a folder are left out: no file of a model has one. */
function parseRepo(id: string, bytes: Uint8Array): RemoteRepo {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {}
  const { sha, siblings } = isObject(json) ? json : {};
  if (typeof sha !== 'string' || !isCommit(sha)) throw new HubError(`${id}: sha must be the commit of the revision, got ${show(sha)}`);
  if (!Array.isArray(siblings)) throw new HubError(`${id}: siblings must be a list of files, got ${show(siblings)}`);
  const names = siblings.map((entry: unknown) => (isObject(entry) ? entry.rfilename : undefined));
  return { commit: sha, files: new Set(names.filter((name): name is string => typeof name === 'string' && isSafePath(name))) };
}

/** The commit of the revision, and its files. One attempt: where the hub cannot be reached, the cache may serve. */
export async function describeRepo(settings: HubSettings, id: string): Promise<RemoteRepo> {
  const answered = await ask(settings, `/api/models/${id}/revision/${encodeURIComponent(settings.revision)}`);
  if (!answered.response.ok) {
    await answered.close();
    throw refusal(answered.response, id, id, settings);
  }
  return parseRepo(id, await readBody(answered, id, LIST_BYTES));
}

const encodePath = (name: string): string => name.split('/').map(encodeURIComponent).join('/');

/** `W/"abc"` and `"abc"` are abc. */
const plainTag = (tag: string | null): string => (tag ?? '').replace(/^W\//, '').replace(/^"(.*)"$/, '$1');

/** Hash and size of a file. Of a large one the hub itself tells them, with the redirect to where it lies. */
export async function describeFile(settings: HubSettings, id: string, commit: string, name: string): Promise<RemoteFile> {
  const path = `/${id}/resolve/${commit}/${encodePath(name)}`;
  const { response } = await persist(settings, async () => {
    const answered = await ask(settings, path, { method: 'HEAD', stopAt: (r) => r.headers.has('x-linked-etag') });
    await answered.close();
    const { status } = answered.response;
    if (status >= 400) throw refusal(answered.response, id, `${id}: ${name}`, settings);
    return answered;
  });
  const hash = plainTag(response.headers.get('x-linked-etag') ?? response.headers.get('etag'));
  if (!isContentHash(hash)) throw new HubError(`${id}: ${name}: etag must be a sha256 or git's sha1, got ${show(hash)}`);
  const length = response.headers.get('x-linked-size') ?? response.headers.get('content-length');
  const size = /^\d+$/.test(length ?? '') ? Number(length) : Number.NaN;
  if (!Number.isSafeInteger(size))
    throw new HubError(`${id}: ${name}: its size must be a number of bytes, got ${show(length ?? undefined)}`);
  return { id, name, path, hash, size };
}
