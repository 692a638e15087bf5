// Which tile and how many chunks of K the CUDA backend takes for a product on a card, by its own functions (cuda/matmul/config.h): they are
// host code, compiled here.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { packageRoot } from '../../lib/native/load.ts';
import { archOf } from './archs.ts';
import type { Product } from './products.ts';

export interface Plan {
  /** Rows and columns of a block's piece of the result. */
  m: number;
  n: number;
  /** Parts that K is cut into, computed side by side, and the depth of one. */
  chunks: number;
  chunkK: number;
}

export const planTile = ({ m, n }: Plan): string => `${m}x${n}`;

function run(what: string, command: string, args: readonly string[], input = ''): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: packageRoot(), encoding: 'utf8', input });
  if (status !== 0) throw new Error(`static report: ${what} failed: ${(error?.message ?? stderr).trim()}`);
  return stdout;
}

/** The plan of every product, on the card that stands for an architecture. */
export function plansOf(sm: number, products: readonly Product[]): Map<Product, Plan> {
  if (products.length === 0) return new Map();
  const { sms, sharedKib } = archOf(sm);
  const folder = mkdtempSync(path.join(tmpdir(), 'heddle-plans-'));
  try {
    const program = path.join(folder, 'plans');
    const source = path.join('bench', 'static', 'plans.cc');
    run('compiling plans.cc', process.env.CXX ?? 'c++', ['-std=c++20', '-Inative', '-Icuda', source, '-o', program]);
    const asked = products.map(({ kind, M, N, K }) => `${kind} ${M} ${N} ${K}\n`).join('');
    const lines = run('plans', program, [sm, sms, sharedKib].map(String), asked).trim().split('\n');
    return new Map(
      products.map((product, i) => {
        const [m, n, chunks, chunkK] = (lines[i] ?? '').split(' ').map(Number) as [number, number, number, number];
        return [product, { m, n, chunks, chunkK }];
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}
