// Options of a command as a typed table: parsing, checking and help come from the same lines.
import { parseArgs } from 'node:util';
import { HeddleError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';

interface FlagOption {
  readonly kind: 'flag';
  readonly help: string;
  readonly short?: string;
}

interface TextOption {
  readonly kind: 'text';
  /** Stands for the value in help: `FILE`. */
  readonly value: string;
  readonly help: string;
  /** May be given several times. */
  readonly multiple?: boolean;
  readonly choices?: readonly string[];
}

interface NumberOption {
  readonly kind: 'number' | 'integer';
  readonly value: string;
  readonly help: string;
  readonly min?: number;
  /** The value must be greater. */
  readonly above?: number;
  readonly max?: number;
}

export type Option = FlagOption | TextOption | NumberOption;

/** Options by their long name, without the dashes. */
export type OptionTable = Readonly<Record<string, Option>>;

type ValueOf<O extends Option> = O extends FlagOption
  ? boolean
  : O extends TextOption & { readonly multiple: true }
    ? readonly string[]
    : O extends TextOption
      ? string | undefined
      : number | undefined;

export type Values<T extends OptionTable> = { readonly [K in keyof T]: ValueOf<T[K]> };

export interface Positional {
  readonly name: string;
  readonly help: string;
  readonly optional?: boolean;
  /** The last one: all that follow, too. */
  readonly many?: boolean;
}

/** What a command says of itself. */
export interface CommandSpec<T extends OptionTable = OptionTable> {
  /** As it is typed after `heddle`: `pretrain`, `tokenizer train`. */
  readonly name: string;
  readonly summary: string;
  readonly positionals?: readonly Positional[];
  readonly options: T;
  /** More to know, in paragraphs. */
  readonly details?: string;
  /** Command lines with what they do. */
  readonly examples: readonly (readonly [command: string, what: string])[];
}

/** A command line that cannot be understood; exit code 2. */
export class UsageError extends HeddleError {
  constructor(message: string, hint?: string) {
    super('ERR_HEDDLE_USAGE', message, hint === undefined ? {} : { hint });
  }
}

const HELP: FlagOption = { kind: 'flag', short: 'h', help: 'this text' };

/** A command line as its table understands it; `help` when it asks for help, whatever else it says. */
export type Parsed<T extends OptionTable> = { help: true } | { help: false; values: Values<T>; positionals: readonly string[] };

/** @throws UsageError naming the option or argument that is wrong, what was expected and what came. */
export function parseCommand<const T extends OptionTable>(spec: CommandSpec<T>, args: readonly string[]): Parsed<T> {
  const table: OptionTable = { ...spec.options, help: HELP };
  const fail = (message: string): never => {
    throw new UsageError(`${spec.name}: ${message}`, `heddle ${spec.name} --help tells more.`);
  };
  const options = Object.fromEntries(
    Object.entries(table).map(([name, o]) => [
      name,
      { type: o.kind === 'flag' ? ('boolean' as const) : ('string' as const), ...('short' in o && o.short && { short: o.short }) },
    ]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  if (tokens.some((t) => t.kind === 'option' && t.name === 'help')) return { help: true };

  const values = new Map<string, unknown>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, value } = token;
    const option = Object.hasOwn(table, name) ? table[name] : undefined;
    if (option === undefined) {
      const near = rawName.startsWith('--') ? nearest(name, Object.keys(table)) : undefined;
      return fail(`unknown option ${rawName}${near === undefined ? '' : `; did you mean --${near}?`}`);
    }
    if (option.kind === 'flag') {
      if (value !== undefined) fail(`${rawName} takes no value, got ${JSON.stringify(value)}`);
      values.set(name, true);
      continue;
    }
    // `--prompt --json` forgot the prompt, unless it says `--prompt=--json`.
    const forgotten = !token.inlineValue && value !== undefined && /^--[a-z]/.test(value) && Object.hasOwn(table, value.slice(2));
    if (value === undefined || forgotten) return fail(`${rawName} needs a value: ${rawName} ${option.value}`);
    if (option.kind === 'text') {
      checkChoice(option, value, (expected) => fail(`${rawName} must be ${expected}, got ${JSON.stringify(value)}`));
      values.set(name, option.multiple ? [...((values.get(name) as string[] | undefined) ?? []), value] : value);
    } else {
      values.set(
        name,
        toNumber(option, value, (expected) => fail(`${rawName} must be ${expected}, got ${JSON.stringify(value)}`)),
      );
    }
  }
  for (const [name, option] of Object.entries(table)) {
    if (option.kind === 'flag' && !values.has(name)) values.set(name, false);
    if (option.kind === 'text' && option.multiple && !values.has(name)) values.set(name, []);
  }
  checkPositionals(spec.positionals ?? [], positionals, fail);
  return { help: false, values: Object.fromEntries(values) as Values<T>, positionals };
}

function checkChoice({ choices }: TextOption, value: string, fail: (expected: string) => never): void {
  if (choices === undefined || choices.includes(value)) return;
  const near = nearest(value, choices);
  fail(`one of ${choices.join(', ')}${near === undefined ? '' : ` (${near}?)`}`);
}

function toNumber(option: NumberOption, text: string, fail: (expected: string) => never): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  const { min, max, above } = option;
  const kind = option.kind === 'integer' ? 'an integer' : 'a number';
  const bounds = [min !== undefined && `from ${min}`, above !== undefined && `above ${above}`, max !== undefined && `to ${max}`];
  const expected = [kind, ...bounds.filter((b) => b !== false)].join(' ');
  const isKind = option.kind === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value);
  if (!isKind || value < (min ?? value) || value > (max ?? value) || value <= (above ?? Number.NEGATIVE_INFINITY)) fail(expected);
  return value;
}

