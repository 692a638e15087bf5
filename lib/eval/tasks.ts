// Benchmarks as items to score, with the prompts of lm-evaluation-harness (Gao et al.), so that numbers can be compared.
import type { Fields } from './dataset.ts';

/** A question with answers to choose from. The model's choice is the likeliest continuation. */
export interface ChoiceItem {
  readonly kind: 'choice';
  readonly id?: string;
  /** A part of the data set with a result of its own: MMLU's subject. */
  readonly group?: string;
  /** Stands once before all examples of a prompt. */
  readonly description?: string;
  readonly context: string;
  readonly choices: readonly string[];
  /** Index of the right choice. */
  readonly answer: number;
}

/** A text that the model has to end as it ends. */
export interface CompletionItem {
  readonly kind: 'completion';
  readonly id?: string;
  readonly group?: string;
  readonly description?: string;
  readonly context: string;
  /** What follows, with the blank before it. */
  readonly completion: string;
}

/** A document, scored from its first to its last token. */
export interface DocumentItem {
  readonly kind: 'document';
  readonly id?: string;
  readonly group?: string;
  readonly text: string;
}

export type Item = ChoiceItem | CompletionItem | DocumentItem;

/** How a figure comes from what the examples sum up to. */
export interface MetricRule {
  readonly name: string;
  /** The score that is summed, and the one that it is divided by; default: the number of examples. */
  readonly sum: string;
  readonly over?: string;
  /** What is shown of the quotient q: q, e^q, or q / ln 2. Default q. */
  readonly as?: 'mean' | 'exp' | 'bits';
  readonly better: 'higher' | 'lower';
  /** What it says, for people. */
  readonly says: string;
  /** Bins in which examples are counted by this figure of theirs; what lies beyond the last one is in it. */
  readonly histogram?: { readonly width: number; readonly bins: number };
}

export interface Task {
  readonly summary: string;
  readonly metrics: readonly MetricRule[];
  /** A row of the data set as an item. @throws FileError that names file, row and field */
  item(fields: Fields): Item;
}

const ACCURACY: MetricRule = { name: 'acc', sum: 'acc', better: 'higher', says: 'share of questions whose right choice is the likeliest' };
const CHOICE: readonly MetricRule[] = [
  ACCURACY,
  { name: 'acc_norm', sum: 'acc_norm', better: 'higher', says: 'the same with ln p divided by the characters of the choice' },
];

/** The id of a row, where it has one that is a text or a number. */
function idOf(fields: Fields, name = 'id'): { id?: string } {
  const id = fields.raw(name);
  return typeof id === 'string' || typeof id === 'number' ? { id: String(id) } : {};
}

/** HellaSwag's texts carry marks of WikiHow. */
const withoutMarks = (text: string): string =>
  text
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[.*?\]/g, '')
    .replaceAll('  ', ' ');

/** As Python's `capitalize`: all but the first letter in lower case. */
function capitalize(text: string): string {
  const [first = '', ...rest] = text;
  return first.toUpperCase() + rest.join('').toLowerCase();
}

const hellaswag: Task = {
  summary: 'HellaSwag (Zellers et al. 2019): which of four endings follows',
  metrics: CHOICE,
  item(fields) {
    const endings = fields.texts('endings', 2);
    const context = `${fields.text('ctx_a')} ${capitalize(fields.text('ctx_b'))}`;
    return {
      ...{ kind: 'choice', ...idOf(fields, 'ind') },
      context: withoutMarks(`${fields.text('activity_label')}: ${context}`),
      choices: endings.map(withoutMarks),
      answer: fields.index('label', endings.length),
    };
  },
};

