// What a client asks for, checked: OpenAI's requests for completions and for answers in a conversation, as far as they have a meaning here.
import { type ChatFormat, type EngineJob, plainChatFormat, type Said } from '../generate/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { show } from '../util/show.ts';
import { Fields, RequestError } from './fields.ts';

/** Texts to generate for one request. */
export interface Work {
  readonly kind: 'completion' | 'chat';
  /** Token ids, one list for each prompt. */
  readonly prompts: readonly (readonly number[])[];
  /** Texts for each prompt. */
  readonly samples: number;
  readonly options: EngineJob;
  readonly stream: boolean;
  /** With `stream`: also what it cost. */
  readonly usage: boolean;
}

/** What requests are checked against. */
export interface Served {
  readonly tokenizer: Tokenizer;
  readonly contextLength: number;
  readonly chatFormat: ChatFormat;
  /** The most texts of one request. */
  readonly mostTexts: number;
  /** Of each text. */
  readonly maxTokens: number;
}

const isText = (v: unknown): v is string => typeof v === 'string';
const isList = <T>(v: unknown, of: (item: unknown) => item is T): v is T[] => Array.isArray(v) && v.every(of);
const isId = (v: unknown): v is number => Number.isInteger(v);
const isIds = (v: unknown): v is number[] => isList(v, isId) && v.length > 0;

/** How tokens are drawn: OpenAI's fields, and top_k, min_p and repetition_penalty as other servers have them. */
function sampling(fields: Fields): EngineJob {
  const stop = fields.take(
    'stop',
    'a text, or up to 4 of them, none empty',
    (v): v is string | string[] => [v].flat().length <= 4 && isList([v].flat(), isText) && ![v].flat().includes(''),
  );
  const seed = fields.number('seed', { min: 0, max: Number.MAX_SAFE_INTEGER, integer: true });
  const topP = fields.number('top_p', { min: 0, max: 1 });
  const repetitionPenalty = fields.number('repetition_penalty', { min: 0 });
  if (topP === 0) throw new RequestError(400, 'top_p must be above 0, got 0', { param: 'top_p' });
  if (repetitionPenalty === 0) throw new RequestError(400, 'repetition_penalty must be above 0, got 0', { param: 'repetition_penalty' });
  return {
    temperature: fields.number('temperature', { min: 0, max: 100 }) ?? 1,
    topK: fields.number('top_k', { min: 0, integer: true }) ?? 0,
    topP: topP ?? 1,
    minP: fields.number('min_p', { min: 0, max: 1 }) ?? 0,
    repetitionPenalty: repetitionPenalty ?? 1,
    ...(stop !== undefined && { stop }),
    // Drawn once, so that the samples of a request differ by their numbers.
    seed: seed ?? Math.floor(Math.random() * 2 ** 32),
  };
}

function common(fields: Fields, served: Served, prompts: number) {
  const samples = fields.number('n', { min: 1, max: 128, integer: true }) ?? 1;
  if (samples * prompts > served.mostTexts)
    throw new RequestError(400, `a request may ask for at most ${served.mostTexts} texts, got ${samples * prompts}`, { param: 'n' });
  const stream = fields.flag('stream');
  const { include_usage: usage = false } =
    fields.take(
      'stream_options',
      'an object',
      (v): v is { include_usage?: boolean } => typeof v === 'object' && v !== null && !Array.isArray(v),
    ) ?? {};
  return { samples, stream, usage: usage === true };
}

/** Tokens that may follow a prompt. @throws RequestError for a prompt that is longer than the context */
function room(ids: readonly number[], served: Served): number {
  if (ids.length < served.contextLength) return served.contextLength - ids.length;
  throw new RequestError(400, `the prompt has ${ids.length} tokens, and the model sees ${served.contextLength} with what it adds`, {
    code: 'context_length_exceeded',
  });
}

