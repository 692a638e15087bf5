// A differentiable function of one's own, its gradient checked against differences.
import { defineFunction, ops, scope, tensor } from 'heddle';

/** softsign(x) = x / (1 + |x|); its derivative is 1 / (1 + |x|)². */
const softsign = defineFunction({
  name: 'softsign',
  forward: ([x], _options, save) => {
    if (!x) throw new Error('softsign takes one tensor');
    const scale = ops.reciprocal(x.abs().add(1));
    save(scale); // what backward needs, and nothing else
    return x.mul(scale);
  },
  backward: (dy, [scale]) => [scale ? dy.mul(scale.square()) : null],
});

const values = [-3, -0.5, 0.25, 2];
const x = tensor(values, { requiresGrad: true });
const y = softsign([x]);
y.sum().backward();

/** (f(x + h) - f(x - h)) / 2h for each element. */
const h = 1e-2;
const differences = scope(() => {
  const at = (shift: number) => softsign([tensor(values.map((v) => v + shift))]);
  return at(h)
    .sub(at(-h))
    .div(2 * h);
});

console.log('softsign', Array.from(await y.data(), (v) => v.toFixed(4)).join(' '));
console.log('gradient', Array.from((await x.grad?.data()) ?? [], (v) => v.toFixed(4)).join(' '));
console.log('differences', Array.from(await differences.data(), (v) => v.toFixed(4)).join(' '));
