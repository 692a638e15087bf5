// A text as it grows behind its prompt: what the functions and the engine that generate texts share.
import type { GPT } from '../models/index.ts';
import { StreamDecoder, type Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { badWordIds, type Prompt, type PromptOptions, promptOf } from './prompt.ts';
import type { DecodeOptions, FinishReason } from './rows.ts';
import { StopFinder } from './stop.ts';

export interface StreamOptions extends DecodeOptions, PromptOptions {
  /** The text ends before the first of these, wherever the borders of tokens lie. */
  stop?: string | readonly string[];
  /** Called with the first sample's tokens as they are drawn, before their text is certain. */
  onToken?: (id: number) => void;
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
export class Continuation {
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

  /** What became of it, once `end` was called. */
  result(logProbs: boolean): Generated {
    const { text, tokens, finishReason } = this;
    return { text, tokens, ...(logProbs && { logProbs: this.logProbs }), finishReason };
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

export interface Run extends Prompt {
  /** What `decodeTokens` is told of it. */
  readonly decoding: { vocabulary: number; endOfText: number | null; badWords: number[][] };
  readonly continuation: () => Continuation;
}

/** @throws ArgumentError for a prompt or an option that cannot be */
export function prepare(
  model: GPT,
  tokenizer: Tokenizer | null,
  prompt: string | ArrayLike<number>,
  options: StreamOptions,
  where: string,
): Run {
  const { stop = [] } = options;
  const own = promptOf(model, tokenizer, prompt, options, where);
  if (tokenizer === null && stop.length > 0) throw new ArgumentError(`${where}: stop needs a tokenizer, got null`);
  const { vocabulary, endOfText } = own;
  const decoding = { vocabulary, endOfText, badWords: badWordIds(tokenizer, options.badWords ?? [], where) };
  return { ...own, decoding, continuation: () => new Continuation(tokenizer, own.ids, new StopFinder(stop, where), own.endOfText) };
}
