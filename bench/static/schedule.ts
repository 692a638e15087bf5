// A simulated schedule of one loop: how many cycles an iteration takes when `warps` warps of one scheduler share it. In-order issue by the
// encoded stall counts and scoreboards, one instruction per cycle, greedy then youngest; pipes at the rates of archs.ts with short queues;
// block barriers, groups of cp.async and of wgmma. An estimate, good to 10 or 15 points: a model, not a measurement.
import { type Arch, dramBytes } from './archs.ts';
import { type Cost, charges, type Instruction, latency } from './instruction.ts';

export interface Schedule {
  warps: number;
  /** Warps of one block on this scheduler. */
  group: number;
  /** Cycles until memory answers. */
  memory: number;
  /** Cycles of the L2 port and of shared memory that TMA takes per iteration of a block, and the waits that they come with. */
  fill?: { l2: number; smem: number; waits: number } | undefined;
  /** 0 starts the blocks together, 1 spaces them evenly over an iteration. */
  late?: number;
  /** Of the bytes that are loaded and stored, the share that comes from DRAM. */
  dramShare?: number;
  /** A warp alone on its multiprocessor. */
  alone?: boolean;
}

/** One per multiprocessor; the other pipes are one per sub-partition. */
export const SHARED_PIPES = new Set(['smem', 'l2', 'dram']);
/** Cycles of work that wait in front of a pipe before issue blocks. */
const QUEUE: Record<string, number> = { smem: 64, l2: 2048, dram: 8192, xu: 16, tensor: 0 };
const GMMA_QUEUE = 320;

const isGmma = (c: Instruction): boolean => c.root.endsWith('GMMA');

/** What one warp's path takes of each pipe, the bytes of a streaming kernel charged to DRAM as well. */
export function pathCharges(path: readonly Instruction[], arch: Arch, dramShare = 1): Cost[] {
  const streaming = !path.some((c) => c.flops > 0);
  return path.map((c) => {
    const cost = charges(c, arch);
    if (streaming && cost.l2 !== undefined) cost.dram = (128 * c.width * dramShare) / dramBytes(arch);
    return cost;
  });
}

interface Warp {
  at: number;
  turn: number;
  ready: number; // by stalls
  base: number; // by scoreboards too
  blocked: boolean;
  boards: number[][]; // completion times of what each scoreboard waits for
  copies: number; // when the last cp.async lands
  gmma: number[];
  marks: number[]; // ends of iterations
}

// When the warp's next instruction may issue, by its control field; pipes come on top.
function readyAt(w: Warp, c: Instruction): number {
  let t = w.ready;
  for (let b = 0; b < 6; b++) if ((c.wait >> b) & 1) t = Math.max(t, ...(w.boards[b] as number[]));
  let queue: number[] = [];
  let keep = 0;
  const board = c.root === 'DEPBAR' ? /SB(\d), (0x[0-9a-f]+)/.exec(c.operands) : null;
  if (board) [queue, keep] = [(w.boards[Number(board[1])] as number[]).toSorted((a, b) => a - b), Number(board[2])];
  else if (c.op.startsWith('WARPGROUP.DEPBAR')) [queue, keep] = [w.gmma, Number(c.args.at(-1))];
  return queue.length > keep ? Math.max(t, queue[queue.length - keep - 1] as number) : t;
}

