// The report in words. Shares of a peak, cycles and counts; never TFLOP/s, because nothing here was measured.
import { jobName } from './jobs.ts';
import type { LoopReport } from './model.ts';
import type { Own } from './ours.ts';
import type { Peer } from './peers.ts';
import type { Profile, Traffic } from './profile.ts';
import { instructionsPerMflop } from './recorded.ts';
import { kernelRemarks, loopRemarks } from './remarks.ts';

export const percent = (x: number): string => `${Math.round(100 * x)} %`;
const span = ([low, high]: [number, number]): string =>
  Math.round(100 * low) === Math.round(100 * high) ? percent(high) : `${Math.round(100 * low)}-${percent(high)}`;
export const times = (x: number): string => `${x.toFixed(2)}x`;

const perMma = (r: LoopReport): string => (r.mmas > 0 ? `${(r.instructions / r.mmas).toFixed(2)} per MMA` : '');

function sectors(name: string, t: Traffic): string {
  if (t.requests === 0) return '';
  return `${name} ${times(t.sectors / t.idealSectors)} the ideal sectors, ${Math.round(t.bytes / t.requests / 32)} B a thread`;
}

function profileLines({ main, bytes }: Profile): string[] {
  const moved = main.globalLoad.bytes + main.globalStore.bytes;
  const parts = [
    `${main.conflicts} bank conflicts in ${main.wavefronts} wavefronts`,
    sectors('loads', main.globalLoad),
    sectors('stores', main.globalStore),
    main.bulkBytes > 0 ? `${main.bulkBytes} B by TMA` : '',
    bytes > 0 ? `asks for ${times(moved / bytes)} the bytes of its operands` : '',
  ];
  return [`simulated launch: ${parts.filter((p) => p !== '').join('; ')}`];
}

const verdict = (r: LoopReport): string =>
  `ceiling ${percent(r.ceiling)} of ${r.unit}, bound by ${r.binding}; scheduled ${span(r.l2)} (data in L2), ${span(r.dram)} (in DRAM)`;

export function ownLines(own: Own): string[] {
  const { job, profile, code, source } = own;
  const head = `${jobName(job)}   ${profile.main.kernel}, ${source}`;
  if (!code) return [head, ...profileLines(profile).map((l) => `  ${l}`)];
  const { kernel, loop, hot } = code;
  const cycles = Object.entries(loop.cycles)
    .filter(([, v]) => v >= 1)
    .sort((a, b) => b[1] - a[1])
    .map(([pipe, v]) => `${pipe} ${Math.round(v)}`);
  const mma = Object.entries(loop.mma).map(([name, n]) => `${n} ${name}`);
  const counted = [
    `${loop.instructions} instructions`,
    ...mma,
    perMma(loop),
    loop.flops > 0 ? `${Math.round(instructionsPerMflop(loop))} per MFLOP` : '',
    `stalls ${loop.stalls}`,
    loop.bytes > 0 ? `${loop.bytes} B global a warp` : '',
    loop.tmaBytes > 0 ? `${loop.tmaBytes} B by TMA a block` : '',
  ].filter((p) => p !== '');
  return [
    head,
    `  ${kernel.registers} registers, ${kernel.threads} threads, ${kernel.staticShared + kernel.dynamicShared} B shared: ` +
      `${kernel.blocksPerSm} block${kernel.blocksPerSm === 1 ? '' : 's'} a multiprocessor, by ${kernel.limiter}`,
    `  ${loop.loop}: ${counted.join(', ')}`,
    `  cycles of ${loop.warps} warps a scheduler${loop.specialised ? ' (producers left out)' : ''}: ${cycles.join(', ')}`,
    `  ${verdict(loop)}`,
    ...profileLines(profile).map((l) => `  ${l}`),
    ...[...kernelRemarks(kernel), ...loopRemarks(kernel, hot, loop)].map((l) => `  ! ${l}`),
  ];
}

/** By ceiling, then by schedule. */
export const byPromise = (a: Peer, b: Peer): number =>
  b.loop.ceiling - a.loop.ceiling || b.loop.l2[0] + b.loop.l2[1] - a.loop.l2[0] - a.loop.l2[1];

export function peerLines(peers: readonly Peer[]): string[] {
  const best = peers.toSorted(byPromise)[0];
  if (!best) return [];
  const { loop, kernel } = best;
  const counted = [`${kernel.registers} registers`, loop.mmas > 0 ? perMma(loop) : `${loop.instructions} instructions`];
  return [`  Triton ${best.version}, best of ${peers.length}, ${best.name}: ${verdict(loop)}; ${counted.join(', ')}`];
}
