import { type Example, isCorrect } from '../data/index.ts';
import { generateRows } from '../generate/index.ts';
import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';

export interface ExactMatch {
  /** Share of the examples that were answered rightly. */
  score: number;
  examples: number;
  /** What the model said to each, in order. */
  said: readonly string[];
}

/** Prompts answered at a time. */
const GROUP = 100;

/** Answers every prompt greedily and counts those that begin with the right completion. */
export async function exactMatch(
  model: GPT,
  tokenizer: Tokenizer,
  examples: readonly Example[],
  options: { onProgress?: (done: number) => void; signal?: AbortSignal } = {},
): Promise<ExactMatch> {
  const said: string[] = [];
  for (let from = 0; from < examples.length; from += GROUP) {
    options.signal?.throwIfAborted();
    const group = examples.slice(from, from + GROUP);
    const longest = Math.max(...group.map((e) => tokenizer.encode(e.completion).length));
    const rows = await generateRows(
      model,
      group.map((e) => tokenizer.encode(e.prompt)),
      // One token more than the answer: what follows may show that it was only the beginning of another word.
      { maxTokens: longest + 1, temperature: 0, endOfText: tokenizer.endOfText ?? null },
    );
    for (const row of rows) said.push(tokenizer.decode(row.tokens));
    options.onProgress?.(said.length);
  }
  const right = examples.filter((e, i) => isCorrect(e, said[i] as string)).length;
  return { score: right / examples.length, examples: examples.length, said };
}
