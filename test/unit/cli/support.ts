import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/native/load.ts';

/** Whether the built commands are those of the sources. */
function isBuilt(): boolean {
  const sources = join(packageRoot(), 'lib');
  const made = statSync(join(packageRoot(), 'dist/cli/main.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return readdirSync(sources, { recursive: true, encoding: 'utf8' }).every((name) => statSync(join(sources, name)).mtimeMs <= made);
}

// The built commands, as users run them, or their sources where those are newer (which takes half a second longer).
const built = isBuilt();
/** What `node` takes to load `LIBRARY`. */
export const LOADER: readonly string[] = built ? [] : ['--import', import.meta.resolve('tsx')];
/** The library that belongs to the commands. */
export const LIBRARY = join(packageRoot(), built ? 'dist/index.js' : 'lib/index.ts');
/** What `node` takes to be `heddle`. */
export const ENTRY: readonly string[] = [...LOADER, join(packageRoot(), built ? 'dist/cli/main.js' : 'lib/cli/main.ts')];

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Options {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly input?: string;
  /** Words of a command that runs the one after it, such as `nice`. */
  readonly under?: readonly string[];
  /** Called with the process and all of stderr so far, whenever more of it came. */
  readonly onStderr?: (child: ChildProcess, stderr: string) => void;
  /** The same of stdout. */
  readonly onStdout?: (child: ChildProcess, stdout: string) => void;
}

/** Runs `heddle` as a process of its own. */
export function heddle(
  args: readonly string[],
  { cwd = tmpdir(), env = {}, input = '', under = [], onStderr, onStdout }: Options = {},
): Promise<Outcome> {
  const [command = process.execPath, ...words] = [...under, process.execPath, ...ENTRY, ...args];
  const child = spawn(command, words, { cwd, env: { ...process.env, HEDDLE_DEBUG: '', ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    stdout += piece;
    onStdout?.(child, stdout);
  });
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    stderr += piece;
    onStderr?.(child, stderr);
  });
  child.stdin.on('error', () => {}).end(input); // a process that ends without reading is no trouble here
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** The last line of stdout as JSON; an error that shows everything where it is none. */
export function lastLine({ code, stdout, stderr }: Outcome): Record<string, unknown> {
  try {
    return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>;
  } catch {
    throw new Error(`no JSON at the end of stdout (exit code ${code}):\n${stdout}\n${stderr}`);
  }
}

/** A folder with a text, examples and tiny.yaml: one layer of width 32 over bytes, 5 steps. */
export function tinyProject(): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-cli-'));
  const text = Array.from({ length: 300 }, (_, i) => `The whale number ${(i * 7919) % 1000} swims by night.`).join(' ');
  const pairs = Array.from({ length: 40 }, (_, i) => JSON.stringify({ prompt: `Is ${i} even? `, completion: i % 2 ? 'no' : 'yes' }));
  writeFileSync(join(folder, 'text.txt'), text);
  writeFileSync(join(folder, 'pairs.jsonl'), `${pairs.join('\n')}\n`);
  writeFileSync(
    join(folder, 'tiny.yaml'),
    [
      'model: { layers: 1, heads: 2, width: 32, contextLength: 32 }',
      'tokenizer: { kind: byte }',
      'data: { path: text.txt }',
      'train: { steps: 5, batchSize: 4, evalEvery: 2, warmup: 1 }',
      'finetune: { path: pairs.jsonl, train: { steps: 4, batchSize: 4 } }',
      'generate: { maxTokens: 8, prompt: "The" }',
    ].join('\n'),
  );
  return folder;
}

/** An empty folder, in which no native binary is found. */
export function noBinary(): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-nothing-'));
  mkdirSync(join(folder, 'build'));
  return { HEDDLE_PREBUILD: folder };
}
