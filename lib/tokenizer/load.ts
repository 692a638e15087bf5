import { basename, dirname, join } from 'node:path';
import { FileError } from '../util/errors.ts';
import { makeFolder, writeFileAtomic } from '../util/files.ts';
import { exists, readObject } from './fields.ts';
import { isGPT1Vocabulary, loadGPT1Tokenizer } from './gpt1.ts';
import { loadGPT2Tokenizer } from './gpt2.ts';
import { HuggingFaceTokenizer } from './huggingface.ts';
import { checkTokenizerFile, nativeTokenizer } from './read_json.ts';
import { END_OF_TEXT, type Tokenizer } from './tokenizer.ts';

const VOCAB_FILES = ['vocab.json', 'encoder.json'];
const MERGE_FILES = ['merges.txt', 'vocab.bpe'];

/**
 * Loads a tokenizer from a folder or a file: `tokenizer.json`, with `tokenizer_config.json` beside it if there is one, or
 * the pair of GPT-1 and GPT-2, `vocab.json` (`encoder.json`) and `merges.txt` (`vocab.bpe`). Tokenizers of the kinds made here are run here,
 * all others by `@huggingface/tokenizers`. Throws a FileError that names file and field where something is wrong.
 */
export function loadTokenizer(path: string): Tokenizer {
  const kind = exists(path);
  if (kind === undefined) throw new FileError(path, 'cannot be read: no such file or folder');
  if (kind === 'folder') {
    const file = join(path, 'tokenizer.json');
    if (exists(file) === 'file') return loadTokenizerFile(file);
    const vocab = firstFile(path, VOCAB_FILES);
    if (vocab !== undefined) return loadPair(vocab);
    throw new FileError(path, 'must hold tokenizer.json, or vocab.json and merges.txt, got neither');
  }
  return VOCAB_FILES.includes(basename(path)) ? loadPair(path) : loadTokenizerFile(path);
}

/** The tokenizer that a `tokenizer.json` in memory describes. `name` stands for the file in errors. */
export function tokenizerFromJSON(json: object, name = 'tokenizer.json', config: object = {}): Tokenizer {
  const parsed = checkTokenizerFile(name, { ...json });
  return nativeTokenizer(parsed) ?? new HuggingFaceTokenizer(parsed, { ...config });
}

/** Writes `tokenizer.json` and `tokenizer_config.json` into a folder, which is made if it is not there. */
export function saveTokenizer(tokenizer: Tokenizer, folder: string): void {
  makeFolder(folder);
  const endOfText = tokenizer.specialTokens.has(END_OF_TEXT) ? { eos_token: END_OF_TEXT } : {};
  const config =
    tokenizer instanceof HuggingFaceTokenizer
      ? tokenizer.config
      : { tokenizer_class: 'PreTrainedTokenizerFast', clean_up_tokenization_spaces: false, ...endOfText };
  write(join(folder, 'tokenizer_config.json'), config);
  write(join(folder, 'tokenizer.json'), tokenizer.toJSON());
}

function loadTokenizerFile(file: string): Tokenizer {
  const configFile = join(dirname(file), 'tokenizer_config.json');
  const json = readObject(file);
  const parsed = checkTokenizerFile(file, json);
  const native = nativeTokenizer(parsed);
  if (native) return native;
  return new HuggingFaceTokenizer(parsed, exists(configFile) === 'file' ? readObject(configFile) : {});
}

function loadPair(vocab: string): Tokenizer {
  const folder = dirname(vocab);
  const merges = firstFile(folder, MERGE_FILES);
  if (merges === undefined) throw new FileError(folder, `must hold ${MERGE_FILES.join(' or ')} beside ${basename(vocab)}, got neither`);
  return isGPT1Vocabulary(readObject(vocab)) ? loadGPT1Tokenizer(vocab, merges) : loadGPT2Tokenizer(vocab, merges);
}

function firstFile(folder: string, names: readonly string[]): string | undefined {
  return names.map((name) => join(folder, name)).find((file) => exists(file) === 'file');
}

function write(file: string, value: object): void {
  writeFileAtomic(file, `${JSON.stringify(value, null, 1)}\n`);
}
