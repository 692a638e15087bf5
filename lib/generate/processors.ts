import { ArgumentError } from '../util/errors.ts';

/** Where a row stands when its next token is chosen. */
export interface RowState {
  /** All its tokens, prompt and all. */
  readonly tokens: readonly number[];
  /** How many of them were generated. */
  readonly generated: number;
  /** The row's number among the samples, from 0. */
  readonly sample: number;
}

/**
 * Changes the logits (V) of a row's next token in place, before temperature and sampling: -∞ is a token that must not come. Beam search
 * hands it log-probabilities in their place.
 */
export type LogitsProcessor = (logits: Float32Array | Float64Array, row: RowState) => void;

/** What may be said of the tokens to come, beside how they are drawn. */
export interface ProcessorOptions {
  /** Logits of tokens that stand in the sequence already are divided by it where positive, multiplied where negative (Keskar et al. 2019). Default 1. */
  repetitionPenalty?: number;
  /** No n tokens in a row come twice, those of the prompt counted (Paulus et al. 2017). 0 or absent: they may. */
  noRepeatNgram?: number;
  /** The end of text comes only after so many generated tokens. Default 0. */
  minTokens?: number;
  /** Tokens in a row that must not come: texts (where there is a tokenizer), or their ids. */
  badWords?: readonly (string | readonly number[])[];
  /** Processors of your own, after the others, in this order. */
  processors?: readonly LogitsProcessor[];
}

/** Tokens that stand in the row already become less likely (above 1), however often they do; see `ProcessorOptions`. */
export function repetitionPenalty(penalty: number): LogitsProcessor {
  return (logits, { tokens }) => {
    for (const id of new Set(tokens)) {
      const v = logits[id];
      if (v !== undefined) logits[id] = v > 0 ? v / penalty : v * penalty;
    }
  };
}

/** Bans each token that would repeat n tokens of the row. */
export function noRepeatNgram(n: number): LogitsProcessor {
  return (logits, { tokens }) => {
    const start = tokens.length - (n - 1); // the last n - 1 tokens begin an n-gram
    for (let at = 0; at + n <= tokens.length; at++) {
      let same = true;
      for (let i = 0; i < n - 1 && same; i++) same = tokens[at + i] === tokens[start + i];
      const id = tokens[at + n - 1] as number;
      if (same && id < logits.length) logits[id] = Number.NEGATIVE_INFINITY;
    }
  };
}

/** Bans the end of text until `n` tokens were generated. */
export function minTokens(n: number, endOfText: number): LogitsProcessor {
  return (logits, { generated }) => {
    if (generated < n && endOfText < logits.length) logits[endOfText] = Number.NEGATIVE_INFINITY;
  };
}

/** Bans the last token of each sequence where the ones before it stand at the row's end. */
export function badWords(sequences: readonly (readonly number[])[]): LogitsProcessor {
  return (logits, { tokens }) => {
    for (const sequence of sequences) {
      const last = sequence.at(-1) as number;
      const before = sequence.length - 1;
      let same = before <= tokens.length;
      for (let i = 0; i < before && same; i++) same = tokens[tokens.length - before + i] === sequence[i];
      if (same && last < logits.length) logits[last] = Number.NEGATIVE_INFINITY;
    }
  };
}

function check(options: ProcessorOptions, endOfText: number | null, where: string): void {
  const need = (ok: boolean, name: string, expected: string, got: unknown): void => {
    if (!ok) throw new ArgumentError(`${where}: ${name} must be ${expected}, got ${got}`);
  };
  const { repetitionPenalty: penalty = 1, noRepeatNgram: n = 0, minTokens: least = 0 } = options;
  need(penalty > 0 && Number.isFinite(penalty), 'repetitionPenalty', 'a number above 0', penalty);
  need(Number.isInteger(n) && n >= 0, 'noRepeatNgram', 'an integer of at least 0', n);
  need(Number.isInteger(least) && least >= 0, 'minTokens', 'an integer of at least 0', least);
  need(least === 0 || endOfText !== null, 'minTokens', '0 where no token ends a text', least);
  for (const [i, process] of (options.processors ?? []).entries())
    need(typeof process === 'function', `processors[${i}]`, 'a function', typeof process);
  for (const [i, word] of (options.badWords ?? []).entries()) {
    need(typeof word !== 'string', `badWords[${i}]`, 'token ids where there is no tokenizer', JSON.stringify(word));
    need(word.length > 0, `badWords[${i}]`, 'at least one token', 'none');
  }
}

/** The processors that options ask for, in the order in which they work. Bad words are ids by now. @throws ArgumentError for a wrong option */
export function processorsOf(options: ProcessorOptions, endOfText: number | null, where: string): LogitsProcessor[] {
  check(options, endOfText, where);
  const { repetitionPenalty: penalty = 1, noRepeatNgram: n = 0, minTokens: least = 0, badWords: words = [], processors = [] } = options;
  return [
    ...(penalty === 1 ? [] : [repetitionPenalty(penalty)]),
    ...(n === 0 ? [] : [noRepeatNgram(n)]),
    ...(words.length === 0 ? [] : [badWords(words as readonly (readonly number[])[])]),
    ...(least === 0 || endOfText === null ? [] : [minTokens(least, endOfText)]),
    ...processors,
  ];
}

/** Runs processors over a row. @throws ArgumentError where they leave no token, or NaN */
export function processLogits(
  logits: Float32Array | Float64Array,
  processors: readonly LogitsProcessor[],
  row: RowState,
  where: string,
): void {
  if (processors.length === 0) return;
  for (const process of processors) process(logits, row);
  let some = false;
  for (let i = 0; i < logits.length; i++) {
    const v = logits[i] as number;
    if (Number.isNaN(v) || v === Number.POSITIVE_INFINITY)
      throw new ArgumentError(`${where}: processors must leave logits that are finite or -Infinity, got ${v} for token ${i}`);
    some ||= v > Number.NEGATIVE_INFINITY;
  }
  if (!some) throw new ArgumentError(`${where}: processors must leave a token to choose, got none after ${row.generated} tokens`);
}
