import { noGrad } from '../autograd/index.ts';
import { type SlidingWindow, slidingWindows } from '../data/sliding.ts';
import type { GPT } from '../models/index.ts';
import { argmax, crossEntropy, embedding, reshape } from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { checkPrompt } from './prompt.ts';

/** Tokens of which those from `from` on (at least 1) are to be scored; the ones before are their context. */
export interface ScoreRow {
  readonly tokens: ArrayLike<number>;
  readonly from: number;
}

export interface TokenScores {
  /** ln p of each scored token given all tokens before it that the model sees, in nats. */
  readonly logProbs: readonly number[];
  /** Whether it was the likeliest token there. */
  readonly likeliest: readonly boolean[];
}

export interface Score extends TokenScores {
  /** The tokens that were scored. */
  readonly tokens: readonly number[];
  /** Sum of `logProbs`: ln p of the text. */
  readonly logProb: number;
}

/** Inputs that run together, and logits that exist together: what bounds the memory. */
const MOST_INPUTS = 4096;
const MOST_LOGITS = 1 << 23;

/** A part of a row that the model sees at once. */
interface Window extends SlidingWindow {
  readonly row: number;
}

export interface ScoreOptions {
  /**
   * Of a row longer than the context (T tokens), each window after the first scores so many tokens, which see T - stride before them.
   * Fewer cost more and say more of what the model can. From 1 to T; default ⌈T/2⌉.
   */
  stride?: number;
  signal?: AbortSignal;
}

/** Rows of inputs padded at the right, which nothing before sees, equal ones once; and where the scored tokens stand. */
function batchOf(rows: readonly (readonly number[])[], windows: readonly Window[]) {
  const T = Math.max(...windows.map(({ start, end }) => end - start - 1));
  const known = new Map<string, number>();
  const inputs: number[] = [];
  const places: number[] = [];
  const targets: number[] = [];
  for (const { row, start, from, end } of windows) {
    const tokens = rows[row] as readonly number[];
    const seen = tokens.slice(start, end - 1);
    const key = seen.join();
    // Choices of one token behind one question, as MMLU's, are one row of inputs.
    const i = known.get(key) ?? known.size;
    if (i === known.size) {
      known.set(key, i);
      for (let j = 0; j < T; j++) inputs.push(seen[j] ?? 0);
    }
    for (let j = from; j < end; j++) {
      places.push(i * T + j - 1 - start);
      targets.push(tokens[j] as number);
    }
  }
  return { B: known.size, T, inputs: Int32Array.from(inputs), places: Int32Array.from(places), targets: Int32Array.from(targets) };
}

/** Losses and whether each target was the likeliest, at some positions of hidden states (B · T, C). Enqueued; the caller waits. */
function lossesAt(model: GPT, hidden: Tensor, places: Int32Array, targets: Int32Array): { losses: Tensor; best: Tensor } {
  const { device } = model;
  return scope(() => {
    const shape = [places.length];
    const logits = model.project(embedding(hidden, tensor(places, { shape, device })));
    return { losses: crossEntropy(logits, tensor(targets, { shape, device }), { reduction: 'none' }), best: argmax(logits, -1) };
  });
}

/**
 * ln p of tokens given those before them, for many rows: each alone, in batches of like length. A row that is longer than the context
 * is scored in sliding windows (`stride`), as Baevski and Auli 2018 and Hugging Face's perplexity do. Results do not depend on the other
 * rows but for rounding. Dropout is off here only, no gradients are recorded, and the event loop goes on.
 * @throws ArgumentError for a row without a token before `from` or with none from it on, for ids outside the vocabulary, and for a
 * model that is not causal
 */
