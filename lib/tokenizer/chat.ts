// Conversations as text: the Jinja templates that models come with, run by @huggingface/jinja.
import { join } from 'node:path';
import { ArgumentError, FileError } from '../util/errors.ts';
import { jinja } from '../util/lazy.ts';
import { exists, isObject, type JSONObject, messageOf, readObject, readText, show } from './fields.ts';
import type { Tokenizer } from './tokenizer.ts';

/** What someone says in a conversation; further fields are handed to the template as they are. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, or what else the template knows. */
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

export interface RenderChatOptions {
  /** End with what begins an answer of the assistant. Default false. */
  addGenerationPrompt?: boolean;
}

/** A stretch of a rendered conversation: what the assistant says, or what it reads. */
export interface ChatPiece {
  readonly text: string;
  /** Whether it is to be learned. */
  readonly learned: boolean;
}

/** Turns a conversation into the text that a model was, or is to be, trained on. */
export interface ChatTemplate {
  /** Jinja. */
  readonly source: string;
  readonly tokens: ChatTokens;
  /** @throws ArgumentError for what the template does not take, in its words */
  render(messages: readonly ChatMessage[], options?: RenderChatOptions): string;
  /**
   * The text of a conversation in stretches that are to be learned, the turns of the assistant, and others: where the template marks them
   * with `{% generation %}`, otherwise found by rendering the conversation up to each of those turns.
   * @throws ArgumentError where an earlier turn is rendered in another way once later ones follow
   */
  pieces(messages: readonly ChatMessage[]): ChatPiece[];
}

/** Texts that a template may name. */
export interface ChatTokens {
  /** Default: empty. */
  bos?: string;
  eos?: string;
}

/**
 * Of the kind of ChatML: who speaks, what is said, the end of the turn. A turn ends with the tokenizer's end of text, at which generation
 * stops.
 */
export const DEFAULT_CHAT_TEMPLATE = [
  `{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}{% endfor %}`,
  `{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}`,
].join('');

// Private-use characters, which stand for nothing in a text.
const [OPEN, CLOSE] = ['\uf8f0', '\uf8f1'];
/** With the white space that Jinja's trim_blocks and lstrip_blocks take away around a tag. */
const TAG = /(?:^[ \t]+)?\{%(-?)\s*(end)?generation\s*(-?)%\}\n?/gm;

/** By the template's own marks: `{% generation %}` around what the assistant says. */
function byMarks(marked: string, whole: string): ChatPiece[] {
  const pieces = marked.split(new RegExp(`[${OPEN}${CLOSE}]`)).map((text, i) => ({ text, learned: i % 2 === 1 }));
  if (pieces.map(({ text }) => text).join('') !== whole)
    throw new ArgumentError('chat template: what is within {% generation %} must be the same text with and without the tag');
  return pieces.filter(({ text }) => text !== '');
}

/** By rendering the conversation up to each turn of the assistant, and with it. */
function byPrefixes(render: ChatTemplate['render'], messages: readonly ChatMessage[]): ChatPiece[] {
  const whole = render(messages);
  const pieces: ChatPiece[] = [];
  let done = '';
  for (const [i, { role }] of messages.entries()) {
    if (role !== 'assistant') continue;
    const before = render(messages.slice(0, i), { addGenerationPrompt: true });
    const after = render(messages.slice(0, i + 1));
    if (!(before.startsWith(done) && after.startsWith(before) && whole.startsWith(after)))
      throw new ArgumentError(
        `chat template: a conversation must begin with what it was before, and the answer ${i} must follow its generation prompt`,
        { hint: 'Mark what the assistant says in the template with {% generation %} and {% endgeneration %}.' },
      );
    pieces.push({ text: before.slice(done.length), learned: false }, { text: after.slice(before.length), learned: true });
    done = after;
  }
  pieces.push({ text: whole.slice(done.length), learned: false });
  return pieces.filter(({ text }) => text !== '');
}

function parse(source: string): { render(variables: Record<string, unknown>): string } {
  try {
    return new (jinja().Template)(source);
  } catch (error) {
    throw new ArgumentError(`chatTemplate: source must be a Jinja template: ${messageOf(error)}`, { cause: error });
  }
}

