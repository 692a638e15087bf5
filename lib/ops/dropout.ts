import { record1 } from '../autograd/index.ts';
import { type Handle, native } from '../native/addon.ts';
import type { RandomSource } from '../tensor/random.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * Each element is 0 with probability p and x / (1 - p) otherwise (Srivastava et al. 2014). The mask is a function of the
 * source's seed and step, the draw and the element: the same on every device and in a resumed run; backward draws it again.
 */
export function dropout(x: Tensor, p: number, random: RandomSource): Tensor {
  if (p === 0) return x;
  const stream = random.nextStream();
  const y = native.dropout(x.handle, p, random.state.handle, stream);
  return record1('dropout', y, [x], [random.state], (dy, [dx], [state]) => {
    dx?.into((out, accumulate) => native.dropoutBackward(dy.handle, p, state as Handle, stream, out, accumulate));
  });
}
