import type { GPT } from '../models/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { Decoder } from './decoder.ts';
import { checkPrompt } from './prompt.ts';
import { Sampler, type SamplingOptions } from './sample.ts';

export interface DecodeOptions extends SamplingOptions {
  /** The most tokens to generate. Default 256. */
  maxTokens?: number;
  /** Id of the token that ends a text; null: none does. Default: the tokenizer's. */
  endOfText?: number | null;
  /** Keep keys and values of earlier positions; without, every step computes the whole window again. Default true. */
  cache?: boolean;
  /** Aborting rejects with the signal's reason at the next token. */
  signal?: AbortSignal;
}

/** Why a text ended: `length` is maxTokens. */
export type FinishReason = 'endOfText' | 'stop' | 'length';

/**
 * Tokens after rows of equal length, one for each row at a time. The consumer marks rows as finished; what comes for them after
 * that is to be ignored. `samples`: the number of each row, which tells its random draws from the others'. `vocabulary`: only
 * ids below it are drawn.
 */
export async function* decodeTokens(
  model: GPT,
  prompts: readonly (readonly number[])[],
  options: DecodeOptions & { samples: readonly number[]; finished: boolean[]; vocabulary: number; where: string },
): AsyncGenerator<readonly number[]> {
  const { maxTokens = 256, cache = true, samples, finished, vocabulary, where, signal } = options;
  if (!(Number.isInteger(maxTokens) && maxTokens >= 0))
    throw new ArgumentError(`${where}: maxTokens must be an integer of at least 0, got ${maxTokens}`);
  const sampler = new Sampler(options, where);
  const decoder = new Decoder(model, prompts, (prompts[0]?.length ?? 0) + maxTokens, cache);
  try {
    for (let position = 0; position < maxTokens && finished.includes(false); position++) {
      signal?.throwIfAborted();
      const logits = await decoder.logits();
      const ids = logits.map((row, i) => {
        if (finished[i]) return 0; // any token: nobody looks at this row any more
        return sampler.next(row.subarray(0, vocabulary), decoder.row(i), samples[i] as number, position);
      });
      decoder.push(ids);
      signal?.throwIfAborted();
      yield ids;
    }
  } finally {
    decoder.dispose();
  }
}

export interface GeneratedRow {
  /** What follows the prompt, without the end of text. */
  readonly tokens: number[];
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
    const group = samples.map((i) => rows[i] as number[]);
    for await (const ids of decodeTokens(model, group, { ...options, samples, finished, vocabulary: model.config.vocabSize, where })) {
      for (const [i, id] of ids.entries()) {
        if (finished[i]) continue;
        if (id === endOfText) finished[i] = true;
        else tokens[i]?.push(id);
      }
    }
    for (const [i, sample] of samples.entries())
      results[sample] = { tokens: tokens[i] as number[], finishReason: finished[i] ? 'endOfText' : 'length' };
  }
  return results;
}
