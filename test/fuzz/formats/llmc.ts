import assert from 'node:assert/strict';
import { join } from 'node:path';
import { loadLLMC } from '../../../lib/checkpoint/llmc.ts';
import { readLLMCTokens } from '../../../lib/data/index.ts';
import { type Format, filesOf } from '../format.ts';
import { type Mutator, mutateBytes, NUMBERS, oneOf } from '../mutate_bytes.ts';
import { useModel } from './support.ts';

const [MODEL, TOKENS] = ['model.bin', 'tokens.bin'];

/** Another number in one of the header's words. */
const changeWord: Mutator = (draw, bytes) => {
  if (bytes.length < 32) return bytes;
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  const at = 4 * draw.below(8);
  view.setInt32(at, draw.oneIn(2) ? view.getInt32(at, true) + draw.pick([1, -1]) : draw.pick(NUMBERS), true);
  return out;
};

const mutate = oneOf([1, changeWord], [2, mutateBytes]);

function file(words: readonly number[], bytes: number): Uint8Array {
  const out = new Uint8Array(1024 + bytes);
  new Int32Array(out.buffer, 0, 256).set(words);
  return out;
}

/** A model of context 6, 7 tokens, 1 layer, 2 heads, width 4. */
const model = (version: 3 | 5, rows: number): Uint8Array =>
  file([20240326, version, 6, 7, 1, 2, 4, rows], ((rows + 6) * 4 + 12 * 16 + 13 * 4 + 8) * (version === 3 ? 4 : 2));

export const llmcModel: Format = {
  name: 'llmc-model',
  seeds: async () => [filesOf({ [MODEL]: model(3, 7) }), filesOf({ [MODEL]: model(5, 128) })],
  mutators: { [MODEL]: { weight: 1, mutate } },
  async read(folder) {
    const loaded = await loadLLMC(join(folder, MODEL));
    try {
      useModel(loaded);
    } finally {
      loaded.dispose();
    }
  },
};

export const llmcTokens: Format = {
  name: 'llmc-tokens',
  seeds: async () => [filesOf({ [TOKENS]: file([20240520, 1, 5], 10) }), filesOf({ [TOKENS]: file([20240801, 7, 4], 16) })],
  mutators: { [TOKENS]: { weight: 1, mutate } },
  async read(folder) {
    const data = readLLMCTokens([join(folder, TOKENS)], { vocabSize: 100_000, endOfText: 0 });
    const out = new Int32Array(data.length);
    data.read(0, data.length, out, 0);
    assert(out.every((token) => token >= 0 && token < 100_000));
    assert(data.documents >= 1 && data.documents <= data.length);
  },
};
