import { readFileSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import type { Document, Node } from 'yaml';
import { FileError } from '../util/errors.ts';
import { yaml } from '../util/lazy.ts';
import { ConfigError, type ConfigIssue, showValue } from './config-error.ts';

/** Where a key or a value was written. */
export interface Place {
  /** `configs/x.yaml:12:5`, `--set`, … */
  readonly label: string;
  /** Relative paths in the value start here. */
  readonly folder: string;
}

/** A configuration before it is checked: plain data, and where each of its keys and values comes from. */
export interface Source {
  readonly value: Record<string, unknown>;
  /** By `pathKey`. */
  readonly places: ReadonlyMap<string, { readonly key: Place; readonly value: Place }>;
  /** For what has no place of its own. */
  readonly place: Place;
}

type Path = readonly (string | number)[];

const pathKey = (path: Path): string => JSON.stringify(path.map(String));

const fail = (place: string, message: string, key = ''): never => {
  throw new ConfigError([{ place, key, message }]);
};

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where a value was written: its own place, or that of the nearest section around it. */
export function placeOf(source: Source, path: Path, part: 'key' | 'value' = 'value'): Place {
  for (let length = path.length; length > 0; length--) {
    const found = source.places.get(pathKey(path.slice(0, length)));
    if (found !== undefined) return length === path.length ? found[part] : found.key;
  }
  return source.place;
}

/** What is written at a path; undefined where nothing is. */
export function valueAt(source: Source, path: Path): unknown {
  let value: unknown = source.value;
  for (const key of path) value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[String(key)] : undefined;
  return value;
}

/** Notes the place of every node below `node`. */
function notePlaces(node: unknown, path: Path, at: (node: Node) => Place, places: Map<string, { key: Place; value: Place }>): void {
  const { isMap, isPair, isScalar, isSeq } = yaml();
  if (isMap(node)) {
    for (const item of node.items) {
      if (!isPair(item) || !isScalar(item.key)) continue;
      const inner = [...path, String(item.key.value)];
      const key = at(item.key);
      const value = item.value as Node | null;
      places.set(pathKey(inner), { key, value: value?.range ? at(value) : key });
      notePlaces(value, inner, at, places);
    }
  } else if (isSeq(node)) {
    for (const [i, item] of node.items.entries()) {
      const place = at(item as Node);
      places.set(pathKey([...path, i]), { key: place, value: place });
      notePlaces(item, [...path, i], at, places);
    }
  }
}

/** The document as plain data, its aliases expanded. */
function plainValue(document: Document, place: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    return fail(place, `must be plain YAML: ${error instanceof Error ? error.message : error}`); // a flood of aliases
  }
}

/** Parses the text of a YAML file. @throws ConfigError with line and column where it is no YAML, or no mapping. */
export function parseSource(text: string, file: string): Source {
  return guardDepth(file, () => parseYAML(text, file));
}

const TOO_DEEP = 'lists and sections must be nested less deep';

/** The parser and what walks its tree call themselves for every level: a stack that ends there is an error of the file. */
function guardDepth<T>(place: string, task: () => T): T {
  try {
    return task();
  } catch (error) {
    if (error instanceof RangeError) return fail(place, TOO_DEEP);
    throw error;
  }
}

function parseYAML(text: string, file: string): Source {
  const { LineCounter, parseDocument } = yaml();
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false, stringKeys: true });
  const folder = dirname(resolve(file));
  const label = (offset: number): string => {
    const { line, col } = counter.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    const said = (message: string): string => (message.includes('call stack') ? TOO_DEEP : message);
    const issues: ConfigIssue[] = document.errors.map((e) => ({ place: label(e.pos[0]), key: '', message: said(e.message) }));
    throw new ConfigError(issues, { cause: document.errors[0] });
  }
  const at = (node: Node): Place => ({ label: label(node.range?.[0] ?? 0), folder });
  const value = plainValue(document, file) ?? {};
  if (!isObject(value)) return fail(`${file}:1:1`, `the file must hold sections such as train:, got ${showValue(value)}`);
  const places = new Map<string, { key: Place; value: Place }>();
  notePlaces(document.contents, [], at, places);
  return { value, places, place: { label: file, folder } };
}

