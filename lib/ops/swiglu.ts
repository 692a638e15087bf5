import { record1 } from '../autograd/index.ts';
import { atomically, type Handle, native } from '../native/addon.ts';
import { shapeText } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

/** Views of the two halves of the last dimension. */
function halves(packed: Handle): [gate: Handle, up: Handle] {
  const shape = native.shape(packed);
  const [dim, F] = [shape.length - 1, (shape.at(-1) as number) / 2];
  return [native.slice(packed, dim, 0, F, 1), native.slice(packed, dim, F, 2 * F, 1)];
}

/** silu(gate) · up (Shazeer 2020) of one packed projection (..., 2F), gate first: (..., F). Its gradient is packed the same way. */
export function packedSwiglu(x: Tensor): Tensor {
  if (x.rank < 1 || (x.shape.at(-1) as number) % 2 !== 0)
    throw new ArgumentError(`packedSwiglu: x must be (..., 2F), got ${shapeText(x.shape)}`);
  const y = atomically(() => {
    const parts = halves(x.handle);
    const product = native.swiglu(...parts);
    for (const h of parts) native.dispose(h);
    return product;
  });
  return record1('packedSwiglu', y, [x], [x], (dy, [dx], [saved]) => {
    dx?.into((out, accumulate) => {
      const inputs = halves(saved as Handle);
      const outputs = halves(out);
      native.swigluBackward(...inputs, dy.handle, ...outputs, accumulate);
      for (const h of [...inputs, ...outputs]) native.dispose(h);
    });
  });
}
