// f32 products of GPT-2 124M's training step (B 4, T 256), all three of every linear layer, as shares of the FMA peak.
import { matmul } from '../lib/ops/index.ts';
import { setThreads, type Tensor } from '../lib/tensor/index.ts';
import { besidePeak, calibrateBurst, type Share } from './peak.ts';
import { maker } from './values.ts';

export interface MatmulRow extends Share {
  product: string;
  shape: [M: number, N: number, K: number];
}

const LAYERS: readonly [name: string, inputs: number, outputs: number][] = [
  ['qkv', 768, 2304],
  ['proj', 768, 768],
  ['up', 768, 3072],
  ['down', 3072, 768],
  ['head', 768, 50257],
];

export function benchMatmul(o: { threads: number; rounds: number; small: boolean }): MatmulRow[] {
  setThreads(o.threads);
  calibrateBurst();
  const make = maker('cpu');
  const rows: MatmulRow[] = [];
  const R = o.small ? 64 : 1024;
  for (const [name, inputs, outputs] of o.small ? LAYERS.slice(0, 2) : LAYERS) {
    const [x, w, dy] = [make([R, inputs]), make([outputs, inputs]), make([R, outputs])];
    const products: [string, MatmulRow['shape'], () => Tensor][] = [
      [`${name} x W^T`, [R, outputs, inputs], () => matmul(x, w, { transB: true })],
      [`${name} dY W`, [R, inputs, outputs], () => matmul(dy, w)],
      [`${name} dY^T x`, [outputs, inputs, R], () => matmul(dy, x, { transA: true })],
    ];
    for (const [product, shape, run] of products) {
      const operations = 2 * shape[0] * shape[1] * shape[2];
      rows.push({ product, shape, ...besidePeak(() => void run(), ['matmul'], operations, o.rounds) });
    }
    for (const t of [x, w, dy]) t.dispose();
  }
  return rows;
}
