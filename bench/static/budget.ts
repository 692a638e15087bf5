// A training step of GPT-2 124M (12 layers, width 768, 12 heads of 64, T 1024, vocabulary 50304), 524,288 tokens in 8 micro-batches, as the
// model predicts it: products at the share of the tensor peak that whole kernels are predicted to reach, the rest at their share of DRAM's
// bandwidth. What runs between kernels, and everything that docs/performance.md lists as unseen, is left out.
import { peakGBs, peakTflops } from './model.ts';
import type { Own } from './ours.ts';
import { percent } from './print.ts';
import type { ShapeShare } from './shapes.ts';

const [LAYERS, HEADS, MICRO_BATCHES, ROWS] = [12, 12, 8, 65536];
const SEQUENCES = ROWS / 1024;
const PARAMETERS = 124.5e6;

export interface BudgetRow {
  part: string;
  work: string;
  ms: number;
  note: string;
}

interface Part {
  subject: string;
  name: string;
}
const find = (owns: readonly Own[], { subject, name }: Part): Own => {
  const own = owns.find((o) => o.job.subject === subject && o.job.name === name);
  if (!own?.code) throw new Error(`gpt2 --static: nothing is known of ${subject}: ${name}; it needs a disassembler and all jobs`);
  return own;
};

/** `shares`: what each product of a layer reaches of the tensor peak, with Triton's kernel beside it where one was asked for. */
export function stepBudget(owns: readonly Own[], shares: readonly ShapeShare[]): BudgetRow[] {
  const { arch } = find(owns, { subject: 'matmul', name: 'forward (X W^T)' }).code?.kernel ?? {};
  if (!arch) return [];
  const [flopsMs, bytesMs] = [peakTflops(arch) * 1e9, peakGBs(arch) * 1e6];
  const rows: BudgetRow[] = [];

  // Products: every layer's four, and the head, once per micro-batch.
  let [flops, ours, theirs, known] = [0, 0, 0, true];
  for (const { product: p, own, peer } of shares) {
    const work = 2 * p.M * p.N * p.K * (p.name === 'head' ? 1 : LAYERS) * MICRO_BATCHES;
    flops += work;
    ours += work / flopsMs / own.whole.share;
    known &&= peer !== undefined;
    theirs += peer ? work / flopsMs / peer.whole.share : 0;
  }
  const share = (ms: number): string => `${percent(flops / flopsMs / ms)} of the tensor peak`;
  const peer = known ? `; Triton's best tiles: ${Math.round(theirs)} ms, ${share(theirs)}` : '';
  rows.push({ part: 'products of linear layers', work: `${(flops / 1e12).toFixed(0)} TFLOP`, ms: ours, note: `${share(ours)}${peer}` });

  // Attention: what the job's head of 512 positions executes, tiles that the mask cuts included, four times for one of 1,024; heads and layers.
  const heads = SEQUENCES * HEADS * LAYERS * MICRO_BATCHES;
  for (const [part, name] of [
    ['attention, forward', 'forward, D = 64'],
    ['attention, dK and dV', 'dK and dV, D = 64'],
    ['attention, dQ', 'dQ, D = 64'],
  ] as const) {
    const own = find(owns, { subject: 'attention', name });
    const [mma, ceiling] = [4 * heads * own.profile.main.mmaFlops, own.code?.loop.ceiling ?? 1];
    const note = `${Math.round(100 * ceiling)} % of the tensor peak, the ceiling of its loop`;
    rows.push({ part, work: `${(mma / 1e12).toFixed(1)} TFLOP`, ms: mma / flopsMs / ceiling, note });
  }

  const stream = (part: string, own: Own, bytes: number): void => {
    const ceiling = own.code?.loop.ceiling ?? 1;
    rows.push({
      part,
      work: `${(bytes / 1e9).toFixed(0)} GB`,
      ms: bytes / bytesMs / ceiling,
      note: `${Math.round(100 * ceiling)} % of DRAM, the ceiling of ${own.job.name}`,
    });
  };
  const tokens = ROWS * MICRO_BATCHES;
  const norms = 2 * LAYERS + 1;
  stream('norms with residual, forward', find(owns, { subject: 'layernorm', name: 'residual and norm' }), norms * tokens * 768 * 2 * 4);
  stream('norms, backward', find(owns, { subject: 'layernorm', name: 'backward' }), norms * tokens * 768 * 2 * 4);
  stream('loss and its gradient', find(owns, { subject: 'cross-entropy', name: 'loss and gradient' }), tokens * 50304 * 2 * 2);
  stream('optimizer', find(owns, { subject: 'adamw', name: 'f32 with a bf16 copy' }), PARAMETERS * 30);
  return rows;
}

export function budgetLines(owns: readonly Own[], shares: readonly ShapeShare[]): string[] {
  const rows = stepBudget(owns, shares);
  const total = rows.reduce((sum, r) => sum + r.ms, 0);
  return [
    'GPT-2 124M, a step of 524,288 tokens, as predicted (model, not measured):',
    ...rows.map((r) => `  ${r.part.padEnd(30)} ${r.work.padStart(22)} ${r.ms.toFixed(0).padStart(7)} ms   ${r.note}`),
    `  ${'sum'.padEnd(30)} ${''.padStart(22)} ${total.toFixed(0).padStart(7)} ms   without biases' gradients, embedding, gaps between launches`,
  ];
}
