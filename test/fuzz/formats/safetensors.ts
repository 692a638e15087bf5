import assert from 'node:assert/strict';
import { join } from 'node:path';
import { openSafetensors, writeSafetensors } from '../../../lib/checkpoint/safetensors.ts';
import { DTYPE_BYTES } from '../../../lib/checkpoint/safetensors-header.ts';
import { readFloats } from '../../../lib/checkpoint/weights.ts';
import { isFloatDType } from '../../../lib/checkpoint/weights-half.ts';
import type { Format } from '../format.ts';
import { type Mutator, mutateBytes, oneOf, replaced } from '../mutate_bytes.ts';
import { changeJSON } from '../mutate_json.ts';
import { filesMade } from './support.ts';

const FILE = 'a.safetensors';

function headerEnd(bytes: Uint8Array): number {
  if (bytes.length < 8) return 0;
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  return 8 + length <= bytes.length ? 8 + length : 0;
}

/** Changes the header as JSON and, mostly, says its new length. */
const changeHeader: Mutator = (draw, bytes, donor) => {
  const [end, donorEnd] = [headerEnd(bytes), headerEnd(donor)];
  if (end === 0) return mutateBytes(draw, bytes, donor);
  const header = changeJSON(draw, bytes.subarray(8, end), donor.subarray(8, Math.max(8, donorEnd)));
  const out = replaced(bytes, 8, end, header);
  if (!draw.oneIn(8)) new DataView(out.buffer, out.byteOffset).setBigUint64(0, BigInt(header.length), true);
  return out;
};

export const mutateSafetensors: Mutator = oneOf([4, changeHeader], [3, mutateBytes]);

const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => i * 37);

export const safetensors: Format = {
  name: 'safetensors',
  seeds: async () => [
    await filesMade((folder) =>
      writeSafetensors(
        join(folder, FILE),
        [
          { name: 'a', dtype: 'F32', shape: [2, 3], bytes: bytes(24) },
          { name: 'b', dtype: 'BF16', shape: [4], bytes: bytes(8) },
          { name: 'c', dtype: 'F16', shape: [], bytes: bytes(2) },
          { name: 'd', dtype: 'I64', shape: [0, 5], bytes: bytes(0) },
          { name: 'e', dtype: 'U8', shape: [3, 1], bytes: bytes(3) },
        ],
        { format: 'pt', note: 'é' },
      ),
    ),
    await filesMade((folder) => writeSafetensors(join(folder, FILE), [{ name: 'x', dtype: 'F64', shape: [1], bytes: bytes(8) }])),
    await filesMade((folder) => writeSafetensors(join(folder, FILE), [])),
  ],
  mutators: { [FILE]: { weight: 1, mutate: mutateSafetensors } },
  async read(folder) {
    const file = await openSafetensors(join(folder, FILE));
    try {
      for (const [name, { dtype, shape, byteLength }] of file.tensors) {
        const values = await file.read(name);
        assert.equal(values.length, byteLength);
        assert.equal(values.length, shape.reduce((a, b) => a * b, 1) * DTYPE_BYTES[dtype]);
        if (isFloatDType(dtype)) assert.equal((await readFloats(file, name)).length * DTYPE_BYTES[dtype], byteLength);
      }
      for (const [key, text] of file.metadata) assert(typeof key === 'string' && typeof text === 'string');
    } finally {
      await file.close();
    }
  },
};