/** POST /v1/completions. @throws RequestError */
export function completionWork(body: unknown, served: Served): Work {
  const fields = new Fields(body);
  const given = fields.take(
    'prompt',
    'a text, a list of token ids, or a list of such',
    (v): v is string | number[] | string[] | number[][] =>
      isText(v) || isIds(v) || (Array.isArray(v) && v.length > 0 && (isList(v, isText) || isList(v, isIds))),
  );
  if (given === undefined) throw new RequestError(400, 'prompt must be a text or token ids, got nothing', { param: 'prompt' });
  const list: readonly (string | number[])[] = isText(given) || isIds(given) ? [given] : given;
  const { endOfText } = served.tokenizer;
  const prompts = list.map((prompt) => {
    const ids = isText(prompt) ? Array.from(served.tokenizer.encode(prompt)) : prompt;
    return ids.length === 0 && endOfText !== undefined ? [endOfText] : ids; // nothing: the beginning of a text
  });
  const shared = common(fields, served, prompts.length);
  const maxTokens = fields.number('max_tokens', { min: 0, max: served.maxTokens, integer: true }) ?? Math.min(16, served.maxTokens);
  const options = { ...sampling(fields), maxTokens };
  fields.end();
  for (const ids of prompts) room(ids, served);
  return { kind: 'completion', prompts, options, ...shared };
}

/** A message's text, which may come in parts. */
function contentOf(content: unknown, place: string): string {
  if (isText(content)) return content;
  const isPart = (v: unknown): v is { text: string } =>
    typeof v === 'object' && v !== null && 'type' in v && v.type === 'text' && 'text' in v && isText(v.text);
  if (isList(content, isPart)) return content.map(({ text }) => text).join('');
  throw new RequestError(400, `${place}.content must be a text, or parts of type "text", got ${show(content)}`, { param: place });
}

/** The conversation as the model's format writes it. @throws RequestError for one that it cannot write */
function rendered(format: ChatFormat, messages: readonly Said[]): string {
  try {
    return format.render(messages, { addGenerationPrompt: true });
  } catch (error) {
    // A template says by an error what it has no words for: a system's message, two turns of one speaker.
    const { message, cause } = error as Error;
    throw new RequestError(400, `messages: the model's chat template says: ${cause instanceof Error ? cause.message : message}`, {
      param: 'messages',
    });
  }
}

/** POST /v1/chat/completions. @throws RequestError */
export function chatWork(body: unknown, served: Served): Work {
  const fields = new Fields(body);
  const isMessage = (v: unknown): v is { role: string; content: unknown } =>
    typeof v === 'object' && v !== null && 'role' in v && isText(v.role) && 'content' in v;
  const given = fields.take(
    'messages',
    'a list of at least one message with role and content',
    (v): v is { role: string; content: unknown }[] => isList(v, isMessage) && v.length > 0,
  );
  if (given === undefined) throw new RequestError(400, 'messages must be a list of messages, got nothing', { param: 'messages' });
  const messages: Said[] = given.map(({ role, content }, i) => ({ role, content: contentOf(content, `messages[${i}]`) }));
  const { chatFormat, tokenizer } = served;
  const plain = chatFormat === plainChatFormat;
  const prompt = rendered(chatFormat, messages);
  const ids = Array.from(tokenizer.encode(prompt, { allowedSpecial: plain ? [] : 'all' }));
  const shared = common(fields, served, 1);
  const range = { min: 1, max: served.maxTokens, integer: true };
  const old = fields.number('max_tokens', range);
  const maxTokens = fields.number('max_completion_tokens', range) ?? old ?? Math.min(room(ids, served), served.maxTokens);
  const { stop = [], ...drawn } = sampling(fields);
  fields.end();
  room(ids, served);
  const options = { ...drawn, maxTokens, stop: [...[stop].flat(), ...(plain ? plainChatFormat.stop : [])] };
  return { kind: 'chat', prompts: [ids], options, ...shared };
}
