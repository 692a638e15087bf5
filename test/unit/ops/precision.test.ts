// TF32: products of f32 operands that are rounded to 10 bits of mantissa, where the device has it; in full elsewhere.
import test from 'ava';
import { backward } from '../../../lib/autograd/index.ts';
import { linear, linearCrossEntropy, matmul, type Precision } from '../../../lib/ops/index.ts';
import '../../../lib/ops/methods.ts';
import { type Device, gpuInfo, randn, scope, type Tensor, tensor } from '../../../lib/tensor/index.ts';
import { DEVICES, onDevice } from '../../run/devices.ts';
import { scaledError } from '../../run/error.ts';

/** Results and all gradients of the three ops that multiply matrices. */
function run(device: Device, precision: Precision): Float32Array[] {
  const draw = (seed: number, ...shape: number[]): Tensor => randn(shape, { seed, device, requiresGrad: true });
  return scope(() => {
    const [x, w, b] = [draw(1, 40, 64), draw(2, 48, 64), draw(3, 48)];
    const leaves = [x, w, b];
    const product = matmul(x, w, { transB: true, precision });
    const layer = linear(x, w, { bias: b, activation: 'geluTanh', precision });
    const targets = tensor(
      Int32Array.from({ length: 40 }, (_, i) => i),
      { device },
    );
    const loss = linearCrossEntropy(x, w, targets, { precision, chunkRows: 16 });
    const found = [product, layer, loss].map((t) => t.dataSync<'f32'>());
    for (const y of [product.square().sum(), layer.square().sum(), loss]) {
      for (const leaf of leaves) leaf.zeroGrad();
      backward(y);
      for (const leaf of leaves) if (leaf.grad) found.push(leaf.grad.dataSync<'f32'>());
    }
    return found;
  });
}

for (const device of DEVICES)
  test(`TF32 keeps ten bits where there is TF32, all elsewhere${onDevice(device)}`, (t) => {
    const [full, tf32] = [run(device, 'full'), run(device, 'tf32')];
    t.is(full.length, 10);
    const errors = full.map((want, i) => scaledError(tf32[i] as Float32Array, want));
    if ((gpuInfo(device)?.capability ?? 0) < 80) t.true(errors.every((e) => e === 0));
    else
      t.true(
        errors.every((e) => e > 0 && e < 2 ** -7),
        errors.join(' '),
      );
  });
