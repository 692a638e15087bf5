// The loops of a kernel, from its control flow: natural loops, how they nest, and of each the hot path: the way through one iteration that
// does all tensor and memory work with the fewest instructions. A causal mask that most iterations skip is off it.
import path from 'node:path';
import type { Instruction, Line } from './instruction.ts';
import type { Kernel } from './sass.ts';

export interface Loop {
  /** `loop mma.cuh:155`; `whole kernel` has depth -1. */
  name: string;
  depth: number;
  nested: number;
  /** Instructions of the hot path in order, and all of them, both without the loops inside. */
  path: Instruction[];
  all: Instruction[];
  /** Numbers of its basic blocks. */
  blocks: ReadonlySet<number>;
}

export interface Flow {
  loops: Loop[];
  /** The way from entry to exit, without the loops. */
  once: Instruction[];
  /** Everything that can be reached and is in no loop. */
  outside: Instruction[];
}

interface Graph {
  /** Instructions of a block: [start, end). */
  blocks: [start: number, end: number][];
  next: number[][];
}

const ENDS = new Set(['EXIT', 'RET', 'BRX', 'KILL']);

export const lineName = (lines: readonly Line[]): string => {
  const [first] = lines;
  return first ? `${path.posix.basename(first[0])}:${first[1]}` : 'no line';
};

function graphOf({ code, labels }: Kernel): Graph {
  const index = new Map(code.map((c, i) => [c.address, i]));
  const target = (c: Instruction): number | undefined => {
    const label = /`\(([^)]+)\)/.exec(c.operands)?.[1];
    const address = label === undefined ? undefined : labels.get(label);
    return address === undefined ? undefined : index.get(address);
  };
  const leaders = new Set([0]);
  const jumps = new Map<number, number | undefined>();
  const sync = new Map<string, number | undefined>();
  code.forEach((c, i) => {
    if (c.root === 'BSSY') sync.set(c.args[0] as string, target(c));
    // ptxas also leaves loops by a CALL that never returns
    if (c.root === 'BRA' || c.root === 'JMP' || (c.root === 'CALL' && c.operands.includes('`(.L'))) jumps.set(i, target(c));
    else if (c.root === 'BSYNC') jumps.set(i, sync.get(c.args.at(-1) as string) ?? i + 1);
    else if (!ENDS.has(c.root)) return;
    leaders.add(i + 1);
    const to = jumps.get(i);
    if (to !== undefined) leaders.add(to);
  });
  const starts = [...leaders].filter((s) => s < code.length).sort((a, b) => a - b);
  const blocks = starts.map((s, i): [number, number] => [s, starts[i + 1] ?? code.length]);
  const of = new Map(blocks.map(([s], n) => [s, n]));
  const next = blocks.map(([, end]) => {
    const last = code[end - 1] as Instruction;
    const conditional = last.predicate !== '' || /\.ANY|\.DIV/.test(last.op) || /^!?U?P\d/.test(last.operands);
    const to: number[] = [];
    const jump = jumps.get(end - 1);
    const taken = jump === undefined ? undefined : of.get(jump);
    if (taken !== undefined) to.push(taken);
    const falls = of.get(end);
    if (falls !== undefined && (conditional || !(ENDS.has(last.root) || jumps.has(end - 1)))) to.push(falls);
    return to;
  });
  return { blocks, next };
}

interface Walk {
  /** Header -> the blocks that jump back to it. */
  back: Map<number, number[]>;
  before: Map<number, number[]>;
  /** Reachable blocks in reverse post-order: block -> rank. */
  rank: Map<number, number>;
}

// Depth-first; ptxas' graphs are reducible, so an edge to a block on the stack closes a loop.
function walk({ next }: Graph): Walk {
  const push = (map: Map<number, number[]>, key: number, value: number): void => void map.set(key, [...(map.get(key) ?? []), value]);
  const [back, before] = [new Map<number, number[]>(), new Map<number, number[]>()];
  const [seen, on, done] = [new Set([0]), new Set([0]), [] as number[]];
  const stack: [block: number, at: number][] = [[0, 0]];
  while (stack.length > 0) {
    const top = stack.at(-1) as [number, number];
    const to = next[top[0]]?.[top[1]++];
    if (to === undefined) {
      done.push(top[0]);
      on.delete(top[0]);
      stack.pop();
      continue;
    }
    push(before, to, top[0]);
    if (on.has(to)) push(back, to, top[0]);
    else if (!seen.has(to)) {
      seen.add(to);
      on.add(to);
      stack.push([to, 0]);
    }
  }
  return { back, before, rank: new Map(done.reverse().map((b, i) => [b, i])) };
}

type Weight = [flops: number, bytes: number, minusLength: number];
const heavier = (a: Weight, b: Weight): boolean => {
  const i = a.findIndex((x, k) => x !== b[k]);
  return i >= 0 && (a[i] as number) > (b[i] as number);
};

