// recorded.json: what the hot loops were when they were last accepted, for the comparison in `npm run resources`. Exact facts and ceilings
// only; schedules are estimates. Written by `npm run bench -- --static --record`.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { jobName } from './jobs.ts';
import type { LoopReport } from './model.ts';
import { dramShareOf, type Own } from './ours.ts';

export interface RecordedLoop {
  sm: number;
  job: string;
  kernel: string;
  source: string;
  threads: number;
  dynamicShared: number;
  dramShare: number;
  walks?: boolean;
  /** Of the tensor pipe's peak, or of DRAM. */
  ceiling: number;
  /** 0 without MMA. */
  instructionsPerMflop: number;
  /** Of its machine code: where there is no disassembler, another one asks for a record. */
  code: string;
}
export interface Recorded {
  compiler: string;
  loops: RecordedLoop[];
}

const FILE = path.join(import.meta.dirname, 'recorded.json');
const round = (x: number): number => Number(x.toPrecision(6));
export const instructionsPerMflop = (r: LoopReport): number => (r.flops > 0 ? (r.instructions * 1e6) / r.flops : 0);

export const readRecorded = (file = FILE): Recorded => JSON.parse(readFileSync(file, 'utf8')) as Recorded;

export function record(compiler: string, rows: readonly { sm: number; own: Own }[]): void {
  const loops = rows.flatMap(({ sm, own }): RecordedLoop[] => {
    const { job, profile, code, source } = own;
    if (!code) return [];
    const { kernel, threads, dynamicShared } = profile.main;
    const facts = {
      ...{ ceiling: round(code.loop.ceiling), instructionsPerMflop: round(instructionsPerMflop(code.loop)) },
      code: code.hash,
    };
    return [
      {
        sm,
        job: jobName(job),
        kernel,
        source,
        threads,
        dynamicShared,
        dramShare: round(dramShareOf(profile, job.walks)),
        ...(job.walks && { walks: true }),
        ...facts,
      },
    ];
  });
  writeFileSync(FILE, `${JSON.stringify({ compiler, loops }, null, 2)}\n`);
  console.log(`\nrecorded ${loops.length} loops in ${path.relative(process.cwd(), FILE)}`);
}

/** What got worse than recorded; empty: nothing. */
export function regressions(was: RecordedLoop, now: LoopReport): string[] {
  const found: string[] = [];
  const [before, after] = [was.instructionsPerMflop, instructionsPerMflop(now)];
  const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
  if (after > 1.05 * before) found.push(`${Math.round(after)} instructions per MFLOP, recorded were ${Math.round(before)}`);
  if (now.ceiling < was.ceiling - 0.005)
    found.push(`a ceiling of ${percent(now.ceiling)} of ${now.unit} (bound by ${now.binding}), recorded was ${percent(was.ceiling)}`);
  return found;
}
