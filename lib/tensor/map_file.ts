import { constants } from 'node:buffer';
import { native } from '../native/addon.ts';

/**
 * A file's bytes as a mapping: read from disk when touched, kept by the system's page cache, unmapped when the array is
 * collected. The file must not shrink meanwhile. Writing to the array does not reach the file.
 * @throws when the file cannot be opened or mapped, or is longer than a buffer may be, naming it
 */
export function mapFile(path: string): Uint8Array {
  return new Uint8Array(native.mapFile(path, constants.MAX_LENGTH));
}
