// A program: runs jobs once on a simulated card and prints, on stderr, `job NAME|DEPTH|BYTES` before each, and `end` after it; the simulator
// prints a line of JSON per launch between (SIM_PROFILE=json). launches.ts SUBJECT,SUBJECT
import { writeSync } from 'node:fs';
import { scope, synchronize } from '../../lib/tensor/index.ts';
import { maker } from '../values.ts';
import { JOBS } from './jobs.ts';

const DEVICE = 'cuda:0';
const subjects = (process.argv[2] ?? '').split(',');
const make = maker(DEVICE);
for (const job of JOBS.filter((j) => subjects.includes(j.subject)))
  for (const depth of job.depth ? [job.depth, 2 * job.depth] : [0]) {
    const { run, bytes } = job.prepare(make, depth);
    await synchronize(DEVICE);
    writeSync(2, `\njob ${job.subject}: ${job.name}|${depth}|${bytes}\n`);
    scope(run);
    await synchronize(DEVICE);
    writeSync(2, '\nend\n');
  }
