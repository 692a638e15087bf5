import { type DType, isFloat } from './dtype.ts';
import { elements, shapeText } from './shape.ts';
import type { Tensor } from './tensor.ts';

/** Longer dimensions show their first and last three entries. */
const EDGE = 3;
const LIMIT = 8;

/** How the values that are shown look: one format for all of them. */
function formatter(values: readonly number[], dtype: DType): (v: number) => string {
  if (dtype === 'bool') return (v) => (v ? 'true' : 'false');
  if (!isFloat(dtype)) return (v) => String(v);
  let largest = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (const v of values) {
    const a = Math.abs(v);
    if (Number.isFinite(a)) largest = Math.max(largest, a);
    if (a > 0) smallest = Math.min(smallest, a);
  }
  const scientific = largest >= 1e5 || (smallest < 1e-4 && largest < 1e-2);
  return (v) => (Number.isFinite(v) ? (scientific ? v.toExponential(3) : v.toFixed(4)) : v > 0 ? 'inf' : v < 0 ? '-inf' : 'nan');
}

/** What people read: type, shape, device, and the values with long dimensions cut in the middle. Waits for the device. */
export function formatTensor(t: Tensor): string {
  if (t.disposed) return 'Tensor(disposed)';
  const head = `Tensor ${t.dtype} ${shapeText(t.shape)} on ${t.device}${t.requiresGrad ? ', requiresGrad' : ''}`;
  const { shape } = t;
  if (elements(shape) === 0) return `${head} []`;
  const values = t.dataSync();
  const indices = (n: number): (number | null)[] =>
    n <= LIMIT ? Array.from({ length: n }, (_, i) => i) : [0, 1, 2, null, ...Array.from({ length: EDGE }, (_, i) => n - EDGE + i)];
  const shown: number[] = [];
  const visit = (dim: number, offset: number): void => {
    if (dim === shape.length) {
      shown.push(values[offset] as number);
      return;
    }
    const inner = elements(shape.slice(dim + 1));
    for (const i of indices(shape[dim] as number)) if (i !== null) visit(dim + 1, offset + i * inner);
  };
  visit(0, 0);
  const show = formatter(shown, t.dtype);
  const width = Math.max(...shown.map((v) => show(v).length));
  const render = (dim: number, offset: number, indent: string): string => {
    if (dim === shape.length) return show(values[offset] as number).padStart(width);
    const inner = elements(shape.slice(dim + 1));
    const last = dim === shape.length - 1;
    const parts = indices(shape[dim] as number).map((i) => (i === null ? '...' : render(dim + 1, offset + i * inner, `${indent} `)));
    return `[${parts.join(last ? ', ' : `,\n${indent} `)}]`;
  };
  return `${head}\n${render(0, 0, '')}`;
}
