import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { readParquetRows } from '../../../lib/eval/parquet.ts';
import { parquetFile } from '../../unit/eval/parquet_support.ts';
import { type Format, filesOf } from '../format.ts';
import { type Mutator, mutateBytes, oneOf } from '../mutate_bytes.ts';

const FILE = 'a.parquet';

/** Other bits somewhere: the footer's numbers are a byte each, and a file is still one whose lengths agree. */
const changeBits: Mutator = (draw, bytes) => {
  const out = bytes.slice();
  for (let changes = 1 + draw.below(2); changes > 0; changes--) {
    const at = draw.below(out.length);
    out[at] = (out[at] as number) ^ (1 << draw.below(8));
  }
  return out;
};

const COLUMNS = { text: ['the whale', '', 'the sea'], label: ['a', 'b', 'c'] };

/** hyparquet reads it in a thread of its own, which has half a second for a row group here: a damaged file may claim rows without end. */
export const parquet: Format = {
  name: 'parquet',
  seeds: async () =>
    [readFileSync('test/fixtures/tasks/mmlu.parquet'), parquetFile(COLUMNS), parquetFile(COLUMNS, 'gzip', (page) => gzipSync(page))].map(
      (bytes) => filesOf({ [FILE]: new Uint8Array(bytes) }),
    ),
  mutators: { [FILE]: { weight: 1, mutate: oneOf([3, changeBits], [1, mutateBytes]) } },
  async read(folder) {
    for await (const { value, row } of readParquetRows(join(folder, FILE), 500)) assert(typeof value === 'object' && row >= 1);
  },
};