/** As `datasets` holds it ({ question, choices: { text, label } }), or as AI2 does ({ question: { stem, choices: [{ text, label }] } }). */
function arcQuestion(fields: Fields): { question: string; choices: string[]; labels: string[] } {
  if (typeof fields.raw('question') === 'string') {
    const choices = fields.object('choices');
    const texts = choices.texts('text', 2);
    const labels = choices.texts('label', 2);
    if (labels.length !== texts.length) throw choices.wrong('label', `a list of ${texts.length} texts as text is`);
    return { question: fields.text('question'), choices: texts, labels };
  }
  const question = fields.object('question');
  const choices = question.objects('choices');
  return {
    question: question.text('stem'),
    choices: choices.map((choice) => choice.text('text')),
    labels: choices.map((choice) => choice.text('label')),
  };
}

const arc: Task = {
  summary: 'ARC (Clark et al. 2018): questions of science, easy or challenge',
  metrics: CHOICE,
  item(fields) {
    const { question, choices, labels } = arcQuestion(fields);
    const answer = labels.indexOf(fields.text('answerKey'));
    if (answer < 0) throw fields.wrong('answerKey', `one of the labels ${labels.join(', ')}`);
    return { kind: 'choice', ...idOf(fields), context: `Question: ${question}\nAnswer:`, choices, answer };
  },
};

const LETTERS = 'ABCDEFGHIJ';

const mmlu: Task = {
  summary: 'MMLU (Hendrycks et al. 2021): four choices, 57 subjects; the model says the letter',
  metrics: [ACCURACY],
  item(fields) {
    const choices = fields.texts('choices', 2);
    if (choices.length > LETTERS.length) throw fields.wrong('choices', `a list of at most ${LETTERS.length} texts`);
    const letters = [...LETTERS].slice(0, choices.length);
    const answer = fields.raw('answer');
    const group = fields.raw('subject') === undefined ? undefined : fields.text('subject');
    return {
      kind: 'choice',
      ...(group !== undefined && {
        ...{ group, description: `The following are multiple choice questions (with answers) about ${group.replaceAll('_', ' ')}.\n\n` },
      }),
      context: `${fields.text('question').trim()}\n${choices.map((choice, i) => `${letters[i]}. ${choice}\n`).join('')}Answer:`,
      choices: letters,
      answer: letters.includes(answer as string) ? letters.indexOf(answer as string) : fields.index('answer', choices.length),
    };
  },
};

const lambada: Task = {
  summary: 'LAMBADA (Paperno et al. 2016): the last word of a passage',
  metrics: [
    { name: 'acc', sum: 'acc', better: 'higher', says: 'share of passages whose last word is, token by token, the likeliest' },
    { name: 'perplexity', sum: 'nats', as: 'exp', better: 'lower', says: 'e to the mean -ln p of a last word' },
  ],
  item(fields) {
    const text = fields.text('text');
    const at = text.lastIndexOf(' ');
    if (at < 1 || at === text.length - 1) throw fields.wrong('text', 'at least two words with a space before the last');
    return { kind: 'completion', ...idOf(fields), context: text.slice(0, at), completion: text.slice(at) };
  },
};

const text: Task = {
  summary: 'documents: perplexity and bits per byte, each document on its own',
  metrics: [
    {
      ...{ name: 'bits_per_byte', sum: 'nats', over: 'bytes', as: 'bits', better: 'lower' },
      ...{ says: 'cross-entropy in bits over bytes of UTF-8', histogram: { width: 0.25, bins: 40 } },
    },
    { name: 'perplexity', sum: 'nats', over: 'tokens', as: 'exp', better: 'lower', says: 'e to the cross-entropy of a token' },
    { name: 'loss', sum: 'nats', over: 'tokens', better: 'lower', says: 'cross-entropy of a token, in nats' },
  ],
  item(fields) {
    const document = fields.text('text');
    if (document === '') throw fields.wrong('text', 'a text that is not empty');
    return { kind: 'document', ...idOf(fields), text: document };
  },
};

/** The benchmarks that `measure` knows, by name. */
export const TASKS = { hellaswag, arc, mmlu, lambada, text } as const satisfies Record<string, Task>;

export type TaskName = keyof typeof TASKS;
