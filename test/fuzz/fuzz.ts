// The fuzzer: damages good folders, reads them, and keeps what reached code that nothing reached before as new seeds.
import { mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attempt, kindOf, type Outcome } from './attempt.ts';
import { Coverage } from './coverage.ts';
import { Draw, seedOf } from './draw.ts';
import type { Files, Format } from './format.ts';

/** Cases between two looks at the coverage: a look costs as much as some cases. */
const BATCH = 50;
const MOST_SEEDS = 400;
const MOST_FAILURES = 10;

export interface Report {
  readonly format: string;
  readonly cases: number;
  readonly read: number;
  readonly refused: number;
  readonly failed: number;
  /** Kinds of messages, with how often each came. */
  readonly messages: Readonly<Record<string, number>>;
  readonly blocks: number;
  readonly covered: number;
  /** Folders kept for reaching something new. */
  readonly kept: number;
  readonly slowestMs: number;
  /** Most bytes that buffers and tensors grew by in one case. */
  readonly mostBuffers: number;
  /** Of the process so far. */
  readonly peakRss: number;
  readonly seconds: number;
  /** Of the processor, all threads together. */
  readonly cpuSeconds: number;
}

export interface Failure {
  readonly format: string;
  readonly number: number;
  readonly what: string;
}

export interface FuzzHooks {
  /** After each case. */
  onCase(number: number): void;
  /** The case still lies in the folder. */
  onFailure(failure: Failure): void;
}

/** Puts files into a folder; writes only what differs from what lies there. */
class Disk {
  readonly #folder: string;
  #there: Files = new Map();

  constructor(folder: string) {
    this.#folder = folder;
  }

  put(files: Files, anew: boolean): number {
    if (anew) {
      for (const name of readdirSync(this.#folder)) rmSync(join(this.#folder, name), { recursive: true });
      this.#there = new Map();
    }
    let bytes = 0;
    for (const [name, content] of this.#there)
      if (files.get(name) !== content) rmSync(join(this.#folder, name), { recursive: true, force: true });
    for (const [name, content] of files) {
      bytes += content === 'folder' ? 0 : content.length;
      if (this.#there.get(name) === content) continue;
      const path = join(this.#folder, name);
      mkdirSync(content === 'folder' ? path : join(path, '..'), { recursive: true });
      if (content !== 'folder') writeFileSync(path, content);
    }
    this.#there = files;
    return bytes;
  }
}

/** A damaged folder: one file, seldom two; seldom a file is missing or a folder. */
export function damaged(format: Format, draw: Draw, files: Files, donor: Files): Files {
  const out = new Map(files);
  const names = Object.keys(format.mutators).filter((name) => out.has(name));
  if (names.length === 0) return files; // kept for being empty
  const weights = names.map((name) => format.mutators[name]?.weight ?? 0);
  for (let n = draw.oneIn(8) ? 2 : 1; n > 0; n--) {
    const name = draw.weighted(names, weights);
    const content = out.get(name);
    const fate = draw.below(400);
    if (fate < 2) out.delete(name);
    else if (fate < 4) out.set(name, 'folder');
    else if (content instanceof Uint8Array) {
      const other = donor.get(name);
      const bytes = format.mutators[name]?.mutate(draw, content, other instanceof Uint8Array ? other : content);
      if (bytes) out.set(name, bytes);
    }
  }
  format.seal?.(out, draw);
  return out;
}

/** Files only: a thread that a reader keeps for the next file has pipes and event queues of its own. */
function openFiles(): number {
  if (process.platform !== 'linux') return 0;
  const target = (fd: string): string => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // that of readdirSync
    }
  };
  return readdirSync('/proc/self/fd').filter((fd) => target(fd).startsWith('/')).length;
}

/** How many more files are open than before; streams close theirs a moment after they are given up. */
async function filesLeft(before: number): Promise<number> {
  for (let patience = 0; openFiles() > before && patience < 50; patience++) await new Promise((resolve) => setTimeout(resolve, 10));
  return openFiles() - before;
}

/** Runs `cases` cases of a format in `folder`, which is emptied. */
export async function fuzz(format: Format, cases: number, seed: number, folder: string, hooks: FuzzHooks): Promise<Report> {
  const started = performance.now();
  const cpu = process.cpuUsage();
  const coverage = new Coverage();
  const disk = new Disk(folder);
  const corpus = await format.seeds();
  const seeds = corpus.length;
  const messages: Record<string, number> = {};
  const failures = new Set<string>();
  const tally = { read: 0, refused: 0, failed: 0, slowestMs: 0, mostBuffers: 0 };

  const run = async (files: Files): Promise<Outcome> => attempt(format, folder, disk.put(files, format.writes === true));
  const fail = (number: number, what: string): void => {
    const kind = kindOf(what, folder);
    if (failures.has(kind) || failures.size >= MOST_FAILURES) return;
    failures.add(kind);
    hooks.onFailure({ format: format.name, number, what });
  };

  coverage.start();
  for (const files of corpus) {
    const outcome = await run(files);
    if (outcome.kind !== 'read') fail(-1, `a valid folder must be read: ${outcome.failure || outcome.message}`);
  }
  coverage.add(coverage.take());
  for (let first = 0; first < cases; first += BATCH) {
    const filesBefore = openFiles();
    const batch: Files[] = [];
    for (let number = first; number < Math.min(cases, first + BATCH); number++) {
      const draw = new Draw(seed, seedOf(format.name), number);
      // Seeds and what grew from them come equally often.
      const base = draw.oneIn(2) ? draw.pick(corpus.slice(0, seeds)) : draw.pick(corpus);
      const files = damaged(format, draw, base, draw.pick(corpus));
      batch.push(files);
      const outcome = await run(files);
      tally[outcome.kind]++;
      tally.slowestMs = Math.max(tally.slowestMs, outcome.ms);
      tally.mostBuffers = Math.max(tally.mostBuffers, outcome.buffers);
      if (outcome.message !== '') {
        const kind = kindOf(outcome.message, folder);
        messages[kind] = (messages[kind] ?? 0) + 1;
      }
      if (outcome.kind === 'failed') fail(number, outcome.failure);
      hooks.onCase(number);
    }
    const left = await filesLeft(filesBefore);
    if (left > 0) fail(first, `left ${left} files open after cases ${first} to ${first + BATCH - 1}`);
    const ran = coverage.take();
    if (coverage.fresh(ran) > 0) {
      for (const [i, files] of batch.entries()) {
        if (coverage.fresh(ran) === 0) break; // whose it was is known
        await run(files);
        hooks.onCase(first + i);
        if (coverage.add(coverage.take()) > 0 && corpus.length < MOST_SEEDS) corpus.push(files);
      }
      coverage.add(ran);
    }
  }
  const { blocks, covered } = coverage.totals();
  coverage.stop();
  const { user, system } = process.cpuUsage(cpu);
  return {
    ...{ format: format.name, cases, ...tally, messages, blocks, covered, kept: corpus.length - seeds },
    peakRss: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: (user + system) / 1e6,
  };
}