/** An override from the command line, `train.steps=500`; the value is YAML. */
export function parseOverride(text: string): Source {
  const place: Place = { label: '--set', folder: process.cwd() };
  const equals = text.indexOf('=');
  const path = equals < 0 ? [] : text.slice(0, equals).trim().split('.');
  if (path.length === 0 || path.includes(''))
    return fail(place.label, `an override must be KEY=VALUE, such as train.steps=500, got ${showValue(text)}`);
  const document = guardDepth(place.label, () => yaml().parseDocument(text.slice(equals + 1), { prettyErrors: false, stringKeys: true }));
  const error = document.errors[0];
  if (error !== undefined) return fail(place.label, `${path.join('.')} must be a YAML value: ${error.message}`, path.join('.'));
  let value = plainValue(document, place.label) ?? null;
  for (const key of path.toReversed()) value = Object.fromEntries([[key, value]]);
  const places = new Map(path.map((_, i) => [pathKey(path.slice(0, i + 1)), { key: place, value: place }]));
  notePlaces(document.contents, path, () => place, places);
  return { value: value as Record<string, unknown>, places, place };
}

/** Plain data that comes from elsewhere: a flag of the command line, the configuration in a checkpoint. `name` stands in its errors. */
export function plainSource(value: unknown, name: string): Source {
  if (!isObject(value)) return fail(name, `the configuration must be an object, got ${showValue(value)}`);
  const place: Place = { label: name, folder: process.cwd() };
  const places = new Map<string, { key: Place; value: Place }>();
  const note = (inner: unknown, path: Path): void => {
    if (path.length > 0) places.set(pathKey(path), { key: place, value: place });
    if (isObject(inner)) for (const [key, item] of Object.entries(inner)) note(item, [...path, key]);
  };
  note(value, []);
  return { value, places, place };
}

function mergeValues(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const merged = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(over)) {
    const before = merged.get(key);
    merged.set(key, isObject(before) && isObject(value) ? mergeValues(before, value) : value);
  }
  return Object.fromEntries(merged);
}

/** `over` laid over `base`: sections key by key, everything else as a whole. What has no place of its own has that of `base`. */
export function mergeSources(base: Source, over: Source): Source {
  return { value: mergeValues(base.value, over.value), places: new Map([...base.places, ...over.places]), place: base.place };
}

function readText(file: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new FileError(file, `cannot be read: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FileError(file, `must be UTF-8 text: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** On the way from a file to what it extends: the files below, and what has been read, so that none is read twice. */
interface Reading {
  below: readonly string[];
  read: Map<string, Source>;
}

/** What a file extends; its errors also say where it is named. */
function readParent(path: string, reading: Reading, place: string): Source {
  try {
    // Not a device, which may have no end.
    if (statSync(path).isFile()) return readWhole(path, reading);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const message = error instanceof FileError ? error.message.slice(`${path}: `.length) : `cannot be read: ${(error as Error).message}`;
    throw new FileError(path, message, { cause: error, hint: `${place}: extends names it.` });
  }
  return fail(place, `extends must name a file, got ${showValue(path)}`, 'extends');
}

/**
 * Reads a YAML file and what it `extends` (paths relative to the file, later ones over earlier ones, the file over all).
 * @throws FileError for a file that cannot be read; ConfigError for one that is wrong, or extends itself.
 */
export function readSource(file: string): Source {
  return readWhole(file, { below: [], read: new Map() });
}

function readWhole(file: string, { below, read }: Reading): Source {
  const known = read.get(resolve(file));
  if (known) return known;
  const own = parseSource(readText(file), file);
  const { extends: parents, ...value } = own.value;
  const files = parents === undefined || parents === null ? [] : Array.isArray(parents) ? parents : [parents];
  const reading = { below: [...below, resolve(file)], read };
  let merged: Source | undefined;
  for (const [i, parent] of files.entries()) {
    const place = placeOf(own, Array.isArray(parents) ? ['extends', i] : ['extends']).label;
    if (typeof parent !== 'string') return fail(place, `extends must be a file or a list of files, got ${showValue(parent)}`, 'extends');
    const path = isAbsolute(parent) ? parent : join(dirname(file), parent);
    if (reading.below.includes(resolve(path))) return fail(place, `extends must not lead back to ${parent}`, 'extends');
    const source = readParent(path, reading, place);
    merged = merged === undefined ? source : mergeSources(merged, source);
  }
  const rest = { ...own, value };
  const source = merged === undefined ? rest : { ...mergeSources(merged, rest), place: own.place };
  read.set(resolve(file), source);
  return source;
}