export async function scoreRows(model: GPT, rows: readonly ScoreRow[], options: ScoreOptions = {}): Promise<TokenScores[]> {
  const where = 'scoreRows';
  if (!model.config.causal) throw new ArgumentError(`${where}: model must be causal, got one that sees what comes after`);
  const T = model.config.contextLength;
  const { stride = Math.ceil(T / 2) } = options;
  if (!(Number.isInteger(stride) && stride >= 1 && stride <= T))
    throw new ArgumentError(`${where}: stride must be an integer from 1 to the context of ${T} tokens, got ${stride}`);
  const tokens = rows.map((row) => checkPrompt(model, row.tokens, where));
  const windows = rows.flatMap(({ from }, row) => {
    const { length } = tokens[row] as number[];
    if (!(Number.isInteger(from) && from >= 1 && from < length))
      throw new ArgumentError(`${where}: rows[${row}].from must be an integer from 1 to ${length - 1}, got ${from}`);
    return [...slidingWindows(length, from, T, stride)].map((window) => ({ row, ...window }));
  });
  const results = tokens.map(() => ({ logProbs: [] as number[], likeliest: [] as boolean[] }));
  // Rows of like length side by side pad little. Windows of one row keep their order: the sort is stable, later ones are no shorter.
  const order = windows.map((window, i) => ({ window, i, size: window.end - window.start })).sort((a, b) => a.size - b.size || a.i - b.i);
  const scored = new Map<Window, { losses: Float32Array; best: Int32Array }>();
  for (let at = 0; at < order.length; ) {
    options.signal?.throwIfAborted();
    let count = 1;
    while (at + count < order.length && (count + 1) * ((order[at + count]?.size ?? 0) - 1) <= MOST_INPUTS) count++;
    const group = order.slice(at, at + count).map(({ window }) => window);
    at += count;
    const { losses, best } = await scoreBatch(model, tokens, group);
    let place = 0;
    for (const window of group) {
      const n = window.end - window.from;
      scored.set(window, { losses: losses.subarray(place, place + n), best: best.subarray(place, place + n) });
      place += n;
    }
  }
  for (const window of windows) {
    const { losses, best } = scored.get(window) as { losses: Float32Array; best: Int32Array };
    const result = results[window.row] as { logProbs: number[]; likeliest: boolean[] };
    for (let i = 0; i < losses.length; i++) {
      result.logProbs.push(-(losses[i] as number));
      result.likeliest.push(best[i] === tokens[window.row]?.[window.from + i]);
    }
  }
  return results;
}

async function scoreBatch(model: GPT, rows: readonly (readonly number[])[], windows: readonly Window[]) {
  const { B, T, inputs, places, targets } = batchOf(rows, windows);
  const chunk = Math.max(1, Math.floor(MOST_LOGITS / model.config.vocabSize));
  const losses = new Float32Array(places.length);
  const best = new Int32Array(places.length);
  const hidden = evaluating(model, () =>
    scope(() => {
      const x = model.forward(tensor(inputs, { shape: [B, T], device: model.device }));
      return reshape(x, B * T, model.config.width);
    }).keep(),
  );
  try {
    for (let from = 0; from < places.length; from += chunk) {
      const to = Math.min(places.length, from + chunk);
      const part = noGrad(() => lossesAt(model, hidden, places.subarray(from, to), targets.subarray(from, to)));
      try {
        losses.set((await part.losses.data()) as Float32Array, from);
        best.set((await part.best.data()) as Int32Array, from);
      } finally {
        part.losses.dispose();
        part.best.dispose();
      }
    }
  } finally {
    hidden.dispose();
  }
  return { losses, best };
}

/** Runs `fn` in evaluation mode without gradients; training goes on afterwards as it was. */
function evaluating<T>(model: GPT, fn: () => T): T {
  const { training } = model;
  if (training) model.eval();
  try {
    return noGrad(fn);
  } finally {
    if (training) model.train();
  }
}

/**
 * A context and what follows it as one row of tokens. Both are encoded together, so that tokens are those of the whole text; blanks at
 * the context's end belong to what follows, where tokenizers put them (as in lm-evaluation-harness). An empty context is the
 * beginning of a document, the end-of-text token.
 * @throws ArgumentError where the continuation is empty, or the context is and the tokenizer has no end-of-text token
 */
export function encodePair(tokenizer: Tokenizer, context: string, continuation: string): ScoreRow {
  if (continuation === '') throw new ArgumentError('score: text must not be empty');
  const kept = context.trimEnd();
  const before = tokenizer.encode(kept);
  const rest = context.slice(kept.length) + continuation;
  if (before.length === 0) {
    if (tokenizer.endOfText === undefined)
      throw new ArgumentError('score: prompt must not be empty with a tokenizer that has no end-of-text token');
    return { tokens: [tokenizer.endOfText, ...tokenizer.encode(rest)], from: 1 };
  }
  const tokens = tokenizer.encode(kept + rest);
  return { tokens, from: Math.min(before.length, tokens.length - 1) };
}

/**
 * ln p of a text, token by token. `prompt` is what stands before it and is not scored; without one the text is the beginning of a
 * document. Texts longer than the context are scored in windows: see `scoreRows`.
 * @throws ArgumentError for an empty text, and without a prompt where the tokenizer has no end-of-text token
 */
export async function score(
  model: GPT,
  tokenizer: Tokenizer,
  text: string,
  options: ScoreOptions & { prompt?: string } = {},
): Promise<Score> {
  const row = encodePair(tokenizer, options.prompt ?? '', text);
  const [scores] = await scoreRows(model, [row], options);
  const { logProbs, likeliest } = scores as TokenScores;
  return { tokens: Array.from(row.tokens).slice(row.from), logProbs, likeliest, logProb: logProbs.reduce((sum, x) => sum + x, 0) };
}
