// `npm run bench -- start`: from before `import` of the built package to the first op's result on the CPU, each time in a fresh process, in
// turns with a Node that does nothing, so that a machine that slows down slows both.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export interface StartTimes {
  /** Milliseconds, each the median over the rounds, with the fastest. */
  readonly import: Spread;
  readonly firstOp: Spread;
  /** Both together. */
  readonly total: Spread;
  /** A whole process that imports heddle and computes, and one that does nothing (`node -e ''`). */
  readonly process: Spread;
  readonly bareNode: Spread;
}

interface Spread {
  readonly median: number;
  readonly min: number;
}

const SCRIPT = `
  const start = performance.now();
  const { ones } = await import(process.argv[1]);
  const imported = performance.now();
  const x = ones([4, 4], { device: 'cpu' });
  const [first] = await x.matmul(x).data();
  const done = performance.now();
  if (first !== 4) throw new Error('4 ones added up to ' + first);
  process.stdout.write(JSON.stringify({ import: imported - start, firstOp: done - imported, total: done - start }));`;

// The build that a user without nvcc has: the simulated CUDA device alone takes 140 MiB to load.
const CPU_BUILD = { HEDDLE_PREBUILD: path.join(path.dirname(fileURLToPath(import.meta.url)), '..') };

function timed(args: readonly string[]): { ms: number; stdout: string } {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, ...CPU_BUILD } });
  if (status !== 0) throw new Error(`node ${args[0]} ended with ${status}: ${stderr}`);
  return { ms: performance.now() - start, stdout };
}

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1] as number, min: sorted[0] as number };
}

export function benchStart(rounds: number): StartTimes {
  const entry = path.join(path.dirname(fileURLToPath(import.meta.url)), '../dist/index.js');
  if (!existsSync(entry)) throw new Error(`${entry} is not built: npm run bench -- start builds it`);
  const inside: { import: number; firstOp: number; total: number }[] = [];
  const [whole, bare]: [number[], number[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    const nothing = timed(['-e', '']);
    const heddle = timed(['--input-type=module', '-e', SCRIPT, pathToFileURL(entry).href]);
    if (round < 0) continue; // reads the files into the cache
    bare.push(nothing.ms);
    whole.push(heddle.ms);
    inside.push(JSON.parse(heddle.stdout));
  }
  const over = (key: 'import' | 'firstOp' | 'total') => spread(inside.map((r) => r[key]));
  return { import: over('import'), firstOp: over('firstOp'), total: over('total'), process: spread(whole), bareNode: spread(bare) };
}
