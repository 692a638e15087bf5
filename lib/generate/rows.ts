import type { GPT } from '../models/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { Decoder } from './decoder.ts';
import { logSumExp } from './log_probs.ts';
import { checkPrompt } from './prompt.ts';
import { Sampler, type SamplingOptions } from './sample.ts';

export interface DecodeOptions extends SamplingOptions {
  /** The most tokens to generate. Default 256. */
  maxTokens?: number;
  /** Id of the token that ends a text; null: none does. Default: the tokenizer's. */
  endOfText?: number | null;
  /** Keep keys and values of earlier positions; without, every step computes the whole window again. Default true. */
  cache?: boolean;
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
 * Tokens after rows of equal length, one for each row at a time. The consumer marks rows as finished; what comes for them after
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
  const decoder = new Decoder(model, prompts, (prompts[0]?.length ?? 0) + maxTokens, cache);
  try {
    for (let position = 0; position < maxTokens && finished.includes(false); position++) {
      signal?.throwIfAborted();
      const logits = await decoder.logits();
      // The model's own probabilities: over its whole vocabulary, before processors and temperature.
      const totals = wanted ? logits.map((row, i) => (finished[i] ? 0 : logSumExp(row))) : null;
      const own = totals && logits.map((row) => row.slice());
      const ids = logits.map((row, i) => {
        if (finished[i]) return 0; // any token: nobody looks at this row any more
        return sampler.next(row.subarray(0, vocabulary), decoder.row(i), samples[i] as number, position);
      });
      decoder.push(ids);
      signal?.throwIfAborted();
      yield { ids, logProbs: totals && ids.map((id, i) => (own?.[i]?.[id] as number) - (totals[i] as number)) };
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

/**
 * Continues rows of token ids. Rows of one length run together as a batch; each comes out as it would alone, with its index
 * as the number of its random draws.
 * @throws ArgumentError for a wrong option or id
 */
export async function generateRows(
  model: GPT,
  prompts: readonly ArrayLike<number>[],
  options: DecodeOptions = {},
): Promise<GeneratedRow[]> {
  const where = 'generateRows';
  const { endOfText = null } = options;
  const rows = prompts.map((p) => checkPrompt(model, p, where));
  const results: GeneratedRow[] = [];
  for (const length of new Set(rows.map((row) => row.length))) {
    const samples = rows.flatMap((row, i) => (row.length === length ? [i] : []));
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
