// Runs an instance of a case on the library and on the host, and compares.
import { backward } from '../../lib/autograd/index.ts';
import * as ops from '../../lib/ops/index.ts';
import { tensor } from '../../lib/tensor/create.ts';
import { computesHalf, type Device } from '../../lib/tensor/device.ts';
import type { DType } from '../../lib/tensor/dtype.ts';
import { scope, type Tensor } from '../../lib/tensor/tensor.ts';
import { type Case, Draw, eachIndex, type HostInput, type Instance, positionIn } from '../cases/case.ts';
import { scaledError } from './error.ts';

/** How inputs lie in memory. `expanded`: the first dimension has stride 0, so all its entries are equal. */
export type Layout = 'dense' | 'permuted' | 'sliced' | 'expanded';

export interface RunOptions {
  layout?: Layout;
  /** Type of the float inputs. Default f32. */
  dtype?: 'f32' | 'bf16' | 'f16';
  /** Backward runs so often, adding to the gradients. Default 1; 0: no gradients are asked for. */
  backwards?: number;
}

export interface Run {
  /** Inputs as the op saw them: rounded to the dtype, equal along an expanded dimension. */
  readonly values: Readonly<Record<string, Float64Array>>;
  readonly y: ArrayLike<number>;
  readonly dtype: DType;
  readonly device: Device;
  /** The upstream gradient, and the gradients by the names of the inputs. */
  readonly dy: Float64Array;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** The input with the first dimension's entries all like its first. */
function repeated({ shape, data, dtype }: HostInput): HostInput {
  const inner = shape.slice(1).reduce((n, d) => n * d, 1);
  return { shape, data: data.map((_, i) => data[i % inner] as number), dtype };
}

function store(data: ArrayLike<number>, shape: readonly number[], type: DType): Tensor {
  return tensor(Float32Array.from(data), { shape, dtype: type });
}

/** A tensor of the input's values whose memory looks as asked. */
function placed({ shape, data }: HostInput, layout: Layout, type: DType): Tensor {
  if (layout === 'dense' || data.length === 0 || shape.length === 0) return store(data, shape, type);
  if (layout === 'permuted') {
    const order = shape.map((_, d) => shape.length - 1 - d);
    return ops.permute(ops.clone(ops.permute(store(data, shape, type), order)), order);
  }
  if (layout === 'sliced') {
    const [lead, n] = [shape.slice(0, -1), shape.at(-1) as number];
    const wide = new Float64Array(lead.reduce((a, d) => a * d, n + 3)).fill(77);
    eachIndex(shape, (index, i) => {
      const [outer, last] = [positionIn(lead, index.slice(0, -1)), index.at(-1) as number];
      wide[outer * (n + 3) + 1 + last] = data[i] as number;
    });
    return ops.slice(store(wide, [...lead, n + 3], type), -1, 1, n + 1);
  }
  const inner = data.slice(0, data.length / (shape[0] as number));
  return ops.expand(store(inner, [1, ...shape.slice(1)], type), shape);
}

/** Runs an instance, with gradients for a random upstream gradient. */
export function runInstance(instance: Instance, options: RunOptions = {}): Run {
  const { layout = 'dense', dtype = 'f32', backwards = 1 } = options;
  return scope(() => {
    const tensors: Record<string, Tensor> = {};
    const values: Record<string, Float64Array> = {};
    for (const [name, given] of Object.entries(instance.inputs)) {
      const input = layout === 'expanded' && given.shape.length > 0 ? repeated(given) : given;
      const t = placed(input, layout, input.dtype === 'f32' ? dtype : input.dtype).detach();
      tensors[name] = t;
      values[name] = Float64Array.from(t.dataSync());
      if (backwards > 0 && instance.differentiable.includes(name)) t.requiresGrad = true;
    }
    const y = instance.run(tensors);
    const draw = new Draw(y.size);
    const dy = draw.floats(y.shape).data;
    const gradients = new Map<string, Float32Array>();
    if (y.requiresGrad) {
      const gradient = tensor(Float32Array.from(dy), { shape: y.shape, device: y.device });
      for (let i = 0; i < backwards; i++) backward(y, { gradient, retainGraph: i + 1 < backwards });
      for (const name of instance.differentiable) {
        const g = tensors[name]?.grad;
        if (g) gradients.set(name, g.dataSync<'f32'>());
      }
    }
    return { values, y: y.dataSync(), dtype: y.dtype, device: y.device, dy, gradients };
  });
}

type Judgement = Pick<Case, 'tolerance' | 'floor' | 'halfway'>;

/** What is wrong with a run's result, compared with the host's; undefined when nothing is. */
export function forwardProblem(instance: Instance, run: Run, { tolerance, floor = 1e-3, halfway = 0 }: Judgement): string | undefined {
  const reference = instance.reference(run.values);
  // Half precision may round the exact result once; a neighbour of it when the f32 result lies on the other side of a tie.
  const rounding = run.dtype === 'bf16' ? 2 ** -8 : run.dtype === 'f16' ? 2 ** -11 : 0;
  if (rounding === 0) {
    const error = scaledError(run.y, reference, floor);
    return error <= tolerance ? undefined : `${instance.label}: scaled error ${error}, at most ${tolerance}`;
  }
  if (run.y.length !== reference.length) return `${instance.label}: ${run.y.length} elements instead of ${reference.length}`;
  const largest = Array.from(reference).reduce((m, x) => Math.max(m, Math.abs(x)), floor);
  const stored = computesHalf(run.device) ? halfway * rounding * largest : 0;
  for (let i = 0; i < reference.length; i++) {
    const [got, want] = [run.y[i] as number, reference[i] as number];
    const most = rounding * Math.abs(want) + stored + tolerance * largest + 2 ** -24; // the last: f16's smallest step
    if (!(Math.abs(got - want) <= most)) return `${instance.label}: element ${i} is ${got}, expected ${want} ± ${most}`;
  }
  return undefined;
}
