// Finetuning on prompts and completions: examples packed into rows, loss only on completions, attention only within an example.
//
// An example of n tokens (prompt, completion, end of text) takes n-1 places: inputs 0..n-2, targets 1..n-1. So no place is
// spent on an end-of-text input, and no target lies in the next example.
import type { ChatTemplate } from '../tokenizer/chat.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { type Batch, checkPositive, IGNORE } from './loader.ts';
import type { Conversation } from './records.ts';
import { Permutation, STREAM, seedWords } from './rng.ts';
import type { Example } from './source.ts';
import { MemoryTokens, type TokenData } from './tokens.ts';

/** Documents, token by token, each with whether it is learned. */
class Writer {
  readonly #tokens: number[] = [];
  readonly #mask: number[] = [];
  readonly #starts: number[] = [];

  begin(): void {
    this.#starts.push(this.#tokens.length);
  }

  write(ids: Iterable<number>, learned: boolean): void {
    for (const id of ids) {
      this.#tokens.push(id);
      this.#mask.push(learned ? 1 : 0);
    }
  }

  tokens(tokenizer: Tokenizer): MemoryTokens {
    return new MemoryTokens({
      tokens: Uint32Array.from(this.#tokens),
      mask: Uint8Array.from(this.#mask),
      starts: Uint32Array.from(this.#starts),
      vocabSize: tokenizer.vocabSize,
      endOfText: tokenizer.endOfText,
    });
  }
}

/**
 * Prompts and completions as tokens in memory: the same row of tokens that `prepare` writes for JSONL.
 * @throws ArgumentError for an empty completion, or an empty prompt where the tokenizer has no end-of-text token.
 */
export function encodeExamples(examples: readonly Example[], tokenizer: Tokenizer): MemoryTokens {
  const end = tokenizer.endOfText;
  const writer = new Writer();
  for (const [index, example] of examples.entries()) {
    const prompt = example.prompt === '' && end !== undefined ? [end] : tokenizer.encode(example.prompt);
    const completion = tokenizer.encode(example.completion);
    if (prompt.length === 0)
      throw new ArgumentError(`encodeExamples: examples[${index}].prompt must not be empty with a tokenizer that has no end-of-text token`);
    if (completion.length === 0) throw new ArgumentError(`encodeExamples: examples[${index}].completion must not be empty`);
    writer.begin();
    writer.write(prompt, false);
    writer.write(completion, true);
    if (end !== undefined) writer.write([end], true);
  }
  return writer.tokens(tokenizer);
}

/**
 * Conversations as tokens in memory, those learned that the assistant says. What stands before an answer is encoded apart from it, as it
 * is when the model is asked; special tokens in the template's text come out as such.
 * @throws ArgumentError naming the conversation that the template does not take
 */
export function encodeConversations(conversations: readonly Conversation[], tokenizer: Tokenizer, template: ChatTemplate): MemoryTokens {
  const writer = new Writer();
  for (const [index, { messages }] of conversations.entries()) {
    writer.begin();
    try {
      for (const { text, learned } of template.pieces(messages)) writer.write(tokenizer.encode(text, { allowedSpecial: 'all' }), learned);
    } catch (error) {
      if (!(error instanceof ArgumentError)) throw error;
      throw new ArgumentError(`encodeConversations: conversations[${index}]: ${error.message}`, { cause: error });
    }
  }
  return writer.tokens(tokenizer);
}

/**
 * Texts with the end-of-text token behind them, at which a head reads (GPT-1's extract token). Their tokens are learned, too: GPT-1's
 * auxiliary loss. Behind it stands one more, which no input takes in.
 * @throws ArgumentError for a tokenizer without an end-of-text token
 */
export function encodeScored(texts: readonly string[], tokenizer: Tokenizer): MemoryTokens {
  const end = tokenizer.endOfText;
  if (end === undefined) throw new ArgumentError('encodeScored: the tokenizer must have an end-of-text token, at which the head reads');
  const writer = new Writer();
  for (const text of texts) {
    writer.begin();
    writer.write(tokenizer.encode(text), true);
    writer.write([end], true);
    writer.write([end], false);
  }
  return writer.tokens(tokenizer);
}

/** Whether a token behind the first one of some document is to be predicted. */
function hasLabels(data: TokenData, longest: number): boolean {
  const mask = new Uint8Array(longest);
  for (let i = 0; i < data.documents; i++) {
    const size = data.documentStart(i + 1) - data.documentStart(i);
    data.readMask(data.documentStart(i), size, mask, 0);
    if (mask.subarray(1, size).includes(1)) return true;
  }
  return false;
}

/** Where an ExamplesLoader stands; JSON-safe. */
export interface ExamplesState {
  seed: number;
  /** Batches given so far. */
  step: number;
  epoch: number;
  /** Examples of this epoch given so far. */
  position: number;
  batch: number;
  length: number;
  tokens: number;
}

export interface ExamplesLoaderOptions {
  /** B: rows of a batch. */
  batch: number;
  /** T: tokens of a row. */
  length: number;
  seed?: number;
  /** Several examples in a row as long as they fit (default), or one and padding. */
  packing?: boolean;
  /**
   * What happens to examples of more than T + 1 tokens: an error that says how many there are (default), or the beginning of
   * the prompt is cut off, and the end of a completion that alone is too long.
   */
  tooLong?: 'error' | 'truncate';
  /** Part `rank` of `count` parts, for data-parallel training: each takes every count-th batch of B rows. */
  part?: { rank: number; count: number };
  /** Every example comes once; what is left of the last batch is padding, and `epoch` is then 1. For evaluation. */
  once?: boolean;
}

/** Batches of examples for training, without end; each example comes once per epoch, shuffled by (seed, epoch). */
export class ExamplesLoader {
  readonly #data: TokenData;
  readonly #options: { batch: number; length: number; packing: boolean; rank: number; parts: number; once: boolean };
  #seed: number;
  #step = 0;
  #epoch = 0;
  #position = 0;
  #order: Permutation;
  // Scratch for one example.
  readonly #tokens: Int32Array;
  readonly #mask: Uint8Array;

  /** @throws ArgumentError for a bad option, data without examples, or examples that are too long. */
  constructor(data: TokenData, options: ExamplesLoaderOptions) {
    const { batch, length, seed = 0, packing = true, tooLong = 'error', part = { rank: 0, count: 1 }, once = false } = options;
    checkPositive('ExamplesLoader', 'batch', batch);
    checkPositive('ExamplesLoader', 'length', length);
    checkPositive('ExamplesLoader', 'part.count', part.count);
    if (!(Number.isInteger(part.rank) && part.rank >= 0 && part.rank < part.count)) {
      throw new ArgumentError(`ExamplesLoader: part.rank must be from 0 to ${part.count - 1}, got ${part.rank}`);
    }
    if (!data.masked || data.documents === 0)
      throw new ArgumentError('ExamplesLoader: data must hold prompts and completions, got plain text');
    seedWords('ExamplesLoader', seed);
    let longest = 0;
    let over = 0;
    for (let i = 0; i < data.documents; i++) {
      const size = data.documentStart(i + 1) - data.documentStart(i);
      longest = Math.max(longest, size);
      if (size > length + 1) over++;
    }
    if (over > 0 && tooLong === 'error') {
      throw new ArgumentError(
        `ExamplesLoader: examples must have at most length + 1 = ${length + 1} tokens, got ${over} longer ones (up to ${longest})`,
        {
          hint: "Raise the length, or set tooLong to 'truncate'.",
        },
      );
    }
    if (!hasLabels(data, longest))
      throw new ArgumentError('ExamplesLoader: data must have a token that is learned, got all of them masked');
    this.#data = data;
    this.#options = { batch, length, packing, rank: part.rank, parts: part.count, once };
    this.#seed = seed;
    this.#order = new Permutation(data.documents, seed, STREAM.examples, 0);
    this.#tokens = new Int32Array(longest);
    this.#mask = new Uint8Array(longest);
  }

  /** Passes over the examples so far, as a fraction. */
  get epoch(): number {
    return this.#epoch + this.#position / this.#data.documents;
  }

  /** The next batch, in arrays of its own. */
  next(): Batch {
    const { rank, parts } = this.#options;
    let own: Batch | undefined;
    // How examples fall into rows depends on their lengths, so each part packs the others' batches too; that is cheap.
    for (let part = 0; part < parts; part++) {
      const batch = this.#pack();
      if (part === rank) own = batch;
    }
    this.#step++;
    return own as Batch;
  }

  #pack(): Batch {
    const { batch: rows, length, packing, once } = this.#options;
    const size = rows * length;
    const documents = new Int32Array(size);
    const positions = new Int32Array(size);
    const batch: Batch = {
      rows,
      length,
      inputs: new Int32Array(size),
      targets: new Int32Array(size).fill(IGNORE),
      documents,
      positions,
      targetCount: 0,
    };
    for (let row = 0; row < rows; row++) {
      let used = 0;
      let count = 0;
      while (!once || this.#epoch === 0) {
        const example = this.#order.at(this.#position);
        const places = Math.min(length, this.#data.documentStart(example + 1) - this.#data.documentStart(example) - 1);
        if (count > 0 && (!packing || used + places > length)) break;
        this.#place(batch, example, row * length + used, places, count);
        used += places;
        count++;
        this.#advance();
      }
      // Padding is a document of its own: nothing attends to it, and it attends to itself.
      for (let i = used; i < length; i++) {
        documents[row * length + i] = count;
        positions[row * length + i] = i - used;
      }
    }
    return batch;
  }

  /** Writes one example of `places` inputs as document `document` of its row. */
  #place(batch: Batch, example: number, at: number, places: number, document: number): void {
    const start = this.#data.documentStart(example);
    const size = this.#data.documentStart(example + 1) - start;
    this.#data.read(start, size, this.#tokens, 0);
    this.#data.readMask(start, size, this.#mask, 0);
    const from = this.#firstToken(size, places + 1);
    for (let i = 0; i < places; i++) {
      batch.inputs[at + i] = this.#tokens[from + i] as number;
      (batch.documents as Int32Array)[at + i] = document;
      (batch.positions as Int32Array)[at + i] = i;
      if (this.#mask[from + i + 1] !== 1) continue;
      batch.targets[at + i] = this.#tokens[from + i + 1] as number;
      batch.targetCount++;
    }
  }

  /** The token at which an example cut to `keep` tokens begins: its end stays, with at least one token of the prompt. */
  #firstToken(size: number, keep: number): number {
    const completionAt = this.#mask.subarray(0, size).indexOf(1);
    return Math.max(0, Math.min(size - keep, completionAt - 1));
  }

  #advance(): void {
    this.#position++;
    if (this.#position < this.#data.documents) return;
    this.#position = 0;
    this.#epoch++;
    this.#order = new Permutation(this.#data.documents, this.#seed, STREAM.examples, this.#epoch);
  }

  /** Where the loader stands: all that a checkpoint needs. */
  state(): ExamplesState {
    const { batch, length } = this.#options;
    return { seed: this.#seed, step: this.#step, epoch: this.#epoch, position: this.#position, batch, length, tokens: this.#data.length };
  }

  /**
   * Goes on from a state: the next batch is the one that the loader of that state would have given.
   * @throws ArgumentError when the state is another shape's or other data's.
   */
  restore(state: ExamplesState): void {
    const own = this.state();
    for (const field of ['batch', 'length', 'tokens'] as const) {
      if (state[field] !== own[field])
        throw new ArgumentError(`ExamplesLoader: restored state must have ${field} ${own[field]}, got ${show(state[field])}`);
    }
    for (const field of ['step', 'epoch', 'position'] as const) {
      const value = state[field];
      if (!(Number.isSafeInteger(value) && value >= 0 && (field !== 'position' || value < this.#data.documents))) {
        throw new ArgumentError(`ExamplesLoader: restored state must have a ${field} within the data, got ${show(value)}`);
      }
    }
    this.#order = new Permutation(this.#data.documents, state.seed, STREAM.examples, state.epoch);
    this.#seed = state.seed;
    this.#step = state.step;
    this.#epoch = state.epoch;
    this.#position = state.position;
  }
}

/** All examples once, packed into rows, for evaluation; longer ones than T lose the beginning of their prompt. */
export function* examplesOnce(data: TokenData, options: { batch: number; length: number }): Generator<Batch> {
  const loader = new ExamplesLoader(data, { ...options, tooLong: 'truncate', once: true });
  while (loader.epoch < 1) yield loader.next();
}
