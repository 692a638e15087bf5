// A kernel of a device held against the CPU's at sizes that float64 loops would be too slow for.
import test from 'ava';
import { backward } from '../../lib/autograd/index.ts';
import { type Device, full, randn, scope, type Tensor, tensor } from '../../lib/tensor/index.ts';
import { Draw } from '../cases/case.ts';
import { computesIn, DEVICES, onDevice } from './devices.ts';
import { scaledError } from './error.ts';

export type Float = 'f32' | 'bf16' | 'f16';

/** Makes leaves of equal bits on any device. */
export class Maker {
  #seed = 0;
  readonly #device: Device;
  readonly #dtype: Float;
  constructor(device: Device, dtype: Float) {
    this.#device = device;
    this.#dtype = dtype;
  }
  draw(...shape: number[]): Tensor {
    const x = scope(() =>
      randn(shape, { seed: ++this.#seed, device: 'cpu' })
        .to(this.#dtype)
        .to(this.#device)
        .detach(),
    );
    x.requiresGrad = true;
    return x;
  }
  /** i32 from 0 to below - 1. */
  ints(below: number, ...shape: number[]): Tensor {
    const { data } = new Draw(++this.#seed).ints(shape, below);
    return tensor(Int32Array.from(data), { shape, device: this.#device });
  }
  /** Ids that rise every `length` tokens (B, T), in each row elsewhere. */
  documents(length: number, B: number, T: number): Tensor {
    return tensor(
      Int32Array.from({ length: B * T }, (_, i) => Math.floor(((i % T) + 13 * Math.floor(i / T)) / length)),
      { shape: [B, T], device: this.#device },
    );
  }
  full(value: number, ...shape: number[]): Tensor {
    return full(shape, value, { device: this.#device });
  }
}

/** y, and with an upstream gradient of its shape those of the leaves. */
export function withGradients(y: Tensor, ...leaves: Tensor[]): Tensor[] {
  backward(y, { gradient: randn([...y.shape], { seed: 99, device: 'cpu' }).to(y.device) });
  return [y, ...leaves.map((x) => x.grad as Tensor)];
}

/** What a device may differ from the CPU by: orders of sums in f32, one rounding of the result to 16 bits. */
export const TOLERANCE = { f32: 4e-6, bf16: 2 ** -7, f16: 2 ** -10 } as const;

/** The largest of the scaled errors; NaN if one of them is. */
export function worst(got: readonly Tensor[], want: readonly ArrayLike<number>[]): number {
  return Math.max(...got.map((x, i) => scaledError(x.dataSync(), want[i] as ArrayLike<number>)));
}

/** The same as on the CPU, on every device that computes in the type. `exact`: the same bits. */
export function agrees(title: string, make: (m: Maker) => Tensor[], { dtypes = ['f32'] as readonly Float[], exact = false } = {}): void {
  for (const device of DEVICES.filter((d) => d !== 'cpu'))
    for (const dtype of dtypes)
      if (dtype === 'f32' || computesIn(device, dtype))
        test(`${title}, ${dtype}${onDevice(device)}`, (t) => {
          const want = scope(() => make(new Maker('cpu', dtype)).map((x) => x.dataSync()));
          const error = scope(() => worst(make(new Maker(device, dtype)), want));
          t.true(error <= (exact ? 0 : TOLERANCE[dtype]), `differs by ${error}`);
        });
}
