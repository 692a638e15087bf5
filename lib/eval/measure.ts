import { encodePair, type ScoreRow, scoreRows, type TokenScores } from '../generate/index.ts';
import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import type { CalibrationBin } from './calibration.ts';
import type { Fields } from './dataset.ts';
import { type Figure, type Histogram, Tally } from './tally.ts';
import { type Item, TASKS, type Task, type TaskName } from './tasks.ts';

/** What one example came to. */
export interface Sample {
  /** Its number in the data, from 0. */
  readonly index: number;
  readonly id?: string;
  readonly group?: string;
  /** Sums that the task's figures are made of: `acc`, `acc_norm` (0 or 1), `nats`, `tokens`, `bytes`. */
  readonly scores: Readonly<Record<string, number>>;
  /** Of a choice: the right one, the likeliest one, ln p of each in nats, and the softmax of these at the likeliest. */
  readonly answer?: number;
  readonly chosen?: number;
  readonly logProbs?: readonly number[];
  readonly confidence?: number;
}

export interface MeasureOptions {
  /** Only so many examples from the start. Default: all. */
  limit?: number;
  /** Solved examples before each question: the first `count` of these (with groups: of the same group). */
  shots?: { readonly count: number; readonly items: readonly Item[] };
  /** Of documents longer than the context; see `scoreRows`. */
  stride?: number;
  signal?: AbortSignal;
  /** Called with every example in order; the next ones wait for it. */
  onSample?: (sample: Sample) => unknown;
}

export interface Measured {
  readonly examples: number;
  readonly figures: readonly Figure[];
  /** The same for each group, ordered by name; empty without groups. */
  readonly groups: readonly { readonly name: string; readonly examples: number; readonly figures: readonly Figure[] }[];
  /** How far the confidence in the choices is their accuracy; null where nothing is chosen. */
  readonly calibration: { readonly error: number; readonly bins: readonly CalibrationBin[] } | null;
  /** How many examples lie where, in the first figure's quotient; null where its task wants none. */
  readonly histogram: Histogram | null;
}

/** Rows, and characters, that are scored together. */
const MOST_ROWS = 64;
const MOST_CHARACTERS = 1 << 16;

/** A question as it stands in a prompt, with its answer. */
function solved(item: Item): string {
  if (item.kind === 'document') throw new ArgumentError('measure: shots are for questions, got documents');
  return `${item.context}${item.kind === 'choice' ? ` ${item.choices[item.answer]}` : item.completion}\n\n`;
}

/** What stands before an item's own context. */
function before(item: Item, shots: MeasureOptions['shots']): string {
  const description = item.kind === 'document' ? '' : (item.description ?? '');
  if (!shots || shots.count === 0) return description;
  const own = shots.items.filter(({ group }) => group === item.group).slice(0, shots.count);
  if (own.length < shots.count)
    throw new ArgumentError(
      `measure: shots must hold ${shots.count} examples${item.group === undefined ? '' : ` of ${item.group}`}, got ${own.length}`,
    );
  return description + own.map(solved).join('');
}

/** The rows of tokens whose log-probabilities say what an item comes to. */
function rowsOf(item: Item, tokenizer: Tokenizer, prefix: string): ScoreRow[] {
  if (item.kind === 'choice') return item.choices.map((choice) => encodePair(tokenizer, prefix + item.context, ` ${choice}`));
  if (item.kind === 'completion') return [encodePair(tokenizer, prefix + item.context, item.completion)];
  const tokens = Array.from(tokenizer.encode(item.text));
  return [{ tokens: tokenizer.endOfText === undefined ? tokens : [tokenizer.endOfText, ...tokens], from: 1 }];
}

const total = ({ logProbs }: TokenScores): number => logProbs.reduce((sum, x) => sum + x, 0);

/** The index of the largest, the first of equal ones. */
const largest = (values: readonly number[]): number => values.indexOf(Math.max(...values));

/** Characters as Python counts them. */
const codePoints = (text: string): number => [...text].length;

