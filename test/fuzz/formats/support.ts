// What formats share: folders made on disk and read back as files, small tokenizers and models, and what "usable" means.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GPT, type GPTConfigInput, gptConfig } from '../../../lib/models/index.ts';
import { tensor } from '../../../lib/tensor/create.ts';
import { scope } from '../../../lib/tensor/tensor.ts';
import { BPETokenizer, CharTokenizer, END_OF_TEXT, type Tokenizer } from '../../../lib/tokenizer/index.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import type { Files } from '../format.ts';

/** Everything in a folder, by its path there. */
export function readFolder(folder: string): Files {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return new Map(
    names.filter((name) => statSync(join(folder, name)).isFile()).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
  );
}

/** The files that `make` writes into a folder, which is then gone. */
export async function filesMade(make: (folder: string) => unknown): Promise<Files> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-fuzz-seed-'));
  try {
    await make(folder);
    return readFolder(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const SENTENCE = 'the whale the sea the ship\nwhales see ships at sea\n';

export const charTokenizer = (): CharTokenizer =>
  CharTokenizer.train([SENTENCE], { specialTokens: [END_OF_TEXT, '<unk>'], unknown: '<unk>' });
export const bpeTokenizer = (): BPETokenizer => BPETokenizer.train([SENTENCE.repeat(3)], { vocabSize: 264 });

/** A model of a few hundred parameters. */
export const tinyConfig = (more: GPTConfigInput = {}) =>
  gptConfig({ vocabSize: 7, contextLength: 6, layers: 1, heads: 2, width: 4, ffnWidth: 4, ...more });
export const tinyModel = (more: GPTConfigInput = {}): GPT => new GPT(tinyConfig(more), { seed: 1 });

/** A model is usable when it computes. */
export function useModel(model: GPT): void {
  const { vocabSize } = model.config;
  assert(Number.isSafeInteger(model.parameterCount()) && model.parameterCount() > 0);
  const logits = scope(() =>
    model
      .logits(
        tensor(Int32Array.of(0, vocabSize - 1).subarray(0, model.config.contextLength), {
          shape: [1, Math.min(2, model.config.contextLength)],
        }),
      )
      .dataSync(),
  );
  assert(logits.length >= vocabSize);
}

/** A text may hold what a tokenizer does not know: that is an error about the text. */
function encoded(tokenizer: Tokenizer, text: string): Uint32Array {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    if (error instanceof ArgumentError && error.message.startsWith('encode: text must')) return new Uint32Array(0);
    throw error;
  }
}

/** A tokenizer is usable when its ids stay within its vocabulary and all that it says of itself is there. */
export function useTokenizer(tokenizer: Tokenizer): void {
  const { vocabSize, specialTokens, endOfText } = tokenizer;
  assert(Number.isSafeInteger(vocabSize) && vocabSize >= 0, `vocabSize ${vocabSize}`);
  if (endOfText !== undefined) assert(endOfText >= 0 && endOfText < vocabSize, `endOfText ${endOfText}`);
  for (const id of specialTokens.values()) assert(id >= 0 && id < vocabSize, `special ${id}`);
  for (const text of ['the whale sees, ', 'Sea 12 é\u{1f40b}\n', END_OF_TEXT, '']) {
    const ids = encoded(tokenizer, text);
    for (const id of ids) assert(id < vocabSize, `id ${id} of ${vocabSize}`);
    assert.equal(typeof tokenizer.decode(ids), 'string');
    for (const id of ids) assert(tokenizer.tokenBytes(id) instanceof Uint8Array);
  }
  assert.match(tokenizer.hash(), /^[0-9a-f]{64}$/);
}
