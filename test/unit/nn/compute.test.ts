// What a model computes with beside its f32 parameters: copies in bf16 and f16.
import test from 'ava';
import {
  AdamW,
  backward,
  GPT,
  Lion,
  Muon,
  memory,
  nn,
  noGrad,
  type Optimizer,
  ops,
  scope,
  type Tensor,
  zeros,
} from '../../../lib/index.ts';
import '../../../lib/ops/methods.ts';
import { computesIn, DEVICE } from '../../run/devices.ts';
import { build, families, idsOf, modern, small, someIds } from '../models/support.ts';

// The CPU converts f16, and has no copies in bf16; a card of capability 7.5 has f16 alone.
const HALVES = (['bf16', 'f16'] as const).filter((type) => (DEVICE === 'cpu' ? type === 'f16' : computesIn(DEVICE, type)));
const HALF = HALVES[0] as 'bf16' | 'f16';
const values = (t: Tensor): number[] => [...t.dataSync()];
const rounded = (t: Tensor, dtype: 'bf16' | 'f16'): number[] => scope(() => values(ops.cast(t, dtype)));
const lossOf = (model: GPT): Tensor => model.loss(idsOf(someIds(9)), idsOf(someIds(9, 1)));

for (const type of HALVES)
  test(`a parameter has a copy in ${type}, activations have its type, gradients and parameters stay f32`, (t) => {
    for (const [name, config] of Object.entries({ ...families, modern })) {
      using model = build(config);
      const before = model.parameters().map(values);
      t.is(model.tokens.weight.compute, model.tokens.weight);
      model.computeIn(type);
      for (const [i, p] of model.parameters().entries()) {
        t.is(p.dtype, 'f32');
        t.is(p.compute.dtype, type);
        t.deepEqual(values(p), before[i] as number[]);
        t.deepEqual(values(p.compute), rounded(p, type));
      }
      scope(() => {
        t.is(model.forward(idsOf(someIds(9))).dtype, type, name);
        t.is(model.logits(idsOf(someIds(9))).dtype, type, name);
        const loss = lossOf(model);
        t.is(loss.dtype, 'f32');
        backward(loss);
      });
      for (const p of model.parameters()) t.is(p.grad?.dtype, 'f32');
      model.computeIn('f32');
      t.is(model.tokens.weight.compute, model.tokens.weight);
      t.is(
        scope(() => model.forward(idsOf(someIds(9))).dtype),
        'f32',
      );
    }
  });

test('gradients through the copy are nearly those of the parameter', (t) => {
  const gradients = (compute: nn.Compute): Tensor[] => {
    const model = build(modern).computeIn(compute);
    scope(() => backward(lossOf(model)));
    return model.parameters().map((p) => (p.grad as Tensor).clone());
  };
  const [want, half] = [gradients('f32'), gradients(HALF)];
  for (const [i, g] of half.entries()) {
    const w = want[i] as Tensor;
    const error = g.sub(w).abs().max().itemSync() / w.abs().max().itemSync();
    t.true(error > 0 && error < 0.2, `${i}: ${error}`);
  }
  if (DEVICE === 'cpu') for (const [i, g] of gradients('tf32').entries()) t.deepEqual(values(g), values(want[i] as Tensor)); // in f32
});

const OPTIMIZERS: Readonly<Record<string, (model: GPT) => Optimizer>> = {
  adamw: (model) => new AdamW(model, { lr: 1e-2 }),
  lion: (model) => new Lion(model, { lr: 1e-2 }),
  muon: (model) => new Muon(model),
};

for (const [name, make] of Object.entries(OPTIMIZERS))
  test(`${name} rounds the parameters into their copies as it updates them`, (t) => {
    using model = build().computeIn(HALF);
    const frozen = model.blocks[0]?.attn.proj.weight as nn.Parameter;
    frozen.requiresGrad = false;
    const optimizer = make(model);
    t.is(optimizer.parameters.compute?.dtype, HALF);
    t.false(frozen.placed);
    const before = values(frozen);
    for (let step = 0; step < 3; step++) {
      scope(() => backward(lossOf(model)));
      optimizer.clipGradNorm(1);
      optimizer.step();
      optimizer.zeroGrad();
      for (const p of model.parameters()) t.deepEqual(values(p.compute), rounded(p, HALF));
    }
    t.deepEqual(values(frozen), before);
    t.is(frozen.grad, null);
    // Without the optimizer the model goes on as it is.
    optimizer.dispose();
    for (const p of model.parameters()) t.deepEqual(values(p.compute), rounded(p, HALF));
    t.is(
      scope(() => lossOf(model).dtype),
      'f32',
    );
  });

test('what belongs to an optimizer stays where it is and computes as it did', (t) => {
  using model = build();
  const optimizer = new AdamW(model);
  t.throws(() => model.computeIn(HALF), { message: /^computeIn: .* must not belong to an optimizer yet, got one that computes in f32$/ });
  t.throws(() => model.to('cpu'), { message: /^to: .* must not belong to an optimizer yet/ });
  t.notThrows(() => model.computeIn('tf32'));
  optimizer.dispose();
  t.notThrows(() => model.computeIn(HALF).to('cpu'));
  t.is(model.tokens.weight.computeType, HALF === 'bf16' ? 'f32' : HALF); // the CPU has no copies in bf16
  using other = build();
  other.tokens.computeIn(HALF);
  t.throws(() => new nn.ParameterSet(other), { message: new RegExp(`^ParameterSet: parameter .* must compute in ${HALF}, got f32$`) });
});

test('values that were written otherwise reach the copies when asked to', (t) => {
  using model = build().computeIn('f16');
  const weight = model.tokens.weight;
  ops.fill(weight, 1 / 3);
  t.notDeepEqual(values(weight.compute), rounded(weight, 'f16'));
  model.refreshCompute();
  t.deepEqual(values(weight.compute), rounded(weight, 'f16'));
});

test('caches and sinusoidal positions have the type that the model computes in', (t) => {
  using model = new GPT(small({ positions: 'sinusoidal' }), { seed: 1, compute: HALF });
  const ids = someIds(8);
  const [whole, steps] = scope(() =>
    noGrad(() => {
      const cache = model.cache(1);
      const row = zeros([1, 1, model.config.kvHeads, model.config.headSize]);
      t.is(cache.append(0, row, row)[0]?.k.dtype, HALF);
      for (const id of ids.slice(0, -1)) model.lastLogits(idsOf([id]), { cache }).dispose();
      const last = model.lastLogits(idsOf(ids.slice(-1)), { cache });
      cache.dispose();
      return [model.lastLogits(idsOf(ids)).dataSync<'f32'>(), last.dataSync<'f32'>()];
    }),
  );
  const error = whole.reduce((m, x, i) => Math.max(m, Math.abs(x - (steps[i] as number))), 0);
  t.true(error < 0.05 * whole.reduce((m, x) => Math.max(m, Math.abs(x)), 0), `${error}`);
});

test.serial('copies leave no memory behind', (t) => {
  const before = memory();
  const model = build({ positions: 'sinusoidal' }).computeIn(HALF);
  const optimizer = new AdamW(model);
  scope(() => backward(lossOf(model)));
  optimizer.step();
  optimizer.dispose();
  model.computeIn('f16').computeIn('tf32').computeIn(HALF).dispose();
  const after = memory();
  t.deepEqual([after.tensors, after.used], [before.tensors, before.used]);
});
