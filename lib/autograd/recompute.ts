import { type Handle, native } from '../native/addon.ts';
import { scope, Tensor } from '../tensor/tensor.ts';
import { backwardWithin } from './backward.ts';
import { enableGrad, noGrad } from './mode.ts';
import { record1, tracks } from './node.ts';

/** What a function draws random numbers from, so that it can draw the same ones again. */
export interface Draws {
  /** The number of the next draw. */
  stream: number;
}

/**
 * fn(x), of which backward keeps nothing but x: it computes fn again when it comes to it (Chen et al. 2016, "Training Deep Nets with Sublinear
 * Memory Cost"). The same bits, for one more forward. `parameters`: the leaves that fn reads beside x; `draws`: what it drops out by.
 */
export function recompute(
  fn: (x: Tensor) => Tensor,
  x: Tensor,
  options: { parameters?: readonly Tensor[]; draws?: Draws | null } = {},
): Tensor {
  const { parameters = [], draws = null } = options;
  if (!tracks(x, ...parameters)) return fn(x);
  const first = draws?.stream ?? 0;
  const y = noGrad(() => scope(() => fn(x)));
  const handle = y.handle === x.handle ? native.alias(y.handle) : y.take();
  return record1('recompute', handle, [x, ...parameters], [x], (dy, [dx], [saved]) => {
    const now = draws?.stream ?? 0;
    if (draws) draws.stream = first;
    try {
      enableGrad(() =>
        scope(() => {
          // Its gradient is the sink's, not a leaf's of its own.
          const leaf = new Tensor(native.alias(saved as Handle));
          leaf.requiresGrad = dx !== null;
          const input = record1('recomputed', native.alias(saved as Handle), [leaf], [], (g) => dx?.pass(g));
          backwardWithin(fn(input), dy);
        }),
      );
    } finally {
      if (draws) draws.stream = now;
    }
  });
}
