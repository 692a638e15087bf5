// npm run fuzz: hostile files, on demand. Usage: npm run fuzz -- [FORMAT ...] [--cases N] [--seed N] [--messages] | --replay FOLDER
import { parseArgs } from 'node:util';
import { formats } from './formats/index.ts';
import type { Report } from './fuzz.ts';
import { replay, replayCommand, runFuzz } from './run.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cases: { type: 'string', default: '10000' },
    seed: { type: 'string' },
    messages: { type: 'boolean', default: false },
    replay: { type: 'string' },
  },
});

const integer = (name: string, text: string): number => {
  if (!/^\d+$/.test(text)) throw new Error(`--${name} must be an integer from 0, got ${text}`);
  return Number(text);
};

const mega = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function row(r: Report): string {
  const cells = [
    r.format.padEnd(15),
    ...[r.cases, r.read, r.refused, Object.keys(r.messages).length].map((n) => String(n).padStart(8)),
    `${r.covered}/${r.blocks}`.padStart(11),
    String(r.kept).padStart(6),
    `${r.slowestMs.toFixed(0)} ms`.padStart(9),
    mega(r.mostBuffers).padStart(11),
    mega(r.peakRss).padStart(11),
    `${r.seconds.toFixed(1)} s`.padStart(9),
    `${r.cpuSeconds.toFixed(1)} s`.padStart(9),
  ];
  return cells.join('');
}

if (values.replay !== undefined) {
  const { outcome, problem } = await replay(values.replay);
  console.log(problem ?? `${outcome?.kind}: ${outcome?.failure || outcome?.message || 'all was read'}`);
  process.exitCode = outcome === undefined || outcome.kind === 'failed' ? 1 : 0;
} else {
  const unknown = positionals.find((name) => !Object.hasOwn(formats, name));
  if (unknown !== undefined) throw new Error(`FORMAT must be one of ${Object.keys(formats).join(', ')}, got ${unknown}`);
  const seed = values.seed === undefined ? Date.now() % 1e9 : integer('seed', values.seed);
  const names = positionals.length > 0 ? positionals : Object.keys(formats).filter((name) => !name.startsWith('planted'));
  console.log(`seed ${seed}`);
  console.log(
    `${'format'.padEnd(15)}   cases    read refused messages     blocks  kept  slowest    buffers   peak RSS     time      CPU`.replace(
      '   cases',
      '   cases',
    ),
  );
  const { failures } = await runFuzz({
    ...{ formats: names, cases: integer('cases', values.cases), seed },
    onReport(report) {
      console.log(row(report));
      if (values.messages)
        for (const [message, count] of Object.entries(report.messages).sort(([, a], [, b]) => b - a)) console.log(`  ${count}x ${message}`);
    },
  });
  for (const { format, number, what, kept } of failures)
    console.log(`\nFAILED ${format}, case ${number}: ${what}\n  ${replayCommand(kept)}`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}
