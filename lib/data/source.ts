// Where training text comes from: a file, a folder, JSONL, or a string. Everything is read as a stream of items of bounded
// size, so a 10 GB file needs no more memory than a small one.
//
// - .jsonl: one object a line with `text`, or with `prompt` and `completion` (loss only on the completion). Empty lines are
//   skipped, other keys ignored. Any other file is one document of UTF-8 text, whatever its name ends in.
// - A folder is read recursively: .txt, .md and .jsonl, ordered by path (by code units, the same on every system). Names
//   that begin with a dot, and links to folders, are passed over.
// - A byte order mark is dropped; CR LF becomes LF. Empty files are passed over in a folder and an error on their own.
// - Zero bytes, UTF-16 and bytes that are no UTF-8 are errors that name file and line.
import { readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { ArgumentError, FileError } from '../util/errors.ts';
import { readJsonLines } from './jsonl.ts';
import { readTextPieces } from './text_file.ts';

/** A piece of a text document. Pieces are cut where words end, so that tokens come out as if the document were whole. */
export interface TextItem {
  kind: 'text';
  /** UTF-8, not empty. */
  bytes: Uint8Array;
  /** True for the first piece of a document. */
  first: boolean;
  file: string;
  /** Line of the file at which the piece begins, from 1. */
  line: number;
}

/** A prompt and the answer to it: a document of its own with loss only on the completion. */
export interface ExampleItem {
  kind: 'example';
  prompt: string;
  completion: string;
  file: string;
  line: number;
}

export type SourceItem = TextItem | ExampleItem;

/** A prompt and its completion. */
export interface Example {
  prompt: string;
  completion: string;
}

/** A file of a source; size and time tell whether it changed. */
export interface SourceFile {
  path: string;
  size: number;
  mtimeMs: number;
}

/** Something that can be read from the start any number of times, always in the same order. */
export interface Source {
  readonly name: string;
  /** The files behind it; empty for text in memory. */
  readonly files: readonly SourceFile[];
  items(): Generator<SourceItem>;
}

const FOLDER_FILES = /\.(txt|md|jsonl)$/i;

function stat(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw new FileError(path, (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file or folder' : (error as Error).message, {
      cause: error,
    });
  }
}

function listFolder(folder: string, inside: string, found: string[]): void {
  for (const entry of readdirSync(join(folder, inside), { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue;
    const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
    if (entry.isDirectory()) listFolder(folder, path, found);
    else if (FOLDER_FILES.test(entry.name) && stat(join(folder, path)).isFile()) found.push(path);
  }
}

function readFile(path: string): Generator<SourceItem> {
  return /\.jsonl$/i.test(path) ? readJsonLines(path) : readTextPieces(path);
}

/**
 * A file or folder as a source. Nothing but names and sizes is read before `items()` is called.
 * @throws FileError when there is no such path, a folder holds no .txt, .md or .jsonl file, or nothing in it has a byte.
 */
export function openSource(path: string): Source {
  const top = stat(path);
  let paths = [path];
  if (top.isDirectory()) {
    const found: string[] = [];
    listFolder(path, '', found);
    found.sort((a, b) => (a < b ? -1 : 1));
    if (found.length === 0) throw new FileError(path, 'must hold .txt, .md or .jsonl files, found none');
    paths = found.map((name) => join(path, name));
  } else if (!top.isFile()) {
    throw new FileError(path, 'must be a file or a folder');
  }
  const files = paths.map((name) => {
    const { size, mtimeMs } = stat(name);
    return { path: name, size, mtimeMs };
  });
  if (files.every((file) => file.size === 0)) throw new FileError(path, top.isFile() ? 'is empty' : 'holds only empty files');
  return {
    name: path,
    files,
    *items() {
      for (const file of files) yield* readFile(file.path);
    },
  };
}

/**
 * One document from memory: a string, or UTF-8 bytes taken as they are.
 * @throws ArgumentError when it is empty.
 */
export function textSource(text: string | Uint8Array, name = 'text'): Source {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  if (bytes.length === 0) throw new ArgumentError('textSource: text must not be empty');
  return {
    name,
    files: [],
    *items() {
      yield { kind: 'text', bytes, first: true, file: name, line: 1 };
    },
  };
}

/**
 * Prompts and completions from memory.
 * @throws ArgumentError when there are none, or a completion is empty.
 */
export function exampleSource(examples: readonly Example[], name = 'examples'): Source {
  if (examples.length === 0) throw new ArgumentError('exampleSource: examples must not be empty');
  const empty = examples.findIndex((example) => example.completion === '');
  if (empty >= 0) throw new ArgumentError(`exampleSource: examples[${empty}].completion must not be empty`);
  return {
    name,
    files: [],
    *items() {
      for (const [index, { prompt, completion }] of examples.entries()) {
        yield { kind: 'example', prompt, completion, file: name, line: index + 1 };
      }
    },
  };
}
