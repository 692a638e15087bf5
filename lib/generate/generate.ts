import type { GPT } from '../models/index.ts';
import { StreamDecoder, type Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { badWordIds, type Prompt, type PromptOptions, promptOf } from './prompt.ts';
import { type DecodeOptions, decodeTokens, type FinishReason } from './rows.ts';
import { StopFinder } from './stop.ts';

export interface StreamOptions extends DecodeOptions, PromptOptions {
  /** The text ends before the first of these, wherever the borders of tokens lie. */
  stop?: string | readonly string[];
  /** Called with the first sample's tokens as they are drawn, before their text is certain. */
  onToken?: (id: number) => void;
}

export interface GenerateOptions extends StreamOptions {
  /** How many continuations, as one batch. Default 1. */
  samples?: number;
}

export interface Generated {
  /** What follows the prompt, up to a stop string or the end of text; '' without a tokenizer. */
  readonly text: string;
  /** All tokens that were generated but the end of text; those of a stop string are among them. */
  readonly tokens: readonly number[];
  /** ln p of each of them given all before, in nats, before processors and temperature; only with `logProbs`. */
  readonly logProbs?: readonly number[];
  readonly finishReason: FinishReason;
}

/** One continuation as it grows. */
class Continuation {
  text = '';
  readonly tokens: number[] = [];
  readonly logProbs: number[] = [];
  finishReason: FinishReason = 'length';
  readonly #decoder: StreamDecoder | null;
  readonly #stop: StopFinder;
  readonly #endOfText: number | null;

  constructor(tokenizer: Tokenizer | null, prompt: readonly number[], stop: StopFinder, endOfText: number | null) {
    this.#decoder = tokenizer && new StreamDecoder(tokenizer);
    this.#stop = stop;
    this.#endOfText = endOfText;
    // Where tokens do not simply follow each other, how the first one is written depends on the one before it.
    if (tokenizer && !tokenizer.concatenates) this.#decoder?.push(prompt.at(-1) as number);
  }

  /** Takes a token, with its ln p where it is asked for; gives the text that is certain with it. */
  push(id: number, logProb?: number): string {
    if (id === this.#endOfText) {
      this.finishReason = 'endOfText';
      return '';
    }
    this.tokens.push(id);
    if (logProb !== undefined) this.logProbs.push(logProb);
    return this.#emit(this.#decoder?.push(id) ?? '');
  }

  /** The rest, when no more tokens come. */
  end(): string {
    if (this.finishReason === 'stop') return '';
    const last = this.#emit(this.#decoder?.end() ?? '');
    const rest = this.#stop.end();
    this.text += rest;
    return last + rest;
  }

  #emit(piece: string): string {
    const clear = this.#stop.push(piece);
    if (this.#stop.found) this.finishReason = 'stop';
    this.text += clear;
    return clear;
  }
}

interface Run extends Prompt {
  /** What `decodeTokens` is told of it. */
  readonly decoding: { vocabulary: number; endOfText: number | null; badWords: number[][] };
  readonly continuation: () => Continuation;
}

function prepare(model: GPT, tokenizer: Tokenizer | null, prompt: string | ArrayLike<number>, options: StreamOptions, where: string): Run {
  const { stop = [] } = options;
  const own = promptOf(model, tokenizer, prompt, options, where);
  if (tokenizer === null && stop.length > 0) throw new ArgumentError(`${where}: stop needs a tokenizer, got null`);
  const { vocabulary, endOfText } = own;
  const decoding = { vocabulary, endOfText, badWords: badWordIds(tokenizer, options.badWords ?? [], where) };
  return { ...own, decoding, continuation: () => new Continuation(tokenizer, own.ids, new StopFinder(stop, where), own.endOfText) };
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
  return texts.map((t) => {
    t.end();
    return { text: t.text, tokens: t.tokens, ...(options.logProbs && { logProbs: t.logProbs }), finishReason: t.finishReason };
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
