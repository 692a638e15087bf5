// The process in which cases run: it may hang, crash or run out of memory, and fuzz_run.ts sees it. Speaks a line of JSON at a time
// on stdout.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setThreads } from '../../lib/tensor/device.ts';
import { attempt, sizeOf } from './attempt.ts';
import { formats } from './formats/index.ts';
import { fuzz } from './fuzz.ts';
import type { ChildTask, Said } from './run.ts';

const HEARTBEAT_MS = 200;

const say = (said: Said): void => void writeSync(1, `${JSON.stringify(said)}\n`);

const task = JSON.parse(process.argv[2] ?? '') as ChildTask;
const { folder, seed, cases, failures } = task;
setThreads(1);

if (task.replay !== undefined) {
  const name = (JSON.parse(readFileSync(join(task.replay, 'case.json'), 'utf8')) as { format: string }).format;
  const format = formats[name];
  if (format === undefined) throw new Error(`${task.replay}: no format ${name}`);
  await format.seeds(); // some formats make what reads here
  cpSync(join(task.replay, 'files'), folder, { recursive: true });
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file));
  say({ type: 'replayed', format: name, ...(await attempt(format, folder, sizeOf(files))) });
} else {
  for (const name of task.formats) {
    const format = formats[name];
    if (format === undefined) throw new Error(`no format ${name}`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    say({ type: 'begins', format: name });
    let last = 0; // the first case says that the seeds are made
    const report = await fuzz(format, cases, seed, folder, {
      onCase(number) {
        if (performance.now() - last < HEARTBEAT_MS) return;
        last = performance.now();
        say({ type: 'alive', number });
      },
      onFailure(failure) {
        const kept = join(failures, `${failure.format}-${seed}-${Math.max(0, failure.number)}`);
        rmSync(kept, { recursive: true, force: true });
        cpSync(folder, join(kept, 'files'), { recursive: true });
        writeFileSync(join(kept, 'case.json'), `${JSON.stringify({ ...failure, seed }, null, 1)}\n`);
        say({ type: 'failed', ...failure, kept });
      },
    });
    say({ type: 'ends', report });
  }
}