function checkPositionals(expected: readonly Positional[], got: readonly string[], fail: (message: string) => never): void {
  const missing = expected.find((p, i) => !p.optional && got[i] === undefined);
  if (missing !== undefined) fail(`${missing.name} is missing: ${missing.help}`);
  if (got.length > expected.length && !expected.at(-1)?.many) fail(`unexpected argument ${JSON.stringify(got[expected.length])}`);
}

const showPositional = ({ name, optional, many }: Positional): string => {
  const text = many ? `${name}...` : name;
  return optional ? `[${text}]` : text;
};

function showOption(name: string, option: Option): string {
  if (option.kind === 'flag') return option.short ? `-${option.short}, --${name}` : `--${name}`;
  return `--${name} ${option.value}`;
}

/** Two columns, the second one aligned. */
export function columns(rows: readonly (readonly [string, string])[], indent = '  '): string {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${indent}${left.padEnd(width)}  ${right}`.trimEnd()).join('\n');
}

/** What `heddle COMMAND --help` prints. */
export function helpText(spec: CommandSpec): string {
  const positionals = spec.positionals ?? [];
  const table: OptionTable = { ...spec.options, help: HELP };
  const options = Object.entries(table).map(([name, option]): [string, string] => {
    const choices = option.kind === 'text' && option.choices ? ` (${option.choices.join(', ')})` : '';
    const again = option.kind === 'text' && option.multiple ? ' (may be repeated)' : '';
    return [showOption(name, option), `${option.help}${choices}${again}`];
  });
  const sections = [
    `heddle ${spec.name}: ${spec.summary}`,
    `Usage: ${['heddle', spec.name, ...positionals.map(showPositional), '[options]'].join(' ')}`,
    positionals.length > 0 ? columns(positionals.map((p) => [p.name, p.help])) : '',
    `Options:\n${columns(options)}`,
    spec.details ?? '',
    `Examples:\n${spec.examples.map(([line, what]) => `  # ${what}\n  ${line}`).join('\n')}`,
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}