/** `file`: where it comes from, for what it says of messages that it cannot write. @throws ArgumentError for what is no Jinja */
export function chatTemplate(source: string, tokens: ChatTokens = {}, file?: string): ChatTemplate {
  const names = { bos_token: tokens.bos ?? '', eos_token: tokens.eos ?? '' };
  const template = parse(source);
  const withMarks = source.replace(TAG, (_, left: string, end: string | undefined, right: string) => {
    return `{{${left} "${end ? CLOSE : OPEN}" ${right}}}`;
  });
  const marked = withMarks === source ? null : parse(withMarks);
  const run = (of: typeof template, messages: readonly ChatMessage[], addGenerationPrompt = false): string => {
    try {
      return of.render({ messages, ...names, add_generation_prompt: addGenerationPrompt });
    } catch (error) {
      const message = `chat template: ${messageOf(error)}`;
      throw file === undefined ? new ArgumentError(message, { cause: error }) : new FileError(file, message, { cause: error });
    }
  };
  const render: ChatTemplate['render'] = (messages, options) => run(template, messages, options?.addGenerationPrompt);
  const pieces: ChatTemplate['pieces'] = (messages) =>
    marked ? byMarks(run(marked, messages), render(messages)) : byPrefixes(render, messages);
  return { source, tokens, render, pieces };
}

/** The content of a special token in a `tokenizer_config.json`: a text, or an object that holds it. */
function contentOf(value: unknown): string | undefined {
  const content = isObject(value) ? value.content : value;
  return typeof content === 'string' ? content : undefined;
}

function specialText(tokenizer: Tokenizer): string {
  const id = tokenizer.endOfText;
  return id === undefined ? '' : new TextDecoder().decode(tokenizer.tokenBytes(id));
}

/** The template of `tokenizer_config.json`: a text, or a list of named ones of which `default` is meant. */
function ofConfig(file: string, { chat_template: value }: JSONObject): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const named = Array.isArray(value) ? value.find((item) => isObject(item) && item.name === 'default') : undefined;
  if (isObject(named) && typeof named.template === 'string') return named.template;
  throw new FileError(file, `chat_template must be a text, or a list with one named default, got ${show(value)}`);
}

/** The template of a `tokenizer_config.json`, or another `source` with its special tokens; null: there is none. */
export function chatTemplateOfConfig(
  file: string,
  config: JSONObject,
  tokenizer: Tokenizer,
  source: string | undefined = ofConfig(file, config),
): ChatTemplate | null {
  if (source === undefined) return null;
  const bos = contentOf(config.bos_token);
  try {
    return chatTemplate(source, { eos: contentOf(config.eos_token) ?? specialText(tokenizer), ...(bos !== undefined && { bos }) }, file);
  } catch (error) {
    throw new FileError(file, messageOf(error), { cause: error });
  }
}

/** What `chatTemplateOfConfig` reads back. */
export function chatTemplateConfig({ source, tokens: { bos, eos } }: ChatTemplate): object {
  return { chat_template: source, ...(bos !== undefined && { bos_token: bos }), ...(eos !== undefined && { eos_token: eos }) };
}

/**
 * The template in a model's folder, `chat_template.jinja` or that of `tokenizer_config.json`; null where there is none.
 * @throws FileError naming the file whose template is no Jinja
 */
export function loadChatTemplate(folder: string, tokenizer: Tokenizer): ChatTemplate | null {
  const [own, configFile] = [join(folder, 'chat_template.jinja'), join(folder, 'tokenizer_config.json')];
  const config = exists(configFile) === 'file' ? readObject(configFile) : {};
  return exists(own) === 'file'
    ? chatTemplateOfConfig(own, config, tokenizer, readText(own))
    : chatTemplateOfConfig(configFile, config, tokenizer);
}

/** The template for a tokenizer that comes without one. */
export function defaultChatTemplate(tokenizer: Tokenizer): ChatTemplate {
  return chatTemplate(DEFAULT_CHAT_TEMPLATE, { eos: specialText(tokenizer) });
}

/**
 * A conversation as token ids. Special tokens that the text holds come out as such, those in what somebody says, too: text from outside can
 * forge the end of a turn.
 */
export function applyChatTemplate(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options: RenderChatOptions & { template?: ChatTemplate } = {},
): Uint32Array {
  const { template = defaultChatTemplate(tokenizer), ...own } = options;
  return tokenizer.encode(template.render(messages, own), { allowedSpecial: 'all' });
}
