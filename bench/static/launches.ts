// A program: runs jobs once on a simulated card and prints, on stderr, `job NAME|DEPTH|BYTES` before each, and `end` after it; the simulator
// prints a line of JSON per launch between (SIM_PROFILE=json). launches.ts JOB ..., each `SUBJECT: NAME`
import { writeSync } from 'node:fs';
import { scope, synchronize } from '../../lib/tensor/index.ts';
import { maker } from '../values.ts';
import { JOBS, jobName } from './jobs.ts';
import { MEMORY_JOBS } from './memory.ts';

const DEVICE = 'cuda:0';
const asked = new Set(process.argv.slice(2));
const make = maker(DEVICE);
for (const job of [...JOBS, ...MEMORY_JOBS].filter((j) => asked.has(jobName(j))))
  for (const depth of job.depth ? [job.depth, 2 * job.depth] : [0]) {
    const { run, bytes } = job.prepare(make, depth);
    await synchronize(DEVICE);
    writeSync(2, `\njob ${jobName(job)}|${depth}|${bytes}\n`);
    scope(run);
    await synchronize(DEVICE);
    writeSync(2, '\nend\n');
  }
