import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';

export interface PromptOptions {
  /** Id of the token that ends a text; null: none does. Default: the tokenizer's. */
  endOfText?: number | null;
  /** Special tokens that the prompt may spell out; see `Tokenizer.encode`. Default none. */
  allowedSpecial?: 'all' | readonly string[];
}

/** A prompt as the decoders take it. */
export interface Prompt {
  readonly ids: readonly number[];
  readonly endOfText: number | null;
  /** Only ids below it are drawn: the model may have more rows than the tokenizer has tokens. */
  readonly vocabulary: number;
}

/** Checks token ids of a prompt. */
export function checkPrompt(model: GPT, ids: ArrayLike<number>, where: string): number[] {
  const prompt = Array.from(ids);
  const V = model.config.vocabSize;
  if (prompt.length === 0) throw new ArgumentError(`${where}: prompt must have at least one token, got none`);
  for (const [i, id] of prompt.entries())
    if (!(Number.isInteger(id) && id >= 0 && id < V))
      throw new ArgumentError(`${where}: prompt[${i}] must be a token id from 0 to ${V - 1}, got ${id}`);
  return prompt;
}

/** A text, or token ids, as a prompt. @throws ArgumentError for a text without a tokenizer, an empty prompt, or ids outside the vocabulary */
export function promptOf(
  model: GPT,
  tokenizer: Tokenizer | null,
  prompt: string | ArrayLike<number>,
  options: PromptOptions,
  where: string,
): Prompt {
  const { allowedSpecial = [] } = options;
  if (tokenizer === null && typeof prompt === 'string')
    throw new ArgumentError(`${where}: prompt must be token ids where there is no tokenizer, got a text`);
  let ids: ArrayLike<number> = typeof prompt === 'string' ? (tokenizer as Tokenizer).encode(prompt, { allowedSpecial }) : prompt;
  // An empty text is the beginning of a document, which stands behind the end of another one.
  if (ids.length === 0 && tokenizer?.endOfText !== undefined) ids = [tokenizer.endOfText];
  return {
    ids: checkPrompt(model, ids, where),
    endOfText: options.endOfText === undefined ? (tokenizer?.endOfText ?? null) : options.endOfText,
    vocabulary: Math.min(model.config.vocabSize, tokenizer?.vocabSize ?? Number.POSITIVE_INFINITY),
  };
}

/**
 * Bad words as ids. A text is banned as its tokens are at the beginning of a word and, with a space before it, within a text.
 * @throws ArgumentError for an empty one, and for a text without a tokenizer
 */
export function badWordIds(tokenizer: Tokenizer | null, words: readonly (string | readonly number[])[], where: string): number[][] {
  return words.flatMap((word, i) => {
    if (word.length === 0) throw new ArgumentError(`${where}: badWords[${i}] must be at least one token, got none`);
    if (typeof word !== 'string') return [[...word]];
    if (tokenizer === null)
      throw new ArgumentError(`${where}: badWords[${i}] must be token ids where there is no tokenizer, got ${JSON.stringify(word)}`);
    const own = Array.from(tokenizer.encode(word));
    return word.startsWith(' ') ? [own] : [own, ...withSpace(tokenizer, word)];
  });
}

/** The ids of a word behind a space; none where the vocabulary has no space. */
function withSpace(tokenizer: Tokenizer, word: string): number[][] {
  try {
    return [Array.from(tokenizer.encode(` ${word}`))];
  } catch (error) {
    if (error instanceof ArgumentError) return [];
    throw error;
  }
}
