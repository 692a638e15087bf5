import { nearest } from '../util/nearest.ts';
import { type CommandSpec, columns, helpText, type OptionTable, parseCommand, UsageError, type Values } from './args.ts';
import { print } from './output.ts';

/** Runs a command with what follows its name; gives the exit code. */
export type Run = (args: readonly string[]) => Promise<number>;

/** A command's parsed line. */
export interface Input<T extends OptionTable> {
  readonly values: Values<T>;
  readonly positionals: readonly string[];
}

/** A command from its table and its work; the exit code is 0 unless the work gives another one. */
export function command<const T extends OptionTable>(spec: CommandSpec<T>, work: (input: Input<T>) => Promise<number | undefined>): Run {
  return async (args) => {
    const parsed = parseCommand(spec, args);
    if (!parsed.help) return (await work(parsed)) ?? 0;
    print(helpText(spec));
    return 0;
  };
}

/** A command in a list; its module is loaded when it is called. */
export interface Entry {
  readonly summary: string;
  load(): Promise<{ readonly run: Run }>;
}

export interface Group {
  /** What is typed before: `heddle`, `heddle tokenizer`. */
  readonly name: string;
  readonly summary: string;
  readonly entries: Readonly<Record<string, Entry>>;
  /** More lines for the overview. */
  readonly details?: string;
}

function overview({ name, summary, entries, details }: Group): string {
  const list = columns(Object.entries(entries).map(([entry, { summary: text }]) => [entry, text]));
  return [`${name}: ${summary}`, `Usage: ${name} COMMAND ...`, `Commands:\n${list}`, details ?? '', `${name} COMMAND --help tells more.`]
    .filter((section) => section !== '')
    .join('\n\n');
}

/** Calls the entry that the first argument names. @throws UsageError for an unknown one, with the nearest. */
export async function dispatch(group: Group, args: readonly string[]): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined || first === '--help' || first === '-h') {
    print(overview(group));
    return 0;
  }
  if (first === 'help') return dispatch(group, rest.length === 0 ? [] : [...rest, '--help']);
  const entry = Object.hasOwn(group.entries, first) ? group.entries[first] : undefined;
  if (entry !== undefined) return (await entry.load()).run(rest);
  const near = nearest(first, Object.keys(group.entries));
  const kind = first.startsWith('-') ? 'option' : 'command';
  throw new UsageError(
    `unknown ${kind} ${first}${near === undefined ? '' : `; did you mean ${group.name} ${near}?`}`,
    `${group.name} --help lists the commands.`,
  );
}
