import { noGrad, record } from '../autograd/index.ts';
import { native } from '../native/addon.ts';
import { sameShape, shapeText } from '../tensor/shape.ts';
import { scope, Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

export interface CustomFunction<Options> {
  /** Named in errors. */
  name: string;
  /** Computes the output; `save` keeps tensors for backward. Runs without recording. */
  forward(inputs: readonly Tensor[], options: Options, save: (...tensors: Tensor[]) => void): Tensor;
  /** Gradients of the inputs, in their order and shapes (null: none), from that of the output. */
  backward(dy: Tensor, saved: readonly Tensor[], options: Options): readonly (Tensor | null)[];
}

/**
 * A differentiable function with a gradient of one's own:
 *
 *     const cube = defineFunction({
 *       name: 'cube',
 *       forward: ([x], _, save) => { save(x); return mul(mul(x, x), x); },
 *       backward: (dy, [x]) => [mul(dy, mul(3, square(x)))],
 *     });
 */
export function defineFunction<Options = void>(fn: CustomFunction<Options>): (inputs: readonly Tensor[], options: Options) => Tensor {
  return (inputs, options) => {
    const saved: Tensor[] = [];
    const keep = inputs.map((t) => t.handle);
    const keeping = (...tensors: Tensor[]): void => {
      for (const t of tensors) saved.push(t.detach().keep());
    };
    let y: Tensor;
    try {
      y = noGrad(() => scope(() => fn.forward(inputs, options, keeping)));
    } catch (error) {
      for (const t of saved) t.dispose();
      throw error;
    }
    const output = keep.includes(y.handle) ? native.alias(y.handle) : y.take();
    const handles = saved.map((t) => t.take());
    return record(fn.name, [output], inputs, handles, ([dy], sinks, stored) => {
      if (!dy) return;
      noGrad(() =>
        scope(() => {
          const gradients = fn.backward(
            new Tensor(native.alias(dy.handle)),
            stored.map((h) => new Tensor(native.alias(h))),
            options,
          );
          sinks.forEach((sink, i) => {
            const g = gradients[i];
            if (!sink || !g) return;
            if (!sameShape(g.shape, sink.shape))
              throw new ArgumentError(
                `${fn.name}: backward must give input ${i} a gradient of ${shapeText(sink.shape)}, got ${shapeText(g.shape)}`,
              );
            sink.give(native.cast(g.handle, sink.dtype));
          });
        }),
      );
    })[0] as Tensor;
  };
}
