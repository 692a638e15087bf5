// npm run gpu:status: which kernels ran on a real card in their present text, by the records that `npm run check:gpu` wrote to bench/results.
import { readRecords, statusOf } from './check-record.mjs';
import { kernelHash, kernelSources } from './kernel-sources.mjs';

const hashes = Object.fromEntries(kernelSources().map((source) => [source, kernelHash(source)]));
const rows = statusOf(hashes, readRecords());
const day = ({ date, card }) => `${date.slice(0, 10)} ${card}`;
const width = Math.max(...rows.map((row) => row.source.length), 'kernel'.length);
console.log(`${'kernel'.padEnd(width)}  ${'hash'.padEnd(16)}  last verified`);
for (const { source, hash, record, before } of rows) {
  const verdict = record ? day(record) : before ? `waiting (changed since ${day(before)})` : 'waiting';
  console.log(`${source.padEnd(width)}  ${hash}  ${verdict}`);
}
const waiting = rows.filter((row) => !row.record).length;
console.log(
  waiting
    ? `${waiting} of ${rows.length} kernel sources wait for a real GPU: npm run check:gpu`
    : `all ${rows.length} kernel sources are verified on a real GPU`,
);
