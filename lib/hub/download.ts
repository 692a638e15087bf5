import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { FileError } from '../util/errors.ts';
import { namingAsync as naming } from '../util/files.ts';
import { type RepoCache, sizeOf } from './cache.ts';
import { ConnectionError, HubError } from './error.ts';
import { contentHash } from './hash.ts';
import { ask } from './http.ts';
import { beginPartial, partialOf } from './partial.ts';
import { refusal } from './refusal.ts';
import type { RemoteFile } from './remote.ts';
import { persist } from './retry.ts';
import type { HubSettings } from './settings.ts';

/** Where the answer begins: at `from`, or at 0 from a server that knows no ranges. @throws HubError */
function startOf(response: Response, remote: RemoteFile, from: number, settings: HubSettings): number {
  const { status, headers } = response;
  if (status === 200) return 0;
  if (status === 206) {
    const start = /^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1];
    if (Number(start) === from) return from;
    throw new HubError(`${remote.id}: ${remote.name}: content-range must begin at ${from}, got ${start ?? 'none'}`);
  }
  throw refusal(response, remote.id, `${remote.id}: ${remote.name}`, settings);
}

/** One request for what is missing; writes what comes. Gives how long the file is then. */
async function fetchRest(settings: HubSettings, remote: RemoteFile, path: string, file: FileHandle, from: number): Promise<number> {
  const answered = await ask(settings, remote.path, from > 0 ? { headers: { range: `bytes=${from}-` } } : {});
  let at: number;
  try {
    at = startOf(answered.response, remote, from, settings);
  } catch (error) {
    await answered.close();
    throw error;
  }
  for await (const piece of answered.body()) {
    if (at + piece.length > remote.size)
      throw new HubError(`${remote.id}: ${remote.name}: must be ${remote.size} bytes as the hub said, got more`);
    await naming(path, 'write', async () => {
      for (let done = 0; done < piece.length; ) done += (await file.write(piece, done, piece.length - done, at + done)).bytesWritten;
    });
    at += piece.length;
    settings.onProgress({ file: remote.name, bytes: at, total: remote.size });
  }
  return at;
}

/** Brings the file to its full length, over as many connections as it takes while each brings something. */
async function fetchAll(settings: HubSettings, remote: RemoteFile, path: string, file: FileHandle, have: number): Promise<void> {
  let at = have;
  const rest = async (): Promise<void> => {
    try {
      await fetchRest(settings, remote, path, file, at);
    } finally {
      at = Math.min((await file.stat()).size, remote.size);
    }
    if (at < remote.size) throw new ConnectionError(`${remote.id}: ${remote.name}: the connection was cut`);
  };
  if (at < remote.size) await persist(settings, rest, () => at);
}

async function fetchBlob(settings: HubSettings, remote: RemoteFile, blob: string): Promise<void> {
  const have = await beginPartial(blob, settings.timeoutMs, settings.signal);
  if (have === undefined) return;
  const path = partialOf(blob);
  const file = await naming(path, 'create', () => open(path, have > 0 ? 'r+' : 'w'));
  try {
    if (have > remote.size) await file.truncate(0);
    await fetchAll(settings, remote, path, file, have > remote.size ? 0 : have);
    await file.sync();
  } finally {
    await file.close();
  }
  const hash = await contentHash(path, remote.hash);
  if (hash !== remote.hash) {
    await rm(path, { force: true });
    const kind = remote.hash.length === 64 ? 'sha256' : "git's sha1";
    throw new HubError(
      `${remote.id}: ${remote.name}: ${kind} must be ${remote.hash}, got ${hash}: what came is not what the hub announced`,
    );
  }
  await naming(blob, 'put in place', () => rename(path, blob));
}

/** Downloads under way in this process, by blob: two callers share one. */
const underWay = new Map<string, Promise<void>>();

/** Sees to it that the cache has a file under its name at a commit. @throws HubError, FileError */
export async function download(settings: HubSettings, cache: RepoCache, commit: string, remote: RemoteFile): Promise<void> {
  const blob = cache.blob(remote.hash);
  const size = await sizeOf(blob);
  if (size !== undefined && size !== remote.size)
    throw new FileError(blob, `must be ${remote.size} bytes long as the hub says of ${remote.name}, got ${size}`, {
      hint: 'Remove this file of the cache.',
    });
  if (size === undefined) {
    const going = underWay.get(blob) ?? fetchBlob(settings, remote, blob).finally(() => underWay.delete(blob));
    underWay.set(blob, going);
    await going;
  }
  await cache.link(commit, remote.name, remote.hash);
}
