import { randomUUID } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { ArgumentError, FileError } from '../util/errors.ts';
import { isAlive } from '../util/files.ts';
import { parseJSON } from '../util/json_text.ts';
import { show } from '../util/show.ts';
import { type FileSystem, isCode, makeFolders, naming, nodeFileSystem } from './filesystem.ts';
import { isObject, type Json } from './json.ts';
import { encodeManifest, isPlainName, MANIFEST_FILE } from './manifest.ts';
import { type Checkpoint, openCheckpoint, readWholeFile } from './read.ts';
import { encodeSafetensors, type SafetensorsEntry } from './safetensors.ts';
import { type FileStamp, replaceFile, writeNewFile } from './write.ts';

// A folder of checkpoints:
//   step-00000100/    complete; a second save of the same step is step-00000100-2, and then the first is removed
//   best.json         { step, value }: a file, because Windows makes no symbolic links
//   .tmp-<pid>-...    being written or removed; never read
//
// Saving writes all files into a temporary folder, syncs each, syncs that folder, renames it, syncs the parent. Only then are
// older ones removed, again by a rename first, which is synced too. So at every moment, on the disk too, each name `step-...` is a
// complete checkpoint, and the previous one is there until the new one is on the disk.

const STEP_FOLDER = /^step-(\d{8,})(?:-(\d+))?$/;
const TEMPORARY = /^(?:best\.json)?\.tmp-(\d+)/;
const BEST_FILE = 'best.json';

/** A file of a checkpoint: its text, its bytes, or tensors for a safetensors file, written one by one. */
export type CheckpointFile =
  | string
  | Uint8Array
  | { readonly tensors: Iterable<SafetensorsEntry>; readonly metadata?: Readonly<Record<string, string>> };

export interface CheckpointContents {
  readonly step: number;
  readonly config: Json;
  readonly loader: Json;
  readonly rng: Json;
  readonly state: Json;
  /** Names such as `model.safetensors`, `tokenizer.json`. */
  readonly files: Readonly<Record<string, CheckpointFile>>;
}

export interface CheckpointOptions {
  readonly fs?: FileSystem;
}

interface StepFolder {
  readonly name: string;
  readonly step: number;
  readonly generation: number;
}

/** Folders of checkpoints, newest first. */
function stepFolders(names: readonly string[]): StepFolder[] {
  const found: StepFolder[] = [];
  for (const name of names) {
    const match = STEP_FOLDER.exec(name);
    if (match) found.push({ name, step: Number(match[1]), generation: Number(match[2] ?? 1) });
  }
  return found.sort((a, b) => b.step - a.step || b.generation - a.generation);
}

const list = (fs: FileSystem, dir: string): Promise<string[]> => naming(dir, 'list', () => fs.list(dir));

/** A temporary name of this process is of an earlier save: saves do not overlap. */
const isAbandoned = (pid: number): boolean => pid === process.pid || !isAlive(pid);

/** Removes what interrupted saves and removals of processes that have ended left behind. */
async function removeLeftovers(fs: FileSystem, dir: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const pid = TEMPORARY.exec(name)?.[1];
    if (pid !== undefined && isAbandoned(Number(pid))) await naming(join(dir, name), 'remove', () => fs.remove(join(dir, name)));
  }
}

const temporaryName = (): string => `.tmp-${process.pid}-${randomUUID().slice(0, 8)}`;

/** Takes the names away durably before the files go: a removal that is cut short leaves nothing that looks like a checkpoint. */
async function removeFolders(fs: FileSystem, dir: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const away: string[] = [];
  for (const name of names) {
    const aside = join(dir, temporaryName());
    await naming(join(dir, name), 'move away', () => fs.rename(join(dir, name), aside));
    away.push(aside);
  }
  await naming(dir, 'sync to disk', () => fs.syncFolder(dir));
  for (const aside of away) await naming(aside, 'remove', () => fs.remove(aside));
}

const namesOf = (folders: readonly StepFolder[]): string[] => folders.map((f) => f.name);

function chunksOf(content: CheckpointFile): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  if (typeof content === 'string') return [new TextEncoder().encode(content)];
  return content instanceof Uint8Array ? [content] : encodeSafetensors(content.tensors, content.metadata);
}

