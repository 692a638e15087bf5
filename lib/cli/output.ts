// What goes where: stdout holds what a command was asked for, stderr everything said on the way.
import { HeddleError } from '../util/errors.ts';

let mark = '';

/**
 * From now on every line of `note` and the title of every table says so: what a simulated card computed must not pass for what a real
 * one did. Empty: no longer.
 */
export function markLines(text: string): void {
  mark = text === '' ? '' : `[${text}] `;
}

/** The text with what its lines are marked with, once. */
export function marked(text: string): string {
  return mark === '' ? text : text.replace(/^(?=.)/gm, mark).replaceAll(mark + mark, mark);
}

/** A line (or several) on stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A line on stderr. */
export function note(text: string): void {
  process.stderr.write(`${marked(text)}\n`);
}

/** One JSON object on one line of stdout; numbers that JSON lacks become null. */
export function printJSON(value: object): void {
  print(JSON.stringify(value));
}

/** Names and values in a box, for the end of a run. */
export function table(title: string, rows: readonly (readonly [string, string])[]): string {
  const left = Math.max(...rows.map(([name]) => name.length));
  const right = Math.max(...rows.map(([, value]) => value.length), title.length - left - 3);
  const rule = (a: string, b: string, c: string) => `${a}${'─'.repeat(left + 2)}${b}${'─'.repeat(right + 2)}${c}`;
  const body = rows.map(([name, value]) => `│ ${name.padEnd(left)} │ ${value.padEnd(right)} │`);
  return [marked(title), rule('┌', '┬', '┐'), ...body, rule('└', '┴', '┘')].join('\n');
}

/** Cells in columns: the first one to the left, the others to the right. */
export function grid(rows: readonly (readonly string[])[], indent = '  '): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const cell = (text: string, i: number) => (i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0));
  return rows.map((row) => `${indent}${row.map(cell).join('  ')}`.trimEnd()).join('\n');
}

/** A number with `digits` after the point; what is missing or not finite is a dash. */
export function figure(value: number | null, digits: number): string {
  return value === null || !Number.isFinite(value) ? '–' : value.toFixed(digits);
}

/** A head that was cut off (`heddle generate | head`) is no error. */
export function endQuietlyOnClosedPipe(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}

/** Says an error on stderr: `heddle: message` and its hint; the stack only with HEDDLE_DEBUG=1. */
export function reportError(error: unknown): void {
  if (process.env.HEDDLE_DEBUG === '1') console.error(error);
  const message = error instanceof Error ? error.message : String(error);
  // A wrong configuration tells one line for each thing wrong; elsewhere further lines belong to the first.
  const isList = error instanceof HeddleError && error.code === 'ERR_HEDDLE_CONFIG';
  note(isList ? message.replace(/^(?=\S)/gm, 'heddle: ') : `heddle: ${message}`);
  const isOurs = error instanceof HeddleError || (error instanceof Error && 'code' in error);
  if (!isOurs && process.env.HEDDLE_DEBUG !== '1') note('  Not an error that heddle foresees; HEDDLE_DEBUG=1 shows where it comes from.');
}
