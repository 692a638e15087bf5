// What a client is given: objects as OpenAI's API has them, whole or in pieces.
import { randomUUID } from 'node:crypto';
import type { Generated } from '../generate/index.ts';
import type { Work } from './requests.ts';

/** Tokens of a request's prompts, and of its texts. */
export interface Cost {
  readonly prompt: number;
  readonly completion: number;
}

const finishReason = ({ finishReason: reason }: Generated): string => (reason === 'length' ? 'length' : 'stop');
const usageOf = ({ prompt, completion }: Cost) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
});

/** The objects of one request's answer. */
export class Answer {
  readonly #head: { id: string; created: number; model: string };
  readonly #chat: boolean;

  constructor(work: Work, model: string) {
    this.#chat = work.kind === 'chat';
    this.#head = { id: `${this.#chat ? 'chatcmpl' : 'cmpl'}-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model };
  }

  /** All texts at once. */
  whole(texts: readonly Generated[], cost: Cost): object {
    const choices = texts.map((text, index) => ({
      index,
      ...(this.#chat ? { message: { role: 'assistant', content: text.text } } : { text: text.text }),
      logprobs: null,
      finish_reason: finishReason(text),
    }));
    return { ...this.#head, object: this.#chat ? 'chat.completion' : 'text_completion', choices, usage: usageOf(cost) };
  }

  /** The first piece of a conversation's answer says who speaks. */
  begin(index: number): object | undefined {
    return this.#chat
      ? this.#chunk([{ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }])
      : undefined;
  }

  piece(index: number, text: string): object {
    const said = this.#chat ? { delta: { content: text } } : { text };
    return this.#chunk([{ index, ...said, logprobs: null, finish_reason: null }]);
  }

  end(index: number, text: Generated): object {
    const said = this.#chat ? { delta: {} } : { text: '' };
    return this.#chunk([{ index, ...said, logprobs: null, finish_reason: finishReason(text) }]);
  }

  usage(cost: Cost): object {
    return { ...this.#chunk([]), usage: usageOf(cost) };
  }

  #chunk(choices: readonly object[]): object {
    return { ...this.#head, object: this.#chat ? 'chat.completion.chunk' : 'text_completion', choices };
  }
}
