// A download that is not whole yet: blobs/<hash>.<process>-<thread>.incomplete. Each writer has a file of its own, so that no lock is
// needed: contents are equal, and whoever is done first puts its file in place. Of a process that has ended, another takes the file over
// (a rename: one of them gets it) and goes on where it ended.
import { mkdir, readdir, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isAlive, namingAsync as naming } from '../util/files.ts';
import { OWN, sizeOf } from './cache.ts';

const UNFINISHED = /\.(\d+)-\d+\.incomplete$/;

export const partialOf = (blob: string): string => `${blob}.${OWN}.incomplete`;

interface Found {
  readonly path: string;
  readonly alive: boolean;
}

/** What others have of a blob. */
async function others(blob: string): Promise<Found[]> {
  const names = await naming(dirname(blob), 'list', () => readdir(dirname(blob)));
  return names
    .filter((name) => name.startsWith(`${basename(blob)}.`) && UNFINISHED.test(name) && join(dirname(blob), name) !== partialOf(blob))
    .map((name) => ({ path: join(dirname(blob), name), alive: isAlive(Number(UNFINISHED.exec(name)?.[1])) }));
}

/** Takes over the longest file that an ended process left, where there is none of our own. */
async function takeOver(blob: string): Promise<void> {
  if ((await sizeOf(partialOf(blob))) !== undefined) return;
  const left = (await others(blob)).filter((found) => !found.alive);
  const sizes = await Promise.all(left.map(async ({ path }) => ({ path, size: (await sizeOf(path)) ?? 0 })));
  for (const { path } of sizes.sort((a, b) => b.size - a.size)) {
    const taken = await rename(path, partialOf(blob)).then(
      () => true,
      () => false,
    );
    if (taken) return;
  }
}

/** Waits while another process fetches the same and gets on with it, `patienceMs` at most between two signs of that. */
async function waitForOthers(blob: string, patienceMs: number, signal: AbortSignal | undefined): Promise<void> {
  let seen = '';
  let since = performance.now();
  while ((await sizeOf(blob)) === undefined) {
    signal?.throwIfAborted();
    const alive = (await others(blob)).filter((found) => found.alive);
    if (alive.length === 0) return;
    const now = (await Promise.all(alive.map(({ path }) => sizeOf(path)))).join();
    if (now !== seen) [seen, since] = [now, performance.now()];
    else if (performance.now() - since > patienceMs) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Readies the file of our own; gives how many bytes of it are there. undefined: another process brought the blob meanwhile. */
export async function beginPartial(blob: string, patienceMs: number, signal: AbortSignal | undefined): Promise<number | undefined> {
  await naming(dirname(blob), 'make the folder', () => mkdir(dirname(blob), { recursive: true }));
  await waitForOthers(blob, patienceMs, signal);
  if ((await sizeOf(blob)) !== undefined) return undefined;
  await takeOver(blob);
  return (await sizeOf(partialOf(blob))) ?? 0;
}
