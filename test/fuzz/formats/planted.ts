// Readers with the faults that the fuzzer must find: a test of the fuzzer itself.
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FileError } from '../../../lib/util/errors.ts';
import { type Format, filesOf } from '../format.ts';
import { mutateBytes } from '../mutate_bytes.ts';

/** A file that says in its first four bytes how many follow. */
function planted(name: string, fault: (claimed: number, file: string) => unknown): Format {
  return {
    name: `planted-${name}`,
    seeds: async () => [filesOf({ a: Uint8Array.of(4, 0, 0, 0, 1, 2, 3, 4) })],
    mutators: { a: { weight: 1, mutate: mutateBytes } },
    async read(folder) {
      const file = join(folder, 'a');
      let bytes: Uint8Array;
      try {
        bytes = readFileSync(file);
      } catch (error) {
        throw new FileError(file, 'cannot be read', { cause: error });
      }
      if (bytes.length < 4) throw new FileError(file, 'must begin with its length');
      const claimed = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
      if (claimed !== bytes.length - 4) fault(claimed, file);
    },
  };
}

export const plantedFormats: readonly Format[] = [
  planted('type', () => (undefined as unknown as { x: number }).x),
  planted('nameless', () => {
    throw new FileError('somewhere', 'the length must be right');
  }),
  planted('foreign', (claimed, file) => {
    throw new Error(`${file}: ${claimed}`);
  }),
  planted('hang', () => {
    for (;;);
  }),
  planted('allocation', (claimed, file) => {
    if (claimed > 2 ** 29 || claimed < 2 ** 24) throw new FileError(file, 'the length must be right');
    return new Uint8Array(claimed).length;
  }),
  planted('crash', () => process.abort()),
  planted('file', (_, file) => {
    openSync(file, 'r'); // and never closed
    throw new FileError(file, 'the length must be right');
  }),
];
