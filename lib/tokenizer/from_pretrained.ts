import { type HubOptions, tokenizerFolder } from '../hub/index.ts';
import { loadTokenizer } from './load.ts';
import type { Tokenizer as TokenizerInterface } from './tokenizer.ts';

/** Turns text into token ids and back. */
export type Tokenizer = TokenizerInterface;

/** Where tokenizers come from. */
export const Tokenizer = {
  /**
   * The tokenizer of a published model: a folder, a `tokenizer.json`, or the id of a model of the hub (`openai-community/gpt2`), whose
   * tokenizer is fetched into the cache.
   */
  async fromPretrained(idOrPath: string, options: HubOptions = {}): Promise<Tokenizer> {
    return loadTokenizer(await tokenizerFolder(idOrPath, options));
  },
} as const;
