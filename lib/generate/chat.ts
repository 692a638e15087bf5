import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import type { StreamOptions } from './continuation.ts';
import { streamText } from './generate.ts';

/** What somebody said. */
export interface Said {
  /** `system`, `user`, `assistant`. */
  readonly role: string;
  readonly content: string;
}

/** How a conversation becomes a prompt. */
export interface ChatFormat {
  /** The conversation as text; with `addGenerationPrompt` it ends where the assistant begins to speak. */
  render(messages: readonly Said[], options?: { addGenerationPrompt?: boolean }): string;
}

const SPEAKERS: Readonly<Record<string, string>> = { user: 'User: ', assistant: 'Assistant: ' };

/** `User: ...` and `Assistant: ...`, a turn a line: for models without a format of their own. A system's message stands alone above. */
export const plainChatFormat: ChatFormat & { readonly stop: readonly string[] } = {
  /** Where the assistant would go on as somebody else. */
  stop: ['\nUser:', '\nAssistant:'],
  render(messages, { addGenerationPrompt = false } = {}) {
    const turns = messages.map(({ role, content }) => `${SPEAKERS[role] ?? ''}${content}\n`);
    return turns.join('') + (addGenerationPrompt ? 'Assistant:' : '');
  },
};

export interface ChatOptions {
  /** Default `plainChatFormat`. A format of the model's own may spell out special tokens. */
  format?: ChatFormat;
  /** What stands above the conversation. */
  system?: string;
}

/**
 * A conversation with a model. It remembers what was said; what no longer fits into the context beside the answer is left out of the prompt,
 * the oldest turns first, never the system's message nor the last question.
 */
export class Chat {
  readonly #model: GPT;
  readonly #tokenizer: Tokenizer;
  readonly #format: ChatFormat;
  readonly #isPlain: boolean;
  readonly #system: readonly Said[];
  #turns: Said[] = [];

  constructor(model: GPT, tokenizer: Tokenizer, options: ChatOptions = {}) {
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#format = options.format ?? plainChatFormat;
    this.#isPlain = this.#format === plainChatFormat;
    this.#system = options.system === undefined ? [] : [{ role: 'system', content: options.system }];
  }

  /** All that was said, the system's message first. */
  get messages(): readonly Said[] {
    return [...this.#system, ...this.#turns];
  }

  /** Forgets the turns. */
  reset(): void {
    this.#turns = [];
  }

  /**
   * Says something; gives the answer in pieces as it comes, without the blanks before it. What came of it is remembered, also when the
   * loop is left or the signal aborts, which throws its reason.
   * @throws ArgumentError for an empty text
   */
  async *say(text: string, options: StreamOptions = {}): AsyncGenerator<string, void, undefined> {
    if (text.trim() === '') throw new ArgumentError('say: text must not be empty');
    this.#turns.push({ role: 'user', content: text });
    const stop = [...[options.stop ?? []].flat(), ...(this.#isPlain ? plainChatFormat.stop : [])];
    const allowedSpecial = this.#isPlain ? [] : ('all' as const);
    const prompt = this.#prompt(options.maxTokens ?? 256);
    let answer = '';
    try {
      for await (const piece of streamText(this.#model, this.#tokenizer, prompt, { ...options, stop, allowedSpecial })) {
        const said = answer === '' ? piece.trimStart() : piece;
        answer += said;
        if (said !== '') yield said;
      }
    } finally {
      this.#turns.push({ role: 'assistant', content: answer.trimEnd() });
    }
  }

  /** The longest end of the conversation, turn by turn, that leaves room for `reserve` tokens; at least the last question. */
  #prompt(reserve: number): string {
    const { contextLength } = this.#model.config;
    const render = (from: number): string =>
      this.#format.render([...this.#system, ...this.#turns.slice(from)], { addGenerationPrompt: true });
    const fits = (prompt: string): boolean =>
      this.#tokenizer.encode(prompt, { allowedSpecial: this.#isPlain ? [] : 'all' }).length + reserve <= contextLength;
    let from = 0;
    // Two turns at a time: a conversation begins with a question.
    while (from + 2 < this.#turns.length && !fits(render(from))) from += 2;
    return render(from);
  }
}
