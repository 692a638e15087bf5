import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import test from 'ava';
import fc from 'fast-check';
import { BPETokenizer } from '../../../lib/tokenizer/bpe.ts';
import { ByteTokenizer } from '../../../lib/tokenizer/byte.ts';
import { CharTokenizer } from '../../../lib/tokenizer/char.ts';
import { loadTokenizer, saveTokenizer, tokenizerFromJSON } from '../../../lib/tokenizer/load.ts';
import type { Tokenizer } from '../../../lib/tokenizer/tokenizer.ts';
import { CORPUS, GPT2_FOLDER, GPT2_VOCAB, gpt2Tokenizer, inFolder, madeText } from './support.ts';

const TRAINING = [madeText(3000), ...CORPUS, '__proto__ __proto__ constructor toString 0 1 12 123 constructor toString 123'];

const kinds: [string, Tokenizer][] = [
  ['byte', new ByteTokenizer()],
  ['byte without special tokens', new ByteTokenizer([])],
  ['char', CharTokenizer.train(TRAINING)],
  ['char with special tokens', CharTokenizer.train(TRAINING, { specialTokens: ['<|endoftext|>', '<unk>'], unknown: '<unk>' })],
  ['bpe', BPETokenizer.train(TRAINING, { vocabSize: 700 })],
  ['bpe with special tokens', BPETokenizer.train(TRAINING, { vocabSize: 400, specialTokens: ['<|user|>', '<|endoftext|>', '<|user|>>'] })],
];

for (const [name, tokenizer] of kinds) {
  test(`${name}: written and read again it is the same`, (t) => {
    inFolder((folder) => {
      saveTokenizer(tokenizer, folder);
      for (const path of [folder, join(folder, 'tokenizer.json')]) {
        const read = loadTokenizer(path);
        t.is(read.constructor, tokenizer.constructor);
        t.is(read.kind, tokenizer.kind);
        t.is(read.vocabSize, tokenizer.vocabSize);
        t.is(read.endOfText, tokenizer.endOfText);
        t.deepEqual(read.specialTokens, tokenizer.specialTokens);
        t.is(read.hash(), tokenizer.hash());
        for (const text of CORPUS) t.deepEqual(read.encode(text), tokenizer.encode(text));
        for (let id = 0; id < read.vocabSize; id++) t.deepEqual(read.tokenBytes(id), tokenizer.tokenBytes(id));
      }
    });
  });

  test(`${name}: @huggingface/tokenizers reads the file and encodes and decodes equally`, (t) => {
    inFolder((folder) => {
      saveTokenizer(tokenizer, folder);
      const json = (file: string): object => JSON.parse(readFileSync(join(folder, file), 'utf8')) as object;
      const library = new LibraryTokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
      const check = (text: string): void => {
        const ids = Array.from(tokenizer.encode(text, { allowedSpecial: 'all' }));
        t.deepEqual(library.encode(text).ids, ids, JSON.stringify(text));
        if (ids.length > 0) t.is(library.decode(ids), tokenizer.decode(ids));
      };
      for (const text of CORPUS) check(text);
      check('a<|endoftext|>b <|user|>> c<|user|>');
      const text = fc
        .array(fc.constantFrom(...Array.from(CORPUS.join(''))))
        .map((characters) => Buffer.from(characters.join('')).toString());
      fc.assert(fc.property(text, check), { numRuns: 100 });
    });
  });
}

test('hashes tell tokenizers apart and are those of sorted keys', (t) => {
  const hashes = [...kinds.map(([, tokenizer]) => tokenizer.hash()), gpt2Tokenizer().hash()];
  t.is(new Set(hashes).size, hashes.length);
  for (const hash of hashes) t.regex(hash, /^[0-9a-f]{64}$/);
  t.is(new ByteTokenizer().hash(), new ByteTokenizer().hash());
  const json = new ByteTokenizer().toJSON();
  const reversed = Object.fromEntries(Object.entries(json).reverse());
  t.is(tokenizerFromJSON(reversed).hash(), new ByteTokenizer().hash());
});

test("GPT-2's files: from the folder, from the vocabulary's path, and through tokenizer.json", (t) => {
  const hash = gpt2Tokenizer().hash();
  t.is(loadTokenizer(GPT2_FOLDER).hash(), hash);
  t.is(loadTokenizer(GPT2_VOCAB).hash(), hash);
  t.is(tokenizerFromJSON(gpt2Tokenizer().toJSON()).hash(), hash);
});

test('a tokenizer.json as other programs write it for GPT-2 is run here too', (t) => {
  const own = BPETokenizer.train(TRAINING, { vocabSize: 700 });
  const written = JSON.parse(JSON.stringify(own)) as Record<string, Record<string, unknown>> & {
    added_tokens: { id: number; normalized: boolean }[];
  };
  const vocab = written.model?.vocab as Record<string, number>;
  const merges = written.model?.merges as string[];
  const end = written.added_tokens[0];
  if (!end) throw new Error('no special token');
  end.normalized = true;
  const foreign = {
    ...written,
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false },
    // The special token stands in the vocabulary too, and merges are lists.
    model: { type: 'BPE', dropout: null, vocab: { ...vocab, '<|endoftext|>': end.id }, merges: merges.map((merge) => merge.split(' ')) },
  };
  const tokenizer = tokenizerFromJSON(foreign);
  t.is(tokenizer.kind, 'bpe');
  t.is(tokenizer.hash(), own.hash());
});

test('special tokens that are no text are named', (t) => {
  const written = JSON.parse(JSON.stringify(BPETokenizer.train(TRAINING, { vocabSize: 300 }))) as { added_tokens: { content: string }[] };
  for (const content of ['', 'a\udc00']) {
    const json = { ...written, added_tokens: [{ ...written.added_tokens[0], content }] };
    t.throws(() => tokenizerFromJSON(json, 'x.json'), {
      code: 'ERR_HEDDLE_FILE',
      message: /^x\.json: added_tokens\[0\]\.content must be a text/,
    });
  }
});
