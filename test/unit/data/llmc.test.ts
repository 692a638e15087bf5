import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Loader, readLLMCTokens } from '../../../lib/data/index.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';

function written(t: ExecutionContext, words: readonly number[], tokens: Uint16Array | Uint32Array): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-llmc-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const header = new Int32Array(256);
  header.set(words);
  writeFileSync(join(folder, 'tokens.bin'), Buffer.concat([new Uint8Array(header.buffer), new Uint8Array(tokens.buffer)]));
  return join(folder, 'tokens.bin');
}

test('tokens of llm.c in 16 and 32 bits, as one row with its documents', (t) => {
  const a = written(t, [20240520, 1, 6], Uint16Array.of(50256, 1, 2, 50256, 3, 4));
  const b = written(t, [20240801, 7, 4], Uint32Array.of(5, 50256, 6, 7));
  const data = readLLMCTokens([a, b]);
  t.deepEqual([data.length, data.documents, data.vocabSize, data.endOfText], [10, 3, 50257, 50256]);
  t.deepEqual(
    [0, 1, 2, 3].map((i) => data.documentStart(i)),
    [0, 3, 7, 10],
  );
  const out = new Int32Array(10);
  data.read(0, 10, out, 0);
  t.deepEqual([...out], [50256, 1, 2, 50256, 3, 4, 5, 50256, 6, 7]);
  const batch = new Loader(data, { batch: 1, length: 4, seed: 1, sampling: 'epoch' }).next();
  t.is(batch.inputs.length, 4);
  t.is(readLLMCTokens([b], { vocabSize: 100000, endOfText: 6 }).documents, 2);
});

test('wrong token files: file and field are named', (t) => {
  const fails = (words: readonly number[], message: RegExp, tokens: Uint16Array | Uint32Array = Uint16Array.of(1, 2)) =>
    t.throws(() => readLLMCTokens([written(t, words, tokens)]), { instanceOf: FileError, message });
  fails([1, 1, 2], /tokens\.bin: magic must be 20240520 or 20240801, that of tokens of llm\.c, got 1$/);
  fails([20240520, 2, 2], /version must be 1 for magic 20240520, got 2$/);
  fails([20240520, 1, 3], /file size must be 1030 bytes for 3 tokens, got 1028$/);
  fails([20240520, 1, -1], /file size must be 1022 bytes for -1 tokens, got 1028$/);
  fails([20240520, 1, 2], /token 1 must be an id below 50257, got 60000$/, Uint16Array.of(1, 60000));
  t.throws(() => readLLMCTokens([]), { instanceOf: ArgumentError });
  t.throws(() => readLLMCTokens(['/nowhere.bin']), { instanceOf: FileError });
});
