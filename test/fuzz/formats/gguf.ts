import assert from 'node:assert/strict';
import { join } from 'node:path';
import { saveGGUF } from '../../../lib/checkpoint/gguf.ts';
import { openGGUFModel } from '../../../lib/checkpoint/gguf-load.ts';
import { openGGUF } from '../../../lib/checkpoint/gguf-read.ts';
import type { GGUFType } from '../../../lib/checkpoint/gguf-types.ts';
import type { GPTConfigInput } from '../../../lib/models/index.ts';
import type { Files, Format } from '../format.ts';
import { type Mutator, mutateBytes, NUMBERS, oneOf } from '../mutate_bytes.ts';
import { bpeTokenizer, filesMade, tinyModel } from './support.ts';

const FILE = 'a.gguf';

/** Another number somewhere in the header, where every length, type and offset stands at a place of its own. */
const changeNumber: Mutator = (draw, bytes) => {
  if (bytes.length < 32) return bytes;
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  const at = draw.below(Math.min(out.length, 4096) - 8);
  if (draw.oneIn(2)) view.setUint32(at, draw.pick(NUMBERS), true);
  else view.setBigUint64(at, BigInt.asUintN(64, BigInt(draw.pick(NUMBERS))), true);
  return out;
};

async function written(type: GGUFType, config: GPTConfigInput, withTokenizer = false): Promise<Files> {
  return filesMade(async (folder) => {
    const model = tinyModel(config);
    await saveGGUF(model, join(folder, FILE), { type, ...(withTokenizer && { tokenizer: bpeTokenizer() }) });
    model.dispose();
  });
}

export const gguf: Format = {
  name: 'gguf',
  seeds: async () => [
    await written('f16', {}),
    await written('q4_0', { width: 32, ffnWidth: 32, heads: 1 }),
    await written('bf16', { vocabSize: 264 }, true),
  ],
  mutators: { [FILE]: { weight: 1, mutate: oneOf([1, changeNumber], [2, mutateBytes]) } },
  async read(folder) {
    const file = await openGGUF(join(folder, FILE));
    try {
      for (const [name, { shape }] of file.tensors)
        assert.equal(
          (await file.read(name)).length,
          shape.reduce((a, b) => a * b, 1),
        );
      for (const key of file.metadata.keys()) assert.equal(typeof key, 'string');
    } finally {
      await file.close();
    }
    (await openGGUFModel(join(folder, FILE), { device: 'cpu' })).model.dispose();
  },
  allowance: 512 << 10, // what the first read of a process takes once is among it
};
