import { getDefaultDevice } from '../../../lib/tensor/index.ts';
import { attention } from '../../cases/attention.ts';
import type { Case } from '../../cases/case.ts';
import { fp8Linear } from '../../cases/fp8.ts';
import { linear, matmul } from '../../cases/matmul.ts';
import { checkAll } from '../../run/check.ts';
import { forwardProblem, type Layout, runInstance } from '../../run/compare.ts';
import { computesIn } from '../../run/devices.ts';

checkAll('agrees with float64 loops', { max: 9, runs: 60 }, (instance, c) =>
  forwardProblem(instance, runInstance(instance, { backwards: 0 }), c),
);

checkAll('agrees with float64 loops in larger shapes', { max: 70, runs: 4 }, (instance, c) =>
  forwardProblem(instance, runInstance(instance, { backwards: 0 }), c),
);

const LAYOUTS: readonly Layout[] = ['permuted', 'sliced', 'expanded'];
checkAll('takes inputs of any strides', { max: 7, runs: 25, only: (c) => c.layouts }, (instance, c) => {
  for (const layout of LAYOUTS) {
    const problem = forwardProblem(instance, runInstance(instance, { layout, backwards: 0 }), c);
    if (problem !== undefined) return `${layout}: ${problem}`;
  }
  return undefined;
});

/** Products in bf16 need a card that computes in it; others refuse them. */
function refused(c: Case, dtype: 'bf16' | 'f16'): boolean {
  const device = getDefaultDevice();
  return [attention, linear, matmul, fp8Linear].includes(c) && device !== 'cpu' && !computesIn(device, dtype);
}

for (const dtype of ['bf16', 'f16'] as const) {
  checkAll(`keeps ${dtype} and only rounds the result`, { max: 9, runs: 20, only: (c) => c.half }, (instance, c) => {
    if (refused(c, dtype)) return undefined;
    const run = runInstance(instance, { dtype, backwards: 0 });
    if (Object.values(instance.inputs).some((x) => x.dtype === 'f32') && ['f32'].includes(run.dtype))
      return `${instance.label}: ${dtype} became ${run.dtype}`;
    return forwardProblem(instance, run, c);
  });

  checkAll(`takes ${dtype} inputs of any strides`, { max: 20, runs: 8, only: (c) => c.half && c.layouts }, (instance, c) => {
    if (refused(c, dtype)) return undefined;
    for (const layout of LAYOUTS) {
      const problem = forwardProblem(instance, runInstance(instance, { layout, dtype, backwards: 0 }), c);
      if (problem !== undefined) return `${layout}: ${problem}`;
    }
    return undefined;
  });
}
