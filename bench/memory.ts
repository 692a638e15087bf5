// Kernels that are bound by memory, on arrays of four times the last-level cache, in turns with copying or reading the same arrays.
import { native } from '../lib/native/addon.ts';
import * as ops from '../lib/ops/index.ts';
import { RandomSource, scope, setThreads, type Tensor, tensor, zeros } from '../lib/tensor/index.ts';
import { median } from './machine.ts';
import { bandwidth } from './peak.ts';

export interface MemoryRow {
  kernel: string;
  /** Read and written by one run. */
  bytes: number;
  gbPerSecond: number;
  /** What the share is of. */
  of: 'copy' | 'read';
  share: number;
}

const C = 768;

interface Job {
  kernel: string;
  /** Arrays read and written. */
  arrays: number;
  of: 'copy' | 'read';
  run(): unknown;
}

function jobs(x: Tensor, y: Tensor): Job[] {
  const [w, b] = [tensor(new Float32Array(C).fill(1), { device: 'cpu' }), zeros([C], { device: 'cpu' })];
  const random = new RandomSource(1);
  const copy = (kernel: string, arrays: number, run: () => unknown): Job => ({ kernel, arrays, of: 'copy', run });
  return [
    copy('relu', 2, () => ops.relu(x)),
    copy('gelu', 2, () => ops.gelu(x)),
    copy('add', 3, () => ops.add(x, y)),
    copy('swiglu', 3, () => ops.swiglu(x, y)),
    copy('dropout', 2, () => ops.dropout(x, 0.1, random)),
    copy('to bf16', 1.5, () => ops.cast(x, 'bf16')),
    copy('layerNorm', 2, () => ops.layerNorm(x, { weight: w, bias: b })),
    copy('rmsNorm', 2, () => ops.rmsNorm(x, { weight: w })),
    copy('softmax', 2, () => ops.softmax(x)),
    { kernel: 'sum', arrays: 1, of: 'read', run: () => ops.sum(x) },
  ];
}

/** `bytes`: of each array, by default four times the last-level cache. */
export async function benchMemory(o: { threads: number; rounds: number; bytes?: number }): Promise<MemoryRow[]> {
  setThreads(o.threads);
  const wanted = o.bytes ?? 4 * native.info().cacheBytes;
  const rows = Math.ceil(wanted / 4 / C);
  const bytes = rows * C * 4;
  const [x, target] = [zeros([rows, C], { device: 'cpu' }), zeros([rows, C], { device: 'cpu' })];
  return jobs(x, target).map(({ kernel, arrays, of, run }) => {
    const rounds: { rate: number; probe: number }[] = [];
    const probe = (): number => bandwidth([[x, of === 'copy' ? target : null]]);
    for (let i = -1; i < o.rounds; i++) {
      const before = probe();
      native.timeOps('cpu');
      scope(() => void run());
      const ms = native.takeOpTimes('cpu').reduce((sum, t) => sum + t.ms, 0);
      if (i >= 0) rounds.push({ rate: (arrays * bytes) / ms / 1e6, probe: (before + probe()) / 2 });
    }
    const share = median(rounds.map((r) => r.rate / r.probe));
    return { kernel, bytes: arrays * bytes, gbPerSecond: median(rounds.map((r) => r.rate)), of, share };
  });
}
