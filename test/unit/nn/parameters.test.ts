import test from 'ava';
import { AdamW, backward, memory, nn, ops, scope, tensor } from '../../../lib/index.ts';

class Chain extends nn.Module {
  readonly layers: nn.Linear[];
  constructor(depth: number, width = 4) {
    super();
    this.layers = Array.from({ length: depth }, () => new nn.Linear(width, width, { std: 0.5 }));
  }
  loss(used = this.layers.length) {
    return scope(() => {
      let x = tensor([[1, -1, 0.5, 2]]);
      for (const layer of this.layers.slice(0, used)) x = ops.add(layer.forward(x, { activation: 'silu' }), x);
      return ops.sum(ops.square(x));
    });
  }
}

const layer = (model: Chain, i: number): nn.Linear => model.layers[i] as nn.Linear;

test('parameters become views of flat buffers: groups together, the last layer first, values kept', (t) => {
  const model = new Chain(3);
  const named = model.namedParameters();
  const before = new Map([...named].map(([name, p]) => [name, [...p.dataSync()]]));
  const set = new nn.ParameterSet(model);
  t.deepEqual(
    set.placements.map((p) => p.name),
    ['layers.2.weight', 'layers.1.weight', 'layers.0.weight', 'layers.2.bias', 'layers.1.bias', 'layers.0.bias'],
  );
  t.true(set.placements.every((p) => p.start % 64 === 0));
  t.deepEqual(set.range('decay'), { start: 0, end: 192 });
  t.deepEqual(set.range('plain'), { start: 192, end: 384 });
  for (const [name, p] of named) t.deepEqual([...p.dataSync()], before.get(name) as number[]);
  const first = set.placements[0] as nn.Placement;
  set.values.set(new Float32Array(384).fill(7));
  t.true(first.parameter.dataSync().every((v) => v === 7));
  backward(model.loss());
  t.deepEqual([...(first.parameter.grad?.dataSync() ?? [])], [...set.gradients.dataSync().slice(0, 16)]);
});

test('the bucket hook fires once per bucket and backward, in backward order, when the gradients are there', (t) => {
  const model = new Chain(6);
  const set = new nn.ParameterSet(model, { bucketSize: 128 }); // two matrices each, then the biases
  t.deepEqual(
    set.buckets.map((b) => b.parameters.length),
    [2, 2, 2, 2, 2, 2],
  );
  const calls: number[] = [];
  const seen: number[][] = [];
  set.onBucket((bucket) => {
    calls.push(bucket.index);
    seen.push([...set.gradients.dataSync().slice(bucket.start, bucket.end)]);
  });
  for (let round = 0; round < 3; round++) {
    calls.length = seen.length = 0;
    backward(model.loss());
    t.deepEqual(
      calls.filter((i) => i < 3),
      [0, 1, 2],
    );
    t.deepEqual(
      calls.filter((i) => i >= 3),
      [3, 4, 5],
    );
    t.true(calls.indexOf(3) < calls.indexOf(1), 'the last two layers are complete before the ones below');
    const final = [...set.gradients.dataSync()];
    calls.forEach((index, i) => {
      const { start, end } = set.buckets[index] as nn.Bucket;
      t.deepEqual(seen[i], final.slice(start, end), `round ${round}, bucket ${index}: nothing was added later`);
    });
    if (round === 1) set.zeroGrad();
  }
});

test('a tied parameter is complete only after its last use', (t) => {
  const w = new nn.Linear(4, 4, { bias: false, std: 0.5 });
  const set = new nn.ParameterSet(w);
  let at: number[] | undefined;
  set.onBucket(() => {
    at = [...set.gradients.dataSync()];
  });
  const x = tensor([[1, 2, 3, 4]]);
  backward(ops.sum(w.forward(ops.exp(w.forward(x)))));
  t.deepEqual(at, [...set.gradients.dataSync()]);
});

test('a bucket that backward reaches in part comes with the optimizer, and the next backward starts afresh', (t) => {
  const model = new Chain(2);
  const optimizer = new AdamW(model, { lr: 0 });
  const set = optimizer.parameters;
  const calls: number[] = [];
  set.onBucket((b) => calls.push(b.index));
  backward(model.loss(1));
  t.deepEqual(calls, []);
  optimizer.step();
  t.deepEqual(calls, [0, 1]);
  const gradients = set.gradients.dataSync();
  t.true(
    gradients.slice(0, 16).every((v) => v === 0),
    'not reached: 0',
  );
  t.true(gradients.slice(64, 80).some((v) => v !== 0));
  optimizer.zeroGrad();
  calls.length = 0;
  let complete = false;
  set.onBucket(() => {
    complete = model.layers.every((l) => l.weight.grad !== null);
  });
  backward(model.loss(2));
  t.deepEqual(calls, [0, 1]);
  t.true(complete);
  optimizer.step();
  t.deepEqual(calls, [0, 1]);
});

test('frozen parameters stay outside and as they are', (t) => {
  const model = new Chain(3);
  const frozen = model.layers[1] as nn.Linear;
  frozen.weight.requiresGrad = false;
  const before = frozen.weight.dataSync();
  const optimizer = new AdamW(model, { lr: 0.1, weightDecay: 0.5 });
  t.is(optimizer.parameters.placements.length, 5);
  const moved = layer(model, 0).weight.dataSync();
  for (let i = 0; i < 3; i++) {
    backward(model.loss());
    optimizer.clipGradNorm(1);
    optimizer.step();
    optimizer.zeroGrad();
  }
  t.deepEqual(frozen.weight.dataSync(), before);
  t.notDeepEqual(layer(model, 0).weight.dataSync(), moved);
  // Frozen later: an optimizer that went on would let decay and momentum move it.
  (layer(model, 2).bias as nn.Parameter).requiresGrad = false;
  backward(model.loss());
  t.throws(() => optimizer.step(), {
    message: /^parameter layers\.2\.bias must require its gradient, got one frozen after the optimizer was made/,
  });
  for (const p of model.parameters()) p.requiresGrad = false;
  t.throws(() => new AdamW(model), { message: /must have at least one parameter that requires its gradient, got 6 frozen ones/ });
});

test('one optimizer at a time; disposing of it frees all but the parameters', (t) => {
  const before = memory();
  const model = new Chain(2);
  const one = new AdamW(model);
  t.throws(() => new AdamW(model), { message: /parameter layers\.0\.weight is already in the flat buffers of another optimizer/ });
  const calls: number[] = [];
  one.parameters.onBucket((b) => calls.push(b.index));
  const values = layer(model, 0).weight.dataSync();
  one.dispose();
  t.deepEqual(layer(model, 0).weight.dataSync(), values);
  const two = new AdamW(model, { lr: 0.1 });
  t.deepEqual(layer(model, 0).weight.dataSync(), values);
  scope(() => backward(model.loss()));
  two.step();
  t.deepEqual(calls, [], 'the first one watches no more');
  t.notDeepEqual(layer(model, 0).weight.dataSync(), values);
  two.dispose();
  model.dispose();
  const after = memory();
  t.is(after.used, before.used);
  t.is(after.tensors, before.tensors);
});
