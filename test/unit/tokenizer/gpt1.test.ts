// GPT-1's tokenizer: what transformers makes of some texts, from tokenizer.json and from vocab.json with merges.txt.
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { loadTokenizer, Tokenizer } from '../../../lib/tokenizer/index.ts';

const FIXTURE = 'test/fixtures/gpt1-tokenizer';
const cases = JSON.parse(readFileSync(join(FIXTURE, 'cases.json'), 'utf8')) as { text: string; ids: number[]; decoded: string }[];

test('ids and texts are those of transformers', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-gpt1-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of ['vocab.json', 'merges.txt']) copyFileSync(join(FIXTURE, name), join(folder, name));
  for (const tokenizer of [loadTokenizer(folder), await Tokenizer.fromPretrained(FIXTURE)])
    for (const { text, ids, decoded } of cases) {
      t.deepEqual([...tokenizer.encode(text)], ids, text);
      t.is(tokenizer.decode(ids), decoded, text);
    }
});