function sampleOf(item: Item, rows: readonly ScoreRow[], scores: readonly TokenScores[], tokenizer: Tokenizer): Omit<Sample, 'index'> {
  const { id, group } = item;
  const named = { ...(id !== undefined && { id }), ...(group !== undefined && { group }) };
  if (item.kind === 'choice') {
    const logProbs = scores.map(total);
    const chosen = largest(logProbs);
    const best = logProbs[chosen] as number;
    const byLength = largest(logProbs.map((x, i) => x / Math.max(1, codePoints(item.choices[i] as string))));
    return {
      ...named,
      scores: { acc: chosen === item.answer ? 1 : 0, acc_norm: byLength === item.answer ? 1 : 0 },
      ...{ answer: item.answer, chosen, logProbs },
      confidence: 1 / logProbs.reduce((sum, x) => sum + Math.exp(x - best), 0),
    };
  }
  const [only] = scores as [TokenScores];
  const nats = -total(only);
  if (item.kind === 'completion') return { ...named, scores: { acc: only.likeliest.every(Boolean) ? 1 : 0, nats } };
  const unscored = tokenizer.endOfText === undefined ? tokenizer.tokenBytes(rows[0]?.tokens[0] as number).length : 0;
  return { ...named, scores: { nats, tokens: only.logProbs.length, bytes: Buffer.byteLength(item.text) - unscored } };
}

/** Items whose rows are scored together, and what they come to. */
async function* samples(
  model: GPT,
  tokenizer: Tokenizer,
  items: AsyncIterable<Item>,
  { shots, stride, signal }: MeasureOptions,
): AsyncGenerator<Omit<Sample, 'index'>> {
  let waiting: { item: Item; rows: ScoreRow[] }[] = [];
  let [rows, characters] = [0, 0];
  const flush = async function* () {
    const all = waiting.flatMap((w) => w.rows);
    const scores = await scoreRows(model, all, { ...(stride !== undefined && { stride }), ...(signal && { signal }) });
    let at = 0;
    for (const w of waiting) {
      yield sampleOf(w.item, w.rows, scores.slice(at, at + w.rows.length), tokenizer);
      at += w.rows.length;
    }
    waiting = [];
    [rows, characters] = [0, 0];
  };
  for await (const item of items) {
    signal?.throwIfAborted();
    const own = rowsOf(item, tokenizer, before(item, shots));
    waiting.push({ item, rows: own });
    rows += own.length;
    characters += item.kind === 'document' ? item.text.length : own.length * item.context.length;
    if (rows >= MOST_ROWS || characters >= MOST_CHARACTERS) yield* flush();
  }
  if (waiting.length > 0) yield* flush();
}

async function* take(rows: AsyncIterable<Fields>, task: Task, limit: number): AsyncGenerator<Item> {
  if (limit <= 0) return;
  let taken = 0;
  for await (const fields of rows) {
    yield task.item(fields);
    if (++taken >= limit) return;
  }
}

/**
 * Measures a model on a benchmark: questions with choices by the log-probability of each choice, summed (`acc`) and divided by the
 * characters of the choice (`acc_norm`); last words by whether they are the likeliest; documents by their cross-entropy. Prompts, rules
 * and figures are those of lm-evaluation-harness, zero-shot unless `shots` are given. No token is put before a prompt, unless it is
 * empty. One group of examples is in memory at a time, however many there are.
 * @throws FileError for a row that is not the task's, naming file, row and field; ArgumentError without any row
 */
export async function measure(
  model: GPT,
  tokenizer: Tokenizer,
  task: TaskName | Task,
  rows: AsyncIterable<Fields>,
  options: MeasureOptions = {},
): Promise<Measured> {
  const { limit = Number.POSITIVE_INFINITY } = options;
  const rules: Task = typeof task === 'string' ? TASKS[task] : task;
  if (rules === undefined) throw new ArgumentError(`measure: task must be one of ${Object.keys(TASKS).join(', ')}, got ${task}`);
  const tally = new Tally(rules.metrics);
  for await (const part of samples(model, tokenizer, take(rows, rules, limit), options)) {
    const sample = { index: tally.examples, ...part };
    tally.add(sample);
    await options.onSample?.(sample);
  }
  if (tally.examples === 0) throw new ArgumentError('measure: there must be at least one example, got none');
  return tally.result();
}
