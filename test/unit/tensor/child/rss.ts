// Prints [bytes by which the resident size grew, bytes of tensors left over] of 10,000 steps that never let the event loop run. Of two
// times 10,000, the lesser growth: the compiler may still take some memory for itself in the first, a leak grows in both.
import { memory, scope, tensor, zeros } from '../../../../lib/index.ts';

const collect = (globalThis as { gc?: () => void }).gc as () => void;
const w = zeros([64, 64], { requiresGrad: true });
const x = tensor(new Float32Array(16 * 64).fill(0.5), { shape: [16, 64] });

function steps(n: number): number {
  for (let i = 0; i < n; i++)
    scope(() => {
      const y = x.matmul(w).add(1).gelu().square().mean();
      y.backward();
      w.zeroGrad();
      if (i % 10 === 0) y.itemSync();
    });
  collect();
  const { rss, heapTotal, heapUsed } = process.memoryUsage();
  return rss - heapTotal + heapUsed; // what the collector's heap has in reserve grows when it likes
}

steps(6000); // until the collector and the compiler have settled, which on a busy machine takes long
const before = steps(1000);
const { used } = memory();
const [first, second] = [steps(10_000), steps(10_000)];
console.log(JSON.stringify([Math.min(first - before, second - first), memory().used - used]));