async function writeFolder(fs: FileSystem, folder: string, contents: CheckpointContents): Promise<void> {
  const files: Record<string, FileStamp> = {};
  for (const [name, content] of Object.entries(contents.files)) {
    files[name] = await writeNewFile(fs, join(folder, name), chunksOf(content));
  }
  await writeNewFile(fs, join(folder, MANIFEST_FILE), [new TextEncoder().encode(encodeManifest({ ...contents, files }))]);
  await naming(folder, 'sync to disk', () => fs.syncFolder(folder));
}

/**
 * Saves a checkpoint into `dir/step-NNNNNNNN` and returns that folder's path once everything has reached the disk. If anything fails,
 * the checkpoints that were there are still there, whole. One save at a time for one `dir`.
 * @throws ArgumentError for wrong contents, FileError naming what the file system refused.
 */
export async function saveCheckpoint(
  dir: string,
  contents: CheckpointContents,
  { fs = nodeFileSystem }: CheckpointOptions = {},
): Promise<string> {
  const { step } = contents;
  if (!(Number.isSafeInteger(step) && step >= 0)) throw new ArgumentError(`saveCheckpoint: step must be an integer from 0, got ${step}`);
  for (const name of Object.keys(contents.files)) {
    if (!isPlainName(name) || name === MANIFEST_FILE) throw new ArgumentError(`saveCheckpoint: files must have plain names, got ${name}`);
  }
  await makeFolders(fs, dir);
  const names = await list(fs, dir);
  await removeLeftovers(fs, dir, names);

  const temporary = join(dir, temporaryName());
  const same = stepFolders(names).filter((f) => f.step === step);
  const generation = (same[0]?.generation ?? 0) + 1;
  const folder = join(dir, `step-${String(step).padStart(8, '0')}${generation === 1 ? '' : `-${generation}`}`);
  try {
    await naming(temporary, 'make the folder', () => fs.makeFolder(temporary));
    await writeFolder(fs, temporary, contents);
    await naming(folder, 'put in place', () => fs.rename(temporary, folder));
  } catch (error) {
    await fs.remove(temporary).catch(() => undefined); // the first error is the one to tell
    throw error;
  }
  await naming(dir, 'sync to disk', () => fs.syncFolder(dir));
  await removeFolders(fs, dir, namesOf(same));
  return folder;
}

/** A folder that was passed over, and why. */
export interface SkippedCheckpoint {
  readonly name: string;
  readonly why: string;
  /** It has the name of a complete checkpoint. */
  readonly damaged: boolean;
}

