// GPT-2's products with the tiles that the backend takes for them, beside the tiles that it could have taken and Triton's: whole kernels, as
// predicted.
import type { LoopReport } from './model.ts';
import type { Peer } from './peers.ts';
import { type Plan, planTile } from './plans.ts';
import { percent } from './print.ts';
import type { Product } from './products.ts';
import type { TileOwn } from './tiles.ts';
import { outsideOf, type TileKernel, tileOf, type WholeShare, wholeShare } from './whole.ts';

/** A whole product by one kernel. */
export interface Candidate {
  name: string;
  chunks: number;
  loop: LoopReport;
  whole: WholeShare;
}

export interface ShapeShare {
  product: Product;
  own: Candidate;
  /** The best of the tiles that were not taken. */
  other?: Candidate;
  /** Triton's best. */
  peer?: Candidate;
}

const best = (all: readonly Candidate[]): Candidate | undefined => all.toSorted((a, b) => b.whole.share - a.whole.share)[0];

function ownTile({ job, profile, code }: TileOwn): TileKernel | undefined {
  const known = tileOf(profile.main.kernel);
  if (!code || !known || !job.depth) return undefined;
  const { kernel, loop, hot } = code;
  return { ...known, kernel, loop, hot, outside: outsideOf(kernel, loop, profile, job.depth, known.m, known.n) };
}

function peerTile({ tile, kernel, loop, hot }: Peer): TileKernel | undefined {
  if (!tile) return undefined;
  return {
    kernel,
    loop,
    hot,
    m: tile[0],
    n: tile[1],
    cluster: 1,
    persistent: false,
    outside: (kernel.flow.once.length * kernel.threads) / 32,
  };
}

/** Triton's kernels for sums over rows may cut K as well, if somebody writes them so: here as if the parts were added up for nothing. */
const PEER_CHUNKS: Record<Product['kind'], readonly number[]> = { forward: [1], dX: [1], dW: [1, 2, 4, 8, 12, 16] };

/** `owns`: of every tile. Products of which no tile is known are left out. */
export function shapeShares(owns: readonly TileOwn[], plans: ReadonlyMap<Product, Plan>, peers: readonly Peer[]): ShapeShare[] {
  const tiles = owns.map((own) => ({ own, kernel: ownTile(own) }));
  return [...plans].flatMap(([product, plan]) => {
    const ours = tiles.flatMap(({ own, kernel }): Candidate[] => {
      if (!kernel || own.job.product !== product.kind) return [];
      return [{ name: own.tile, chunks: plan.chunks, loop: kernel.loop, whole: wholeShare(kernel, product, plan) }];
    });
    const own = ours.find((c) => c.name === planTile(plan));
    if (!own) return [];
    const theirs = peers
      .filter((p) => p.job === product.kind)
      .flatMap((p): Candidate[] => {
        const kernel = peerTile(p);
        if (!kernel) return [];
        return PEER_CHUNKS[product.kind].map((chunks) => ({
          ...{ name: p.name, chunks, loop: p.loop },
          whole: wholeShare(kernel, product, { chunks, chunkK: product.K / chunks }),
        }));
      });
    const [other, peer] = [best(ours.filter((c) => c !== own)), best(theirs)];
    return [{ product, own, ...(other && { other }), ...(peer && { peer }) }];
  });
}

const cut = ({ name, chunks }: Candidate): string => (chunks > 1 ? `${name}, K in ${chunks} parts` : name);

/** What another tile would save, where that is worth a change of how tiles are chosen. */
function worse(own: Candidate, other: Candidate): string {
  const saved = 1 - own.whole.share / other.whole.share;
  return saved > 0.05 ? `, which would take ${percent(saved)} less time` : '';
}

export function shapeLines(shares: readonly ShapeShare[]): string[] {
  return shares.map(({ product: p, own, other, peer }) => {
    const { share, outside, fill } = own.whole;
    const parts = [
      `  whole ${p.kind} ${p.name} ${p.M}x${p.N}x${p.K}: ${percent(share)} with ${cut(own)}`,
      ` (loop ${percent(own.loop.ceiling)}, ${percent(outside)} outside of it, waves ${percent(fill)} full)`,
      other ? `; ${percent(other.whole.share)} with ${other.name}${worse(own, other)}` : '',
      peer
        ? `; Triton ${percent(peer.whole.share)} with ${cut(peer)} (loop ${percent(peer.loop.ceiling)}, waves ${percent(peer.whole.fill)} full)`
        : '',
    ];
    return parts.join('');
  });
}
