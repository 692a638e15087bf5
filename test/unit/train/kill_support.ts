import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { checkpoint } from '../../../lib/index.ts';

const CHILD = fileURLToPath(new URL('./child/run.ts', import.meta.url));

/** Runs the child; kills it `afterMs` after it has said that it begins. Gives its lines and whether it came to its end. */
function run(out: string, afterMs?: number): Promise<{ lines: string[]; finished: boolean }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import=tsx', CHILD, out], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      if (afterMs !== undefined && timer === undefined && text.includes('start')) timer = setTimeout(() => child.kill('SIGKILL'), afterMs);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0 && signal !== 'SIGKILL') reject(new Error(`the child ended with ${code ?? signal}:\n${text}`));
      else resolve({ lines: text.trim().split('\n'), finished: code === 0 });
    });
  });
}

/** Metrics rows without the time. */
function metrics(out: string): unknown[] {
  const rows = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n');
  return rows.map((row) => {
    const { tokensPerSecond, time, ...rest } = JSON.parse(row) as Record<string, unknown>;
    return rest;
  });
}

/** Files of the checkpoints that a finished run leaves, their content too. */
function leftovers(out: string): Record<string, string> {
  const folder = join(out, 'checkpoints');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /safetensors$|best\.json$/.test(name));
  return Object.fromEntries(files.sort().map((name) => [name, readFileSync(join(folder, name)).toString('base64')]));
}

/**
 * Kills a run `kills` times at random moments, each time going on from its last checkpoint, and compares what it comes to with a
 * run that nobody killed.
 */
export async function killedRunEqualsWholeRun(t: ExecutionContext, folder: string, kills: number, seed: number): Promise<void> {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const whole = join(folder, 'whole');
  mkdirSync(whole);
  const started = performance.now();
  const { lines } = await run(whole);
  const span = Math.max(100, performance.now() - started) / 2; // half of it is the start
  const bits = lines.at(-1);
  t.regex(String(bits), /^bits /);
  let [killed, folderNumber, steps] = [0, 0, new Set<string>()];
  while (killed < kills) {
    const out = join(folder, `killed-${folderNumber++}`);
    mkdirSync(out);
    for (;;) {
      const again = await run(out, killed < kills ? random() * span : undefined);
      if (again.finished) {
        t.is(again.lines.at(-1), bits, `run ${folderNumber}`);
        break;
      }
      killed++;
      steps.add(String(again.lines.at(-1)));
      if (!existsSync(join(out, 'checkpoints'))) continue;
      // What is there is whole: the newest is the first one tried, but for what is unfinished and says so.
      const { checkpoint: newest, skipped } = await checkpoint.latestCheckpoint(join(out, 'checkpoints'));
      t.true(
        skipped.every((s) => s.why.startsWith('unfinished')),
        JSON.stringify(skipped),
      );
      const saved = again.lines.filter((line) => line.startsWith('checkpoint')).at(-1);
      if (saved) t.true((newest?.manifest.step ?? -1) >= Number(saved.split(' ')[1]), `${saved}, found ${newest?.manifest.step}`);
    }
    t.deepEqual(metrics(out), metrics(whole), 'no row is missing, none is there twice');
    t.deepEqual(leftovers(out), leftovers(whole));
  }
  t.log(`killed ${killed} times, after ${[...steps].join(', ')}`);
}
