import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { type Generated, prepare, type StreamOptions } from './continuation.ts';
import { decodeTokens } from './rows.ts';

export interface GenerateOptions extends StreamOptions {
  /** How many continuations, as one batch. Default 1. */
  samples?: number;
}

/**
 * Continues a prompt: a text, or token ids. Sample i of a seed is the same text however many samples run beside it. Training may
 * go on between the tokens: dropout is off here only, and no gradients are recorded.
 * @throws ArgumentError for a wrong option or prompt, HeddleError (ERR_HEDDLE_NOT_FINITE) where the model gives NaN
 */
export async function generate(
  model: GPT,
  tokenizer: Tokenizer | null,
  prompt: string | ArrayLike<number>,
  options: GenerateOptions = {},
): Promise<Generated[]> {
  const where = 'generate';
  const { samples = 1 } = options;
  if (!(Number.isInteger(samples) && samples >= 1)) throw new ArgumentError(`${where}: samples must be a positive integer, got ${samples}`);
  const run = prepare(model, tokenizer, prompt, options, where);
  const texts = Array.from({ length: samples }, run.continuation);
  const finished = texts.map(() => false);
  const rows = texts.map(() => run.ids);
  const numbers = texts.map((_, i) => i);
  for await (const step of decodeTokens(model, rows, { ...options, ...run.decoding, samples: numbers, finished, where })) {
    for (const [i, text] of texts.entries()) {
      if (finished[i]) continue;
      if (i === 0) options.onToken?.(step.ids[0] as number);
      text.push(step.ids[i] as number, step.logProbs?.[i]);
      finished[i] = text.finishReason !== 'length';
    }
  }
  return texts.map((text) => {
    text.end();
    return text.result(options.logProbs === true);
  });
}

/**
 * The continuation of a prompt in pieces, as it is generated: `for await (const piece of streamText(...))`. A piece never ends in
 * the middle of a character, and text that may be the beginning of a stop string is held back. All pieces together are the text
 * that `generate` gives for the same seed. Leaving the loop frees what it held; aborting the signal throws its reason.
 */
export async function* streamText(
  model: GPT,
  tokenizer: Tokenizer,
  prompt: string | ArrayLike<number>,
  options: StreamOptions = {},
): AsyncGenerator<string, void, undefined> {
  const where = 'streamText';
  const run = prepare(model, tokenizer, prompt, options, where);
  const text = run.continuation();
  const finished = [false];
  for await (const { ids } of decodeTokens(model, [run.ids], { ...options, ...run.decoding, samples: [0], finished, where })) {
    options.onToken?.(ids[0] as number);
    const piece = text.push(ids[0] as number);
    finished[0] = text.finishReason !== 'length';
    if (piece !== '') yield piece;
  }
  const rest = text.end();
  if (rest !== '') yield rest;
}
