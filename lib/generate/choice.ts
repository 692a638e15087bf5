import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import type { LogitsProcessor, ProcessorOptions } from './processors.ts';
import { badWordIds, type PromptOptions, promptOf } from './prompt.ts';
import { decodeTokens } from './rows.ts';
import type { SamplingOptions } from './sample.ts';

/** A place in a trie: the tokens that may follow, and the sequence that ends here. */
interface Node {
  readonly next: Map<number, Node>;
  end: number | null;
}

function trieOf(sequences: readonly (readonly number[])[], where: string): Node {
  const root: Node = { next: new Map(), end: null };
  for (const [index, tokens] of sequences.entries()) {
    if (tokens.length === 0) throw new ArgumentError(`${where}: choices[${index}] must be at least one token, got none`);
    let node = root;
    for (const id of tokens) {
      const next = node.next.get(id) ?? { next: new Map(), end: null };
      node.next.set(id, next);
      node = next;
    }
    if (node.end !== null)
      throw new ArgumentError(
        `${where}: choices must be tokens of their own each, got those of choices[${node.end}] in choices[${index}], too`,
      );
    node.end = index;
  }
  return root;
}

/** The place that generated tokens lead to; null outside the trie. */
function follow(root: Node, tokens: readonly number[], from: number): Node | null {
  let node: Node | undefined = root;
  for (let i = from; node && i < tokens.length; i++) node = node.next.get(tokens[i] as number);
  return node ?? null;
}

/** Bans all tokens but these. */
function keepOnly(logits: Float32Array | Float64Array, ids: Iterable<number>): void {
  const kept = [...ids].filter((id) => id < logits.length).map((id) => [id, logits[id] as number] as const);
  logits.fill(Number.NEGATIVE_INFINITY);
  for (const [id, v] of kept) logits[id] = v;
}

function allow(root: Node, endOfText: number | null): LogitsProcessor {
  return (logits, { tokens, generated }) => {
    const node = follow(root, tokens, tokens.length - generated);
    const ids = node ? [...node.next.keys()] : [];
    if (node?.end !== null && endOfText !== null) ids.push(endOfText);
    keepOnly(logits, ids);
  };
}

/**
 * Lets only one of some sequences of tokens come, and then the end of text: a trie over their tokens. With it beam search gives the
 * likeliest of them, sampling one of them.
 * @throws ArgumentError for an empty sequence, or one twice
 */
export function oneOf(sequences: readonly (readonly number[])[], endOfText: number): LogitsProcessor {
  return allow(trieOf(sequences, 'oneOf'), endOfText);
}

export interface ChooseOptions extends Omit<SamplingOptions, keyof ProcessorOptions>, ProcessorOptions, PromptOptions {
  /** Aborting rejects with the signal's reason at the next token. */
  signal?: AbortSignal;
}

export interface Choice {
  /** The text that was chosen, and its place in the list. */
  readonly choice: string;
  readonly index: number;
  /** Its tokens behind the prompt. */
  readonly tokens: readonly number[];
  /** ln p of these (and of the end of text, where that told it from a longer choice), in nats, by the model's own probabilities. */
  readonly logProb: number;
}

/** A choice's tokens behind the prompt: those of both as one text where it begins with the prompt's own, else the choice's alone. */
function behind(tokenizer: Tokenizer, prompt: string | null, ids: readonly number[], choice: string): number[] {
  const alone = Array.from(tokenizer.encode(choice));
  if (prompt === null || prompt === '') return alone;
  const whole = Array.from(tokenizer.encode(prompt + choice));
  return ids.every((id, i) => whole[i] === id) ? whole.slice(ids.length) : alone;
}

/**
 * Lets the model answer with one of some texts and nothing else. Token by token, only those come with which a choice goes on (a trie over
 * the choices' tokens), by default the likeliest of them (`temperature` 0); so it costs no more than writing the answer. It does not weigh
 * whole choices against each other: for that, score each (`score`), as benchmarks do. Where one choice begins another, the end of text
 * decides between them.
 * @throws ArgumentError for no choice, an empty or a double one, and for a choice that begins another where no token ends a text
 */
export async function choose(
  model: GPT,
  tokenizer: Tokenizer,
  prompt: string | ArrayLike<number>,
  choices: readonly string[],
  options: ChooseOptions = {},
): Promise<Choice> {
  const where = 'choose';
  if (choices.length === 0) throw new ArgumentError(`${where}: choices must be at least one text, got none`);
  const { ids, endOfText, vocabulary } = promptOf(model, tokenizer, prompt, options, where);
  const sequences = choices.map((choice) => behind(tokenizer, typeof prompt === 'string' ? prompt : null, ids, choice));
  const root = trieOf(sequences, where);
  if (endOfText === null)
    for (const [i, tokens] of sequences.entries()) {
      if ((follow(root, tokens, 0) as Node).next.size === 0) continue;
      throw new ArgumentError(
        `${where}: choices[${i}] must not begin another one where no token ends a text, got ${JSON.stringify(choices[i])}`,
      );
    }
  const finished = [false];
  const tokens: number[] = [];
  let logProb = 0;
  let node = root;
  for await (const step of decodeTokens(model, [ids], {
    ...{ temperature: 0, ...options, endOfText, vocabulary, where, finished, samples: [0], logProbs: true },
    badWords: badWordIds(tokenizer, options.badWords ?? [], where),
    processors: [...(options.processors ?? []), allow(root, endOfText)],
    maxTokens: Math.max(...sequences.map((sequence) => sequence.length)) + 1,
  })) {
    const id = step.ids[0] as number;
    logProb += step.logProbs?.[0] as number;
    const next = node.next.get(id);
    if (next) {
      tokens.push(id);
      node = next;
    }
    finished[0] = !next || node.next.size === 0;
  }
  const index = node.end as number;
  return { choice: choices[index] as string, index, tokens, logProb };
}
