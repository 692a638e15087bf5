import { createHash } from 'node:crypto';
import { FileError } from '../util/errors.ts';
import { parseJSON } from '../util/json_text.ts';
import { show } from '../util/show.ts';
import { version } from '../util/version.ts';
import { assertJson, isObject, type Json } from './json.ts';
import type { FileStamp } from './write.ts';

/** The file of a checkpoint that describes the others. It is written last. */
export const MANIFEST_FILE = 'checkpoint.json';

const FORMAT = 'heddle-checkpoint';

/** Raised when an older heddle could no longer read a checkpoint rightly. */
export const FORMAT_VERSION = 1;

/** What `checkpoint.json` holds. */
export interface CheckpointManifest {
  /** Version of the format. */
  readonly version: number;
  /** Version of the heddle that wrote it. */
  readonly heddle: string;
  /** Optimizer steps done. */
  readonly step: number;
  /** The resolved configuration of the run. */
  readonly config: Json;
  /** Where the data loader stands. */
  readonly loader: Json;
  /** State of the random numbers. */
  readonly rng: Json;
  /** What else the trainer remembers: best loss, evaluations without progress, … */
  readonly state: Json;
  readonly files: Readonly<Record<string, FileStamp>>;
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The text of `checkpoint.json`; its last field is the SHA-256 of the compact JSON of all others, so that it proves itself too. */
export function encodeManifest(manifest: Omit<CheckpointManifest, 'version' | 'heddle'>): string {
  const { step, config, loader, rng, state, files } = manifest;
  const body = { format: FORMAT, version: FORMAT_VERSION, heddle: version, step, config, loader, rng, state, files };
  for (const [field, value] of Object.entries(body)) assertJson(value, field);
  return `${JSON.stringify({ ...body, sha256: digest(JSON.stringify(body)) }, null, 2)}\n`;
}

function isStamp(value: unknown): value is FileStamp {
  return isObject(value) && Number.isSafeInteger(value.size) && typeof value.sha256 === 'string' && /^[0-9a-f]{64}$/.test(value.sha256);
}

/** Names in a manifest are plain file names: none leads out of the checkpoint's folder. */
export const isPlainName = (name: string): boolean => /^[\w][\w.-]*$/.test(name);

/** @throws FileError naming the file and the field that is wrong. */
export function parseManifest(file: string, bytes: Uint8Array): CheckpointManifest {
  const fail = (field: string, expected: string, got: unknown) => new FileError(file, `${field} must be ${expected}, got ${show(got)}`);
  const json = parseJSON(file, bytes);
  if (!isObject(json) || json.format !== FORMAT) throw fail('format', JSON.stringify(FORMAT), isObject(json) ? json.format : json);
  const { sha256, ...body } = json;
  // Version before digest: a newer format may compute its digest in another way.
  if (!Number.isSafeInteger(body.version)) throw fail('version', 'an integer', body.version);
  if ((body.version as number) > FORMAT_VERSION) {
    throw new FileError(file, `version must be at most ${FORMAT_VERSION}, got ${body.version}: written by heddle ${show(body.heddle)}`, {
      hint: 'Update heddle to read it.',
    });
  }
  if (sha256 !== digest(JSON.stringify(body)))
    throw fail('sha256', 'the digest of the other fields; the file was damaged or edited', sha256);
  const { step, heddle, config, loader, rng, state, files } = body;
  if (!(Number.isSafeInteger(step) && (step as number) >= 0)) throw fail('step', 'an integer from 0', step);
  if (typeof heddle !== 'string') throw fail('heddle', 'a version', heddle);
  for (const [field, value] of Object.entries({ config, loader, rng, state })) if (value === undefined) throw fail(field, 'there', value);
  if (!isObject(files)) throw fail('files', 'an object', files);
  for (const [name, stamp] of Object.entries(files)) {
    if (!isPlainName(name)) throw fail('files', 'plain file names', name);
    if (!isStamp(stamp)) throw fail(`files.${name.slice(0, 80)}`, '{ size, sha256 }', stamp);
  }
  return body as unknown as CheckpointManifest;
}
