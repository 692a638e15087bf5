// What finetuning learns from, one JSON object a line, all of it in memory.
import type { ChatMessage } from '../tokenizer/chat.ts';
import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { describe, readJsonValues } from './jsonl.ts';
import { checkFraction } from './split.ts';

/** A conversation: what the assistant says in it is learned. */
export interface Conversation {
  readonly messages: readonly ChatMessage[];
}

/** The records of a training and of its validation. */
export interface Records<T> {
  readonly train: readonly T[];
  readonly validation: readonly T[];
}

/** Makes a record of an object; `expected` tells what it must be where it is none. */
export interface RecordKind<T> {
  readonly expected: string;
  /** Undefined: it is none. A text: what is wrong with it. */
  parse(fields: Readonly<Record<string, unknown>>): T | string | undefined;
}

const isMessage = (x: unknown): x is ChatMessage =>
  typeof x === 'object' && x !== null && typeof (x as ChatMessage).role === 'string' && typeof (x as ChatMessage).content === 'string';

/** `{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}` */
export const CONVERSATION: RecordKind<Conversation> = {
  expected: '"messages", a list of {"role", "content"}',
  parse({ messages }) {
    if (!Array.isArray(messages) || messages.length === 0) return undefined;
    const wrong = messages.findIndex((message) => !isMessage(message));
    if (wrong >= 0) return `messages[${wrong}] must have strings "role" and "content", got ${show(messages[wrong])}`;
    if (!messages.some(({ role }) => role === 'assistant')) return 'messages must hold one of the assistant, from which is learned';
    return { messages };
  },
};

/** The records of a JSONL file. @throws FileError naming line and field */
export function readRecords<T>(path: string, { expected, parse }: RecordKind<T>): T[] {
  const records: T[] = [];
  for (const { value, line } of readJsonValues(path)) {
    const isFields = typeof value === 'object' && value !== null && !Array.isArray(value);
    const record = isFields ? parse(value as Record<string, unknown>) : undefined;
    if (record === undefined) throw new FileError(path, `line ${line}: must have ${expected}, got ${describe(value)}`);
    if (typeof record === 'string') throw new FileError(path, `line ${line}: ${record}`);
    records.push(record);
  }
  if (records.length === 0) throw new FileError(path, `must hold lines with ${expected}, got none`);
  return records;
}

/** The last `valFraction` of the records are for validation. */
export function splitRecords<T>(records: readonly T[], valFraction: number): Records<T> {
  checkFraction('splitRecords', valFraction);
  const cut = Math.floor(records.length * (1 - valFraction));
  return { train: records.slice(0, cut), validation: records.slice(cut) };
}

/** A text and what it is. */
export interface LabelledText {
  readonly text: string;
  readonly label: string;
}

/** `{"text": "...", "label": "..."}` */
export const LABELLED_TEXT: RecordKind<LabelledText> = {
  expected: 'strings "text" and "label"',
  parse({ text, label }) {
    if (typeof text !== 'string' || typeof label !== 'string') return undefined;
    return text === '' ? 'text must not be empty' : { text, label };
  },
};

/** A prompt with answers, of which one is right. */
export interface MultipleChoice {
  readonly prompt: string;
  readonly choices: readonly string[];
  /** The place of the right one, from 0. */
  readonly answer: number;
}

/** `{"prompt": "...", "choices": ["...", "..."], "answer": 1}` */
export const MULTIPLE_CHOICE: RecordKind<MultipleChoice> = {
  expected: 'a string "prompt", a list "choices" of at least two strings, and "answer", the place of the right one from 0',
  parse({ prompt, choices, answer }) {
    if (typeof prompt !== 'string' || !Array.isArray(choices) || choices.length < 2) return undefined;
    if (!choices.every((choice) => typeof choice === 'string' && choice !== '')) return undefined;
    if (!(Number.isInteger(answer) && (answer as number) >= 0 && (answer as number) < choices.length))
      return `answer must be an integer from 0 to ${choices.length - 1}, got ${show(answer)}`;
    return { prompt, choices, answer: answer as number };
  },
};

/** A prompt, and which of two answers is preferred. */
export interface Preference {
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
}

/** `{"prompt": "...", "chosen": "...", "rejected": "..."}` */
export const PREFERENCE: RecordKind<Preference> = {
  expected: 'strings "prompt", "chosen" and "rejected"',
  parse({ prompt, chosen, rejected }) {
    if (typeof prompt !== 'string' || typeof chosen !== 'string' || typeof rejected !== 'string') return undefined;
    if (chosen === '' || rejected === '') return 'chosen and rejected must not be empty';
    return chosen === rejected ? 'chosen and rejected must not be the same' : { prompt, chosen, rejected };
  },
};