/** Cycles per iteration of the path. */
export function simulate(path: readonly Instruction[], arch: Arch, o: Schedule): number {
  const { warps, group, memory, fill, late = 0 } = o;
  const n = path.length;
  const rounds = Math.max(4, Math.min(24, Math.floor(6000 / (n * warps))));
  const warm = rounds >> 1;
  let costs = pathCharges(path, arch, o.dramShare).map((cost) => Object.entries(cost));
  if (o.alone) costs = costs.map((cost) => cost.map(([p, v]) => [p, SHARED_PIPES.has(p) ? v / 4 : v]));
  const depth = path.map((c) => (isGmma(c) ? GMMA_QUEUE : 0));
  const free: Record<string, number> = {}; // pipe -> when it can start the next instruction
  const freeAt = (p: string): number => free[p] ?? 0;
  const spread = (late * path.reduce((s, c) => s + c.stall, 0) * group) / warps;
  const all = Array.from({ length: warps }, (_, i): Warp => {
    const ready = Math.floor(i / group) * spread;
    return { at: 0, turn: 0, ready, base: ready, blocked: false, boards: [[], [], [], [], [], []], copies: 0, gmma: [], marks: [] };
  });
  const arrived = new Map<string, number[]>();
  let incoming: [time: number, cycles: number][] = []; // writes of LDGSTS and LDG into shared memory and L1
  let clock = 0;
  let last = 0;

  for (;;) {
    let chosen = -1;
    let t = Number.POSITIVE_INFINITY;
    all.forEach((w, i) => {
      if (w.turn >= rounds || w.blocked) return;
      let time = Math.max(clock, w.base);
      for (const [p] of costs[w.at] as [string, number][]) time = Math.max(time, freeAt(p) - (depth[w.at] || (QUEUE[p] ?? 0)));
      if (time < t || (time === t && (i === last || (chosen !== last && i > chosen)))) [chosen, t] = [i, time];
    });
    if (chosen < 0) break;
    const w = all[chosen] as Warp;
    const c = path[w.at] as Instruction;
    const cost = costs[w.at] as [string, number][];
    [clock, last] = [t + 1, chosen];
    for (const [when, cycles] of incoming.filter(([when]) => when <= t).sort((a, b) => a[0] - b[0]))
      free.smem = Math.max(freeAt('smem'), when) + cycles;
    incoming = incoming.filter(([when]) => when > t);
    const brings = c.root === 'LDGSTS' || c.root === 'LDG';
    let done = t;
    for (const [p, cycles] of cost) {
      if (p === 'smem' && brings) continue;
      const begin = Math.max(t, freeAt(p));
      free[p] = begin + cycles;
      done = Math.max(done, begin + cycles / (SHARED_PIPES.has(p) && !isGmma(c) ? 4 : 1));
    }
    if (c.root === 'LDGDEPBAR') done = Math.max(w.copies, t + 4);
    else if (c.pipe !== 'tensor') done += latency(c, arch, memory);
    else if (isGmma(c)) {
      done += arch.latency.hgmma as number;
      if (c.operands.includes('gsb0')) w.gmma = [...w.gmma.filter((g) => g > t), done];
    }
    const smem = cost.find(([p]) => p === 'smem')?.[1];
    if (brings && smem !== undefined) {
      incoming.push([done, smem]);
      w.copies = Math.max(w.copies, done);
    }
    if (fill && c.op.includes('PHASECHK')) {
      // the stage that is waited for was written by TMA
      free.l2 = Math.max(freeAt('l2'), t) + fill.l2 / group / fill.waits;
      free.smem = Math.max(freeAt('smem'), t) + fill.smem / group / fill.waits;
    }
    w.boards = w.boards.map((b) => b.filter((x) => x > t));
    w.boards[c.writeBar]?.push(done);
    if (c.readBar < 6) w.boards[c.readBar]?.push(Math.min(done, Math.max(...(cost.length ? cost.map(([p]) => freeAt(p)) : [t])) + 12));
    w.ready = t + Math.max(1, c.stall);
    if (++w.at === n) {
      w.at = 0;
      w.turn++;
      w.marks.push(t);
    }
    w.base = readyAt(w, path[w.at] as Instruction);
    if (c.root === 'BAR' && c.op.includes('SYNC') && group > 1 && c.args.length < 2) {
      const key = `${Math.floor(chosen / group)} ${w.at} ${w.turn}`; // where they go on
      const here = [...(arrived.get(key) ?? []), chosen];
      arrived.set(key, here);
      w.blocked = true;
      if (here.length === group)
        for (const i of here) {
          const other = all[i] as Warp;
          other.ready = t + (arch.latency.bar as number);
          other.base = readyAt(other, path[other.at] as Instruction);
          other.blocked = false;
        }
    }
  }
  const spans = all.map((w) => (w.marks.at(-1) as number) - (w.marks[warm - 1] as number));
  return spans.reduce((a, b) => a + b, 0) / warps / (rounds - warm);
}
