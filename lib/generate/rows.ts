import type { GPT } from '../models/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { type CacheOption, Decoder } from './decoder.ts';
import { logSumExp } from './log_probs.ts';
import { checkPrompt } from './prompt.ts';
import { Sampler, type SamplingOptions } from './sample.ts';

export interface DecodeOptions extends SamplingOptions {
  /** The most tokens to generate. Default 256. */
  maxTokens?: number;
  /** Id of the token that ends a text; null: none does. Default: the tokenizer's. */
  endOfText?: number | null;
  /** Where keys and values of earlier positions are kept. Default true: rows have memory of their own. */
  cache?: CacheOption;
  /** Also give ln p of each generated token: `logProbs`. Default false. */
  logProbs?: boolean;
  /** Aborting rejects with the signal's reason at the next token. */
  signal?: AbortSignal;
}

/** Why a text ended: `length` is maxTokens. */
export type FinishReason = 'endOfText' | 'stop' | 'length';

/** A token for each row, and ln p of each where they are asked for. */
export interface Step {
  readonly ids: readonly number[];
  readonly logProbs: readonly number[] | null;
}

/**
 * Tokens after rows, one for each row at a time. The consumer marks rows as finished; what comes for them after
 * that is to be ignored. `samples`: the number of each row, which tells its random draws from the others'. `vocabulary`: only
 * ids below it are drawn.
 */
export async function* decodeTokens(
  model: GPT,
  prompts: readonly (readonly number[])[],
  options: DecodeOptions & { samples: readonly number[]; finished: boolean[]; vocabulary: number; where: string },
): AsyncGenerator<Step> {
  const {
    maxTokens = 256,
    cache = true,
    logProbs: wanted = false,
    endOfText = null,
    samples,
    finished,
    vocabulary,
    where,
    signal,
  } = options;
  if (!(Number.isInteger(maxTokens) && maxTokens >= 0))
    throw new ArgumentError(`${where}: maxTokens must be an integer of at least 0, got ${maxTokens}`);
  const sampler = new Sampler(options, where, endOfText);
  const decoder = new Decoder(model, prompts, maxTokens, cache);
  try {
    for (let position = 0; position < maxTokens && finished.includes(false); position++) {
      signal?.throwIfAborted();
      const logits = await decoder.logits(finished);
      const logProbs: number[] = [];
      const ids = logits.map((row, i) => {
        if (row === null) return 0; // any token: nobody looks at this row any more
        // The model's own probabilities: over its whole vocabulary, before processors and temperature, which change the logits.
        const own = wanted ? row.slice() : null;
        const id = sampler.next(row.subarray(0, vocabulary), decoder.row(i), samples[i] as number, position);
        if (own) logProbs[i] = (own[id] as number) - logSumExp(own);
        return id;
      });
      decoder.push(ids);
      signal?.throwIfAborted();
      yield { ids, logProbs: wanted ? logProbs : null };
    }
  } finally {
    decoder.dispose();
  }
}

export interface GeneratedRow {
  /** What follows the prompt, without the end of text. */
  readonly tokens: number[];
  /** ln p of each of them given all before, in nats, before processors and temperature; only with `logProbs`. */
  readonly logProbs?: number[];
  readonly finishReason: Exclude<FinishReason, 'stop'>;
}

export interface RowsOptions extends DecodeOptions {
  /** The most rows that run together; what comes out does not depend on it. Default 64. */
  batch?: number;
}

/**
 * Continues rows of token ids, of any lengths, as batches. Each comes out as it would alone, to the same bits, with its index as the number
 * of its random draws: rows begin at position 0 each, so nothing is padded, and a row that has ended costs nothing more.
 * @throws ArgumentError for a wrong option or id
 */
export async function generateRows(model: GPT, prompts: readonly ArrayLike<number>[], options: RowsOptions = {}): Promise<GeneratedRow[]> {
  const where = 'generateRows';
  const { endOfText = null, batch = 64 } = options;
  if (!(Number.isInteger(batch) && batch >= 1)) throw new ArgumentError(`${where}: batch must be a positive integer, got ${batch}`);
  const rows = prompts.map((p) => checkPrompt(model, p, where));
  const results: GeneratedRow[] = [];
  // Rows of like length side by side: equal ones are computed at once also where the length matters, in attention.
  const order = [...rows.keys()].sort((a, b) => (rows[a] as number[]).length - (rows[b] as number[]).length || a - b);
  for (let from = 0; from < order.length; from += batch) {
    const samples = order.slice(from, from + batch);
    const finished = samples.map(() => false);
    const tokens: number[][] = samples.map(() => []);
    const logProbs: number[][] = samples.map(() => []);
    const group = samples.map((i) => rows[i] as number[]);
    for await (const step of decodeTokens(model, group, { ...options, samples, finished, vocabulary: model.config.vocabSize, where })) {
      for (const [i, id] of step.ids.entries()) {
        if (finished[i]) continue;
        if (id === endOfText) finished[i] = true;
        else {
          tokens[i]?.push(id);
          if (step.logProbs) logProbs[i]?.push(step.logProbs[i] as number);
        }
      }
    }
    for (const [i, sample] of samples.entries())
      results[sample] = {
        tokens: tokens[i] as number[],
        ...(options.logProbs && { logProbs: logProbs[i] as number[] }),
        finishReason: finished[i] ? 'endOfText' : 'length',
      };
  }
  return results;
}
