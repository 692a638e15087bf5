import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { checkpoint } from '../../../lib/index.ts';
import { randomOf } from '../../disk/disk.ts';
import { filesOf, rowsOf, writeProject } from '../../disk/run.ts';

const CHILD = fileURLToPath(new URL('./child/run.ts', import.meta.url));

interface Ended {
  readonly lines: readonly string[];
  /** False: it was killed. */
  readonly finished: boolean;
  /** Milliseconds from its beginning to its end. */
  readonly ms: number;
}

/** Runs the child; kills it `afterMs` after it has said that it begins. */
function run(project: string, out: string, afterMs?: number): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import=tsx', CHILD, project, out], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    let began: number | undefined;
    let timer: NodeJS.Timeout | undefined;
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      if (began !== undefined || !text.includes('start')) return;
      began = performance.now();
      if (afterMs !== undefined) timer = setTimeout(() => child.kill('SIGKILL'), afterMs);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0 && signal !== 'SIGKILL') reject(new Error(`the child ended with ${code ?? signal}:\n${text}`));
      else resolve({ lines: text.trim().split('\n'), finished: code === 0, ms: performance.now() - (began ?? 0) });
    });
  });
}

/** What a finished run leaves and no clock or folder stands in: tokenizer, shards, weights, the state of the optimizer, best.json. */
function filesLeft(out: string): Record<string, string> {
  const named = Object.entries(filesOf(out)).filter(([name]) => /tmp|safetensors$|best\.json$|tokens$|^tokenizer/.test(name));
  return Object.fromEntries(named.map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]));
}

/** What a killed run leaves is whole: the newest checkpoint is the first one tried, but for what is unfinished and says so. */
async function isWhole(t: ExecutionContext, out: string, lines: readonly string[]): Promise<void> {
  if (!existsSync(join(out, 'checkpoints'))) return;
  const { checkpoint: newest, skipped } = await checkpoint.latestCheckpoint(join(out, 'checkpoints'));
  t.true(
    skipped.every((s) => s.why.startsWith('unfinished')),
    JSON.stringify(skipped),
  );
  const saved = lines.filter((line) => line.startsWith('checkpoint')).at(-1);
  if (saved) t.true((newest?.manifest.step ?? -1) >= Number(saved.split(' ')[1]), `${saved}, found ${newest?.manifest.step}`);
}

/**
 * Kills a run `kills` times at random moments, from preparing its data to its last checkpoint, each time going on from what is there,
 * and compares what it comes to with a run that nobody killed. The seed chooses the moments in time, not what is done then.
 */
export async function killedRunEqualsWholeRun(t: ExecutionContext, folder: string, kills: number, seed: number): Promise<void> {
  t.log(`${kills} kills, seed ${seed}`);
  const random = randomOf(seed);
  const project = join(folder, 'project');
  writeProject(project);
  const whole = join(folder, 'whole');
  const { ms: span } = await run(project, whole);
  const rows = rowsOf(join(whole, 'metrics.jsonl'));
  t.is(rows.length, 24 + 6);
  const files = filesLeft(whole);
  let [killed, runs] = [0, 0];
  const moments: string[] = [];
  while (killed < kills) {
    const out = join(folder, `killed-${runs++}`);
    for (;;) {
      const { lines, finished } = await run(project, out, killed < kills ? random() * span : undefined);
      if (finished) break;
      killed++;
      moments.push(String(lines.at(-1)));
      await isWhole(t, out, lines);
    }
    t.deepEqual(rowsOf(join(out, 'metrics.jsonl')), rows, `run ${runs}: no row is missing, none is there twice`);
    t.deepEqual(filesLeft(out), files, `run ${runs}`);
  }
  t.log(`killed ${killed} times in ${runs} runs, after ${moments.join(', ')}`);
}
