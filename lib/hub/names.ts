// Names that come from users and from the hub, before they become parts of paths and addresses.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';

/** The models that had no owner when the hub began; the hub still answers to these names. Other bare names are folders. */
const BARE = ['gpt2', 'gpt2-medium', 'gpt2-large', 'gpt2-xl', 'distilgpt2', 'openai-gpt'];

const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$/;

/** Whether a text is written as the id of a model: `owner/name`, or one of the old names without an owner. */
export function isRepoId(text: string): boolean {
  if (BARE.includes(text)) return true;
  const parts = text.split('/');
  return parts.length === 2 && parts.every((part) => PART.test(part)) && !/--|\.\.|\.git$/.test(text);
}

/**
 * Whether a text means a model of the hub: an id, and nothing of this name stands here. Where the folder that would be the owner
 * exists, it is a path with a slip in it. Paths start at `folder`.
 */
export function meansHub(text: string, folder = '.'): boolean {
  if (!isRepoId(text) || existsSync(resolve(folder, text))) return false;
  const [owner = '', name] = text.split('/');
  return name === undefined || !existsSync(resolve(folder, owner));
}

/** Characters that no file system and no address trips over. */
const SAFE_SEGMENT = /^[^\\/:*?"<>|\p{Cc}\p{Surrogate}]{1,255}$/u;

/** Whether a path goes down from a folder and stays there, on every system: no `..`, nothing absolute, no backslash, no drive. */
export function isSafePath(path: string): boolean {
  const segments = path.split('/');
  return segments.length <= 32 && segments.every((part) => SAFE_SEGMENT.test(part) && !/^\.{1,2}$|[. ]$/.test(part));
}

export function checkRepoId(id: string): void {
  if (!isRepoId(id)) throw new ArgumentError(`hub: id must be owner/name, got ${show(id)}`);
}

/** A branch, a tag, `refs/pr/1` or a commit. */
export function checkRevision(revision: string): void {
  if (!isSafePath(revision) || !/^[\w./+-]+$/.test(revision))
    throw new ArgumentError(`hub: revision must be a branch, a tag or a commit, got ${show(revision)}`);
}

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);
