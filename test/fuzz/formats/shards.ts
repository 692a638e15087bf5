import assert from 'node:assert/strict';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { exampleSource, openPrepared, prepare, Shards, textSource, windows } from '../../../lib/data/index.ts';
import { HEADER_BYTES } from '../../../lib/data/shard_format.ts';
import type { Tokenizer } from '../../../lib/tokenizer/index.ts';
import type { Draw } from '../draw.ts';
import type { Files, Format } from '../format.ts';
import { type Mutator, mutateBytes, NUMBERS, oneOf } from '../mutate_bytes.ts';
import { mutateJSON } from '../mutate_json.ts';
import { bpeTokenizer, charTokenizer, filesMade, SENTENCE } from './support.ts';

const SHARDS = ['train-000.tokens', 'train-001.tokens', 'validation-000.tokens'];

/** Another number in one of the header's fields. */
const changeField: Mutator = (draw, bytes) => {
  if (bytes.length < HEADER_BYTES) return bytes;
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  const value = draw.pick([...NUMBERS, 3, 5, 8, 9, 16, 100, 120]);
  const at = draw.pick([8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 60]);
  if (at >= 32 && at < 56)
    view.setFloat64(at, draw.oneIn(5) ? draw.pick([Number.NaN, Number.POSITIVE_INFINITY, -1, 0.5, 1e300]) : value, true);
  else view.setUint32(at, draw.oneIn(3) ? view.getUint32(at, true) + draw.pick([1, -1]) : value, true);
  return out;
};

const mutateShard: Mutator = oneOf([1, changeField], [1, mutateBytes]);

/** Right checksums of the payload and of the header. */
function sealShards(files: Map<string, Uint8Array | 'folder'>, draw: Draw): void {
  if (draw.oneIn(8)) return;
  const payload = !draw.oneIn(3);
  for (const name of SHARDS) {
    const content = files.get(name);
    if (!(content instanceof Uint8Array) || content.length < HEADER_BYTES) continue;
    const bytes = content.slice();
    const view = new DataView(bytes.buffer);
    if (payload) view.setUint32(56, crc32(bytes.subarray(HEADER_BYTES)), true);
    view.setUint32(252, crc32(bytes.subarray(0, 252)), true);
    if (!bytes.every((byte, i) => byte === content[i])) files.set(name, bytes);
  }
}

function useTokens(data: Shards): void {
  assert(Number.isSafeInteger(data.length) && Number.isSafeInteger(data.documents) && data.documents <= data.length);
  assert(Number.isSafeInteger(data.targets) && data.targets <= data.length);
  assert(Number.isSafeInteger(data.textBytes) && data.textBytes >= 0, `textBytes ${data.textBytes}`);
  const tokens = new Int32Array(data.length);
  data.read(0, data.length, tokens, 0);
  assert(tokens.every((token) => token >= 0 && token < data.vocabSize));
  const mask = new Uint8Array(data.length);
  data.readMask(0, data.length, mask, 0);
  assert(mask.every((value) => value <= 1));
  let before = -1;
  for (let i = 0; i < data.documents; i++) {
    const start = data.documentStart(i);
    assert(start > before && start < data.length, `document ${i} at ${start}`);
    before = start;
  }
}

async function prepared(tokenizer: Tokenizer, masked: boolean): Promise<Files> {
  const source = masked
    ? exampleSource(Array.from({ length: 12 }, (_, i) => ({ prompt: `the ${'sea '.repeat(i % 3)}`, completion: 'whale' })))
    : textSource(SENTENCE.repeat(2));
  return filesMade((folder) => prepare({ source, tokenizer, out: folder, shardTokens: 60, valFraction: 0.3 }));
}

const mutators = Object.fromEntries(SHARDS.map((name) => [name, { weight: 1, mutate: mutateShard }]));

export const shards: Format = {
  name: 'shards',
  seeds: async () => [await prepared(charTokenizer(), false), await prepared(bpeTokenizer(), true)],
  mutators,
  seal: sealShards,
  async read(folder) {
    const paths = SHARDS.slice(0, 2).map((name) => join(folder, name));
    // In memory and by position: two ways to the same tokens.
    for (const options of [{}, { residentBytes: 0 }]) {
      const data = new Shards(paths, options);
      try {
        useTokens(data);
        data.verify();
      } finally {
        data.close();
      }
    }
  },
};

const tokenizer = charTokenizer();

export const preparedFolder: Format = {
  name: 'prepared',
  seeds: async () => [await prepared(tokenizer, false), await prepared(tokenizer, true)],
  mutators: { 'meta.json': { weight: 12, mutate: mutateJSON }, ...mutators },
  seal: sealShards,
  async read(folder) {
    const { meta, train, validation, close } = openPrepared(folder, { tokenizer });
    try {
      for (const [part, data] of [
        [meta.train, train],
        [meta.validation, validation],
      ] as const) {
        if (!part || !data) continue;
        useTokens(data);
        for (const n of [part.tokens, part.documents, part.targets, part.textBytes, part.predictedBytes])
          assert(Number.isSafeInteger(n) && n >= 0);
        assert(part.predictedBytes <= part.textBytes, `predictedBytes ${part.predictedBytes} of ${part.textBytes}`);
        if (data.length >= 2) for (const batch of windows(data, { batch: 2, length: 8 })) assert.equal(batch.inputs.length, 16);
      }
      assert.equal(meta.vocabSize, tokenizer.vocabSize);
    } finally {
      close();
    }
  },
};
