// The records of `npm run check:gpu`: bench/results/*.json with "kind": "check:gpu".
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './tools.mjs';

export const RESULTS = path.join(root, 'bench/results');

// What must have passed for the kernels to count as verified: that their tests did, and that these tests can fail.
const DECISIVE = ['build', 'kernels', 'canary'];

export function readRecords(folder = RESULTS) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8')))
    .filter((record) => record.kind === 'check:gpu');
}

// Of a real card alone; a simulated one proves nothing about hardware.
export function verifies(record) {
  const passed = (name) => record.steps.some((step) => step.name === name && step.outcome === 'passed');
  return record.simulated === false && DECISIVE.every(passed);
}

// source, hash and the latest record that verified this very hash; undefined where none did.
export function statusOf(hashes, records) {
  const latest = records.filter(verifies).sort((a, b) => (a.date < b.date ? 1 : -1));
  return Object.entries(hashes).map(([source, hash]) => ({
    source,
    hash,
    record: latest.find(({ kernels }) => kernels[source] === hash),
    before: latest.find(({ kernels }) => source in kernels), // of other text
  }));
}