/** These say nothing about a file: whoever passed a checkpoint over for one of them would lose it to `discardLaterCheckpoints`. */
const REFUSALS = ['EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'ENOMEM'];

/**
 * The newest complete checkpoint in `dir`, if there is one, and what newer or unfinished ones were passed over.
 * @throws FileError where the system refuses to read, for want of rights, memory or file descriptors.
 */
export async function latestCheckpoint(
  dir: string,
  { fs = nodeFileSystem }: CheckpointOptions = {},
): Promise<{ checkpoint: Checkpoint | undefined; skipped: SkippedCheckpoint[] }> {
  const names = await list(fs, dir);
  const skipped: SkippedCheckpoint[] = [];
  for (const name of names)
    if (TEMPORARY.test(name)) skipped.push({ name, why: 'unfinished: its save or removal was interrupted', damaged: false });
  for (const { name } of stepFolders(names)) {
    try {
      return { checkpoint: await openCheckpoint(join(dir, name), fs), skipped };
    } catch (error) {
      if (!(error instanceof FileError) || isCode(error.cause, ...REFUSALS)) throw error;
      skipped.push({ name, why: `damaged: ${error.message}`, damaged: true });
    }
  }
  return { checkpoint: undefined, skipped };
}

/** Notes which step is the best so far, with the value that says so. The step's checkpoint is saved before. */
export async function setBestCheckpoint(
  dir: string,
  best: { readonly step: number; readonly value: number },
  { fs = nodeFileSystem }: CheckpointOptions = {},
): Promise<void> {
  if (!stepFolders(await list(fs, dir)).some((f) => f.step === best.step)) {
    throw new ArgumentError(`setBestCheckpoint: step must be that of a checkpoint in ${dir}, got ${best.step}`);
  }
  if (!Number.isFinite(best.value)) throw new ArgumentError(`setBestCheckpoint: value must be a finite number, got ${best.value}`);
  const text = `${JSON.stringify({ step: best.step, value: best.value })}\n`;
  await replaceFile(fs, join(dir, BEST_FILE), [new TextEncoder().encode(text)]);
}

/**
 * Notes what a run that starts again knows of its best checkpoint: `best` where that one is there, otherwise that there is none.
 * Whatever was noted before, by a run that went on from here, is forgotten.
 */
export async function resetBestCheckpoint(
  dir: string,
  best: { readonly step: number; readonly value: number } | null,
  { fs = nodeFileSystem }: CheckpointOptions = {},
): Promise<void> {
  const names = await list(fs, dir);
  if (best !== null && stepFolders(names).some((f) => f.step === best.step)) return setBestCheckpoint(dir, best, { fs });
  if (names.includes(BEST_FILE)) await naming(join(dir, BEST_FILE), 'remove', () => fs.remove(join(dir, BEST_FILE)));
}

async function readBest(fs: FileSystem, dir: string, names: readonly string[]): Promise<{ step: number; value: number } | undefined> {
  if (!names.includes(BEST_FILE)) return undefined;
  const file = join(dir, BEST_FILE);
  const json = parseJSON(file, await readWholeFile(fs, file));
  if (!isObject(json) || !Number.isSafeInteger(json.step) || (json.step as number) < 0 || !Number.isFinite(json.value)) {
    throw new FileError(file, `must hold { step, value }, got ${show(json)}`);
  }
  return { step: json.step as number, value: json.value as number };
}

/**
 * The checkpoint noted as the best, with its value; undefined where none is noted.
 * @throws FileError where it is noted but damaged or gone.
 */
export async function bestCheckpoint(
  dir: string,
  { fs = nodeFileSystem }: CheckpointOptions = {},
): Promise<{ checkpoint: Checkpoint; value: number } | undefined> {
  const names = await list(fs, dir);
  const best = await readBest(fs, dir, names);
  if (best === undefined) return undefined;
  const folder = stepFolders(names).find((f) => f.step === best.step);
  if (folder === undefined) throw new FileError(join(dir, BEST_FILE), `step must be that of a checkpoint beside it, got ${best.step}`);
  return { checkpoint: await openCheckpoint(join(dir, folder.name), fs), value: best.value };
}

/**
 * Removes all but the newest `keep` checkpoints up to `step`, the step just saved; the one noted as the best stays in any case.
 * Later ones are not touched and not counted: a run that went back past a damaged checkpoint must not lose the sound ones for it.
 * Returns the names removed.
 */
export async function pruneCheckpoints(
  dir: string,
  { keep, step }: { readonly keep: number; readonly step: number },
  { fs = nodeFileSystem }: CheckpointOptions = {},
): Promise<string[]> {
  if (!(Number.isSafeInteger(keep) && keep >= 1)) throw new ArgumentError(`pruneCheckpoints: keep must be a positive integer, got ${keep}`);
  const names = await list(fs, dir);
  const best = await readBest(fs, dir, names);
  const kept = stepFolders(names).filter((f) => f.step <= step);
  const removed = namesOf(kept.slice(keep).filter((f) => f.step !== best?.step));
  await removeFolders(fs, dir, removed);
  return removed;
}

/**
 * Removes the checkpoints after `step`, and what interrupted saves left, for a run that starts again from there. Returns the names of
 * the checkpoints removed.
 */
export async function discardLaterCheckpoints(
  dir: string,
  step: number,
  { fs = nodeFileSystem }: CheckpointOptions = {},
): Promise<string[]> {
  const names = await list(fs, dir);
  await removeLeftovers(fs, dir, names);
  const later = namesOf(stepFolders(names).filter((f) => f.step > step));
  await removeFolders(fs, dir, later);
  return later;
}

/**
 * Removes a folder of checkpoints with all in it, for a run that starts over. Its name goes first: a removal that is cut short leaves
 * all of the old run or nothing of it.
 */
export async function clearCheckpoints(dir: string, { fs = nodeFileSystem }: CheckpointOptions = {}): Promise<void> {
  const parent = dirname(dir);
  const names = await list(fs, parent);
  await removeLeftovers(fs, parent, names);
  if (names.includes(basename(dir))) await removeFolders(fs, parent, [basename(dir)]);
}
