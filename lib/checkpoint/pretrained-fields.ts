import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { isObject } from './json.ts';

/** The fields of a config.json, each checked when it is asked for. */
export class Fields {
  readonly file: string;
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #asked = new Set<string>();
  readonly #parts: Fields[] = [];

  constructor(file: string, fields: Readonly<Record<string, unknown>>, path = '') {
    this.file = file;
    this.#fields = fields;
    this.#path = path;
  }

  fail(name: string, expected: string): FileError {
    return new FileError(this.file, `${this.#path}${name} must be ${expected}, got ${show(this.#fields[name])}`);
  }

  /** null counts as absent, as it does in Python. */
  #get<T>(name: string, expected: string, is: (value: unknown) => value is T, fallback: T | undefined): T {
    this.#asked.add(name);
    const value = this.#fields[name] ?? fallback;
    if (!is(value)) throw this.fail(name, expected);
    return value;
  }

  /** A positive integer; required without a fallback. */
  count(name: string, fallback?: number): number {
    return this.#get(name, 'a positive integer', (x): x is number => Number.isSafeInteger(x) && (x as number) > 0, fallback);
  }

  number(name: string, fallback?: number): number {
    return this.#get(name, 'a number', (x): x is number => Number.isFinite(x), fallback);
  }

  flag(name: string, fallback: boolean): boolean {
    return this.#get(name, 'true or false', (x): x is boolean => typeof x === 'boolean', fallback);
  }

  choice<T>(name: string, choices: Readonly<Record<string, T>>, fallback: string): T {
    const expected = `one of ${Object.keys(choices).join(', ')}`;
    const key = this.#get(name, expected, (x): x is string => typeof x === 'string' && Object.hasOwn(choices, x), fallback);
    return choices[key] as T;
  }

  /** A list of so many of these words; undefined where there is none. */
  words<T extends string>(name: string, words: readonly T[], length: number): readonly T[] | undefined {
    const is = (x: unknown): x is T[] => Array.isArray(x) && x.length === length && x.every((word) => words.includes(word as T));
    return this.has(name) ? this.#get(name, `a list of ${length}, each one of ${words.join(', ')}`, is, undefined) : undefined;
  }

  /** A field that must have this value, or be absent. */
  only(name: string, value: unknown): void {
    this.#asked.add(name);
    if ((this.#fields[name] ?? value) !== value) throw this.fail(name, `${JSON.stringify(value)}, the only value that is supported`);
  }

  has(name: string): boolean {
    this.#asked.add(name);
    return this.#fields[name] !== undefined && this.#fields[name] !== null;
  }

  /** Not written at all: null is an answer of its own where a model's default is something else. */
  isMissing(name: string): boolean {
    this.#asked.add(name);
    return this.#fields[name] === undefined;
  }

  object(name: string): Fields {
    const part = new Fields(this.file, this.#get(name, 'an object', isObject, {}), `${this.#path}${name}.`);
    this.#parts.push(part);
    return part;
  }

  /** Paths of the fields that nobody asked for and that say something. */
  unread(): string[] {
    const own = Object.keys(this.#fields).filter((name) => !this.#asked.has(name) && (this.#fields[name] ?? null) !== null);
    return [...own.map((name) => `${this.#path}${name}`), ...this.#parts.flatMap((part) => part.unread())];
  }
}