export function findLoops(kernel: Kernel): Flow {
  const graph = graphOf(kernel);
  const { back, before, rank } = walk(graph);
  const inOrder = (blocks: Iterable<number>): number[] => [...blocks].sort((a, b) => a - b);
  const code = (blocks: Iterable<number>): Instruction[] =>
    [...blocks].flatMap((b) => kernel.code.slice(...(graph.blocks[b] as [number, number])));
  const lastOf = (b: number): Instruction => kernel.code[(graph.blocks[b] as [number, number])[1] - 1] as Instruction;
  const reachable = new Set(rank.keys());

  // Blocks of the hot path from `start` to one of `ends`, in order of execution.
  // `fills`: TMA is what the path is for; where others bring the tiles, what a loop of products loads is rare.
  const hotPath = (start: number, inside: ReadonlySet<number>, ends: readonly number[], fills = true): number[] => {
    const best = new Map<number, { weight: Weight; onward: number | undefined }>();
    const byRank = [...inside].filter((b) => rank.has(b)).sort((a, b) => (rank.get(b) as number) - (rank.get(a) as number));
    for (const b of byRank) {
      const mine: Weight = [0, 0, 0];
      for (const c of code([b])) {
        mine[0] += c.flops;
        mine[1] += c.root === 'UTMALDG' ? (fills ? 4096 : 0) : c.off ? 0 : 32 * c.width;
        mine[2] -= 1;
      }
      let chosen: { weight: Weight; onward: number | undefined } | undefined = ends.includes(b)
        ? { weight: [0, 0, 0], onward: undefined }
        : undefined;
      for (const to of graph.next[b] ?? []) {
        const there = best.get(to);
        if (!there || (rank.get(to) as number) <= (rank.get(b) as number)) continue;
        if (!chosen || heavier(there.weight, chosen.weight)) chosen = { weight: there.weight, onward: to };
      }
      if (chosen) best.set(b, { weight: mine.map((x, i) => x + (chosen.weight[i] as number)) as Weight, onward: chosen.onward });
    }
    const path: number[] = [];
    for (let b: number | undefined = start; b !== undefined; b = best.get(b)?.onward) path.push(b);
    return path;
  };

  const found: { header: number; latches: number[]; blocks: Set<number> }[] = [];
  for (const [header, latches] of back) {
    const blocks = new Set([header]);
    const work = [...latches];
    for (let b = work.pop(); b !== undefined; b = work.pop()) {
      if (blocks.has(b)) continue;
      blocks.add(b);
      work.push(...(before.get(b) ?? []));
    }
    const body = code(blocks);
    // Loops that only wait for a barrier, and those that run once for lanes that agree, are none.
    const spins =
      body.length <= 16 &&
      body.some((c) => ['SYNCS', 'NANOSLEEP', 'USETMAXREG'].includes(c.root)) &&
      !body.some((c) => ['tensor', 'shared', 'global', 'fma'].includes(c.pipe));
    const lanes = latches.some((b) => lastOf(b).op.includes('.ANY'));
    if (body.length > 1 && !spins && !lanes) found.push({ header, latches, blocks });
  }

  const works = ({ blocks }: { blocks: ReadonlySet<number> }): boolean => code(blocks).some((c) => c.flops > 0);
  const producers = found.some((l) => !works(l) && code(l.blocks).some((c) => c.root === 'UTMALDG'));
  const inLoops = new Set(found.flatMap((l) => [...l.blocks]));
  const exits = [...reachable].filter((b) => lastOf(b).root === 'EXIT' || lastOf(b).root === 'RET');
  const once = hotPath(0, reachable, exits);
  const within = (a: ReadonlySet<number>, b: ReadonlySet<number>): boolean => a.size < b.size && [...a].every((x) => b.has(x));
  const start = (header: number): number => (graph.blocks[header] as [number, number])[0];
  const loops: Loop[] = found
    .toSorted((a, b) => start(a.header) - start(b.header))
    .map(({ header, latches, blocks }) => {
      const nested = found.filter((o) => within(o.blocks, blocks));
      const inner = new Set(nested.flatMap((o) => [...o.blocks]));
      const outer = found.filter((o) => within(blocks, o.blocks));
      return {
        name: `loop ${lineName(lastOf(Math.max(...latches)).lines)}`,
        ...{ depth: outer.length, nested: nested.length, blocks },
        path: code(hotPath(header, blocks, latches, !(producers && works({ blocks }))).filter((b) => !inner.has(b))),
        all: code(inOrder(blocks).filter((b) => !inner.has(b))),
      };
    });
  if (!kernel.code.some((c) => c.flops > 0)) {
    // short streaming kernels: one block follows another
    const all = code(inOrder(reachable));
    loops.push({ name: 'whole kernel, every loop once', depth: -1, nested: 0, path: code(once), all, blocks: reachable });
  }
  return {
    loops,
    once: code(once.filter((b) => !inLoops.has(b))),
    outside: code(inOrder(reachable).filter((b) => !inLoops.has(b))),
  };
}
