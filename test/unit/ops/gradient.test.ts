import test from 'ava';
import { mul } from '../../../lib/ops/index.ts';
import { Draw, instance } from '../../cases/case.ts';
import { checkAll } from '../../run/check.ts';
import { forwardProblem, type Layout, runInstance } from '../../run/compare.ts';
import { gradientProblem } from '../../run/grad.ts';

/** Gradients are compared with finite differences, good to some 1e-8, and are sums over elements in f32. */
const TOLERANCE = 5e-5;

checkAll('gradients agree with finite differences', { max: 6, runs: 40 }, (instance) =>
  gradientProblem(instance, runInstance(instance), TOLERANCE),
);

checkAll('gradients agree with finite differences in larger shapes', { max: 40, runs: 2 }, (instance) =>
  gradientProblem(instance, runInstance(instance), TOLERANCE),
);

checkAll('a second backward adds to the gradients', { max: 5, runs: 20 }, (instance) =>
  gradientProblem(instance, runInstance(instance, { backwards: 2 }), TOLERANCE, 2),
);

const LAYOUTS: readonly Layout[] = ['permuted', 'sliced'];
checkAll('gradients of inputs of any strides', { max: 5, runs: 15, only: (c) => c.layouts }, (instance) => {
  for (const layout of LAYOUTS) {
    const problem = gradientProblem(instance, runInstance(instance, { layout }), TOLERANCE);
    if (problem !== undefined) return `${layout}: ${problem}`;
  }
  return undefined;
});

test('a wrong result and a wrong gradient are found', (t) => {
  const wrong = (reference: (x: number) => number) =>
    instance({
      label: 'square',
      inputs: { x: new Draw(1).floats([3, 4]) },
      run: ({ x }) => mul(x, x),
      reference: (v) => v.x.map(reference),
      differentiable: ['x'],
      flops: 0,
    });
  const problems = (reference: (x: number) => number) => {
    const run = runInstance(wrong(reference));
    return [forwardProblem(wrong(reference), run, { tolerance: 1e-6 }), gradientProblem(wrong(reference), run, TOLERANCE)];
  };
  t.deepEqual(
    problems((x) => x * x),
    [undefined, undefined],
  );
  t.regex(problems((x) => x * x * 1.001)[0] ?? '', /^square: scaled error/);
  t.regex(problems((x) => x * x * 1.001)[1] ?? '', /^square: gradient of x/);
  t.regex(problems((x) => x * x + 0.001)[0] ?? '', /^square: scaled error/);
  t.regex(problems(() => Number.NaN)[0] ?? '', /scaled error NaN/);
  t.regex(problems(() => Number.NaN)[1] ?? '', /expected NaN/);
});
