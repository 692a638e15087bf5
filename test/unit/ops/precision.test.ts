// Products of f32 operands that are rounded: to TF32, 10 bits of mantissa, or to bf16, 7 bits, where the device has it; in full elsewhere.
import test from 'ava';
import { backward } from '../../../lib/autograd/index.ts';
import { native } from '../../../lib/native/addon.ts';
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

/** Bits of mantissa that an operand keeps. */
const BITS = { tf32: 10, bf16: 7 } as const;
const rounds = (device: Device, precision: keyof typeof BITS): boolean =>
  precision === 'bf16' ? device === 'cpu' && native.info().bf16 !== 'f32' : (gpuInfo(device)?.capability ?? 0) >= 80;

for (const device of DEVICES)
  for (const precision of ['tf32', 'bf16'] as const)
    test(`${precision} keeps ${BITS[precision]} bits where it exists, all elsewhere${onDevice(device)}`, (t) => {
      const [full, low] = [run(device, 'full'), run(device, precision)];
      t.is(full.length, 10);
      const errors = full.map((want, i) => scaledError(low[i] as Float32Array, want));
      const [least, most] = rounds(device, precision) ? [Number.MIN_VALUE, 2 ** (3 - BITS[precision])] : [0, 0];
      t.true(
        errors.every((e) => e >= least && e <= most),
        errors.join(' '),
      );
    });

test('products in bf16 on the CPU are those of rounded operands, in every layout', (t) => {
  if (native.info().bf16 === 'f32') return t.pass('this processor has no bf16');
  scope(() => {
    for (const [transA, transB] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ] as const) {
      const a = randn(transA ? [301, 45] : [45, 301], { seed: 1, device: 'cpu' });
      const b = randn(transB ? [70, 301] : [301, 70], { seed: 2, device: 'cpu' });
      const rounded = (x: Tensor): Tensor => x.to('bf16').to('f32');
      const want = matmul(rounded(a), rounded(b), { transA, transB }).dataSync<'f32'>();
      t.true(scaledError(matmul(a, b, { transA, transB, precision: 'bf16' }).dataSync<'f32'>(), want) < 4e-6);
    }
  });
});
