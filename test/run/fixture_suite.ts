// Runs the cases of a folder of golden fixtures (test/fixtures/README.md) on this library and measures how far it is off.
import path from 'node:path';
import { backward } from '../../lib/autograd/index.ts';
import { tensor } from '../../lib/tensor/create.ts';
import type { DType } from '../../lib/tensor/dtype.ts';
import { scope, type Tensor } from '../../lib/tensor/tensor.ts';
import { scaledError } from './error.ts';
import { type FixtureCase, type HostTensor, readIndex, readTensors } from './fixture_files.ts';
import { families } from './fixture_ops.ts';
import { runOptimizer } from './fixture_optim.ts';

export interface FixtureOptions {
  /** Default `'cpu'`. */
  device?: string;
  /** Type of the inputs of op cases; the optimizers' buffers are f32 always. Default f32. */
  dtype?: DType;
}

/** One compared tensor. */
export interface FixtureResult {
  readonly op: string;
  readonly case: string;
  readonly tensor: string;
  readonly error: number;
  readonly tol: number;
  /** `skipped`: ill-conditioned in bf16, nothing to compare. */
  readonly outcome: 'pass' | 'fail' | 'skipped';
  /** Why there is nothing to compare: what was thrown. */
  readonly message?: string;
}

/** Tolerance of outputs for which the index gives none. */
const DEFAULT_TOL = 2e-6;

function toleranceOf(row: FixtureCase, name: string, dtype: DType): number {
  if (dtype === 'f32' || row.op === 'optim') return row.tol[name] ?? DEFAULT_TOL;
  // Numbers below f16's smallest become 0, where relu has its kink.
  if (dtype === 'f16' && row.attrs.fn === 'relu' && name === 'dx') return Number.POSITIVE_INFINITY;
  const torch = row.bf16_err?.[name] ?? 0;
  return torch >= 1 ? Number.POSITIVE_INFINITY : 2 * torch + 2 ** -8;
}

/** y and the gradients of sum(y * dy), by the fixtures' names. */
function runOp(row: FixtureCase, tensors: ReadonlyMap<string, HostTensor>, device: string, dtype: DType): Map<string, ArrayLike<number>> {
  const family = families[row.op];
  if (!family) throw new Error(`no op family is called ${row.op}`);
  return scope(() => {
    const inputs: Record<string, Tensor> = {};
    for (const name of [...row.inputs, ...(row.consts ?? [])]) {
      const { shape, data } = tensors.get(name) as HostTensor;
      const integer = data instanceof Int32Array;
      inputs[name] = tensor(data, { shape, device, dtype: integer ? 'i32' : dtype, requiresGrad: row.inputs.includes(name) && !integer });
    }
    const y = family(inputs, row.attrs);
    const dy = tensors.get('dy') as HostTensor;
    backward(y, { gradient: tensor(dy.data, { shape: dy.shape, device }) });
    const found = new Map<string, ArrayLike<number>>([['y', y.dataSync()]]);
    for (const name of row.inputs) if (inputs[name]?.grad) found.set(`d${name}`, inputs[name].grad.dataSync());
    return found;
  });
}

/** Runs every op and optimizer case of a folder. */
export async function runCases(folder: string, options: FixtureOptions = {}): Promise<FixtureResult[]> {
  const { device = 'cpu', dtype = 'f32' } = options;
  const { cases } = await readIndex(folder);
  const files = new Map<string, Map<string, HostTensor>>();
  const results: FixtureResult[] = [];
  for (const row of cases) {
    const file = files.get(row.file) ?? (await readTensors(path.join(folder, row.file)));
    files.set(row.file, file);
    const prefix = `${row.case}/`;
    const tensors = new Map([...file].filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), t]));
    const head = { op: row.op, case: row.case };
    try {
      const inputs = new Map(row.inputs.map((name) => [name, tensors.get(name) as HostTensor]));
      const found = row.op === 'optim' ? await runOptimizer(row, inputs, device) : runOp(row, tensors, device, dtype);
      for (const name of row.outputs) {
        const tol = toleranceOf(row, name, dtype);
        const error = scaledError(found.get(name) ?? [], (tensors.get(name) as HostTensor).data);
        const outcome = tol === Number.POSITIVE_INFINITY ? 'skipped' : error <= tol ? 'pass' : 'fail';
        results.push({ ...head, tensor: name, error, tol, outcome });
      }
    } catch (thrown) {
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      results.push({ ...head, tensor: '', error: Number.NaN, tol: 0, outcome: 'fail', message });
    }
  }
  return results;
}
