// Gradients of a run against central finite differences of the host's float64 reference.
import { Draw, type Instance } from '../cases/case.ts';
import type { Run } from './compare.ts';

const STEP = 1e-5;
/** Elements of each input that are checked one by one; a random direction checks all of them together. */
const ELEMENTS = 12;

/** Gradients below this are compared as if they were this large: those of a softmax over one element are 0 but for rounding. */
const SMALLEST = 0.1;

/** Σ y·dy of the reference with an input moved by `step` along a direction. */
function lossAt(instance: Instance, run: Run, name: string, move: (data: Float64Array) => void): number {
  const data = Float64Array.from(run.values[name] as Float64Array);
  move(data);
  const y = instance.reference({ ...run.values, [name]: data });
  let sum = 0;
  for (let i = 0; i < y.length; i++) sum += (y[i] as number) * (run.dy[i] as number);
  return sum;
}

function slope(instance: Instance, run: Run, name: string, direction: (i: number) => number, only?: number): number {
  const moved = (sign: number) =>
    lossAt(instance, run, name, (data) => {
      if (only !== undefined) data[only] = (data[only] as number) + sign * STEP;
      else for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) + sign * STEP * direction(i);
    });
  return (moved(1) - moved(-1)) / (2 * STEP);
}

/** What is wrong with the gradients of a run, which are `times` those of one backward; undefined when nothing is. */
export function gradientProblem(instance: Instance, run: Run, tolerance: number, times = 1): string | undefined {
  for (const name of instance.differentiable) {
    const gradient = run.gradients.get(name);
    const n = (run.values[name] as Float64Array).length;
    if (!gradient || gradient.length !== n) return `${instance.label}: no gradient of ${name}`;
    if (n === 0) continue;
    const draw = new Draw(n);
    const directions = Float64Array.from({ length: n }, () => (draw.integer(2) ? 1 : -1));
    const largest = gradient.reduce((m, g) => Math.max(m, Math.abs(g)), 0);
    const differs = (got: number, wanted: number, scale: number): boolean =>
      !(Math.abs(got - wanted) <= tolerance * Math.max(scale, SMALLEST));
    const along = times * slope(instance, run, name, (i) => directions[i] as number);
    const dot = gradient.reduce((sum, g, i) => sum + g * (directions[i] as number), 0);
    if (differs(dot, along, largest * Math.sqrt(n)))
      return `${instance.label}: gradient of ${name} along a direction is ${dot}, expected ${along}`;
    for (let k = 0; k < Math.min(n, ELEMENTS); k++) {
      const i = n <= ELEMENTS ? k : draw.integer(n);
      const wanted = times * slope(instance, run, name, () => 0, i);
      if (differs(gradient[i] as number, wanted, largest))
        return `${instance.label}: gradient of ${name}[${i}] is ${gradient[i]}, expected ${wanted}`;
    }
  }
  return undefined;
}
