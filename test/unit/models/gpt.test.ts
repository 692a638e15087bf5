import test from 'ava';
import { backward, noGrad } from '../../../lib/autograd/index.ts';
import { countParameters, GPT, gptConfig, sinusoidalPositions } from '../../../lib/models/index.ts';
import type { Parameter } from '../../../lib/nn/index.ts';
import { add, copyInto, crossEntropy, layerNorm, slice } from '../../../lib/ops/index.ts';
import { AdamW } from '../../../lib/optim/index.ts';
import { full, tensor } from '../../../lib/tensor/create.ts';
import { memory } from '../../../lib/tensor/device.ts';
import { RandomSource } from '../../../lib/tensor/random.ts';
import { scope } from '../../../lib/tensor/tensor.ts';
import { scaledError } from '../../run/error.ts';
import { build, changed, families, idsOf, logitsOf, modern, small, someIds } from './support.ts';

const gradient = (p: Parameter): Float32Array => scope(() => p.grad?.dataSync<'f32'>() ?? new Float32Array());
const gradients = (model: GPT): Map<string, Float32Array> => new Map([...model.namedParameters()].map(([name, p]) => [name, gradient(p)]));
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

test('a built model has as many parameters as are counted', (t) => {
  for (const [name, input] of Object.entries(families)) {
    using model = build(input);
    const { total, padding } = countParameters(model.config);
    t.is(model.parameterCount(), total + padding, name);
  }
});

test('the same seed builds the same model, another seed another one', (t) => {
  using a = build({}, 5);
  using b = build({}, 5);
  using c = build({}, 6);
  t.deepEqual(changed(logitsOf(a, someIds(4)), logitsOf(b, someIds(4))), []);
  t.deepEqual(changed(logitsOf(a, someIds(4)), logitsOf(c, someIds(4))), [0, 1, 2, 3]);
});

test('no token is seen before its time', (t) => {
  const ids = someIds(12);
  for (const [name, input] of Object.entries(families)) {
    if (input.attention) continue; // the test of windows
    using model = build(input);
    const before = logitsOf(model, ids);
    t.true(before.every((row) => row.every(Number.isFinite)));
    for (const at of [0, 5, 11]) {
      const after = logitsOf(model, ids.with(at, (ids[at] as number) + 1));
      t.deepEqual(changed(before, after), range(at, 12), `${name}: from token ${at} on`);
    }
  }
});

test('a bidirectional model sees all tokens from everywhere', (t) => {
  using model = build({ causal: false });
  t.deepEqual(changed(logitsOf(model, someIds(8)), logitsOf(model, someIds(8).with(6, 30))), range(0, 8));
});

test('windows: a token reaches window - 1 positions further with every layer', (t) => {
  const ids = someIds(14);
  const reach = (attention: { window?: number }[], layers: number): number[] => {
    using model = build({ attention, layers });
    return changed(logitsOf(model, ids), logitsOf(model, ids.with(2, 30)));
  };
  t.deepEqual(reach([{ window: 3 }], 1), [2, 3, 4]);
  t.deepEqual(reach([{ window: 3 }], 2), range(2, 7));
  t.deepEqual(reach([{ window: 3 }, { window: 5 }], 2), range(2, 9));
  t.deepEqual(reach([{ window: 1 }], 2), [2]);
  t.deepEqual(reach([{}, { window: 3 }], 2), range(2, 14));
});

test('documents: nothing is seen across a border', (t) => {
  const documents = [0, 0, 0, 0, 1, 1, 1, 1, 1, 2];
  for (const input of [{}, modern]) {
    using model = build(input);
    const ids = someIds(10);
    t.deepEqual(changed(logitsOf(model, ids, documents), logitsOf(model, ids.with(1, 30), documents)), [1, 2, 3]);
    t.deepEqual(changed(logitsOf(model, ids, documents), logitsOf(model, ids.with(5, 30), documents)), [5, 6, 7, 8]);
  }
});

test('sinusoidal positions are those of the formula', (t) => {
  const [T, C] = [50, 12];
  const table = sinusoidalPositions(T, C);
  t.is(table.length, T * C);
  for (let pos = 0; pos < T; pos++)
    for (let i = 0; i < C / 2; i++) {
      const angle = pos * Math.exp((-2 * i * Math.log(10000)) / C);
      t.true(Math.abs((table[pos * C + 2 * i] as number) - Math.sin(angle)) < 1e-6);
      t.true(Math.abs((table[pos * C + 2 * i + 1] as number) - Math.cos(angle)) < 1e-6);
    }
});

test('a sinusoidal model is a learned one with the table as its positions', (t) => {
  using fixed = build({ positions: 'sinusoidal' });
  using learned = build({ positions: 'learned' });
  const parameters = learned.namedParameters();
  for (const [name, p] of fixed.namedParameters()) copyInto(parameters.get(name) as Parameter, p);
  scope(() => copyInto(learned.positions as Parameter, tensor(sinusoidalPositions(24, 32), { shape: [24, 32] })));
  t.deepEqual(changed(logitsOf(fixed, someIds(24)), logitsOf(learned, someIds(24))), []);
});

test('the rows that pad the vocabulary never get a gradient, and no logit', (t) => {
  for (const tiedHead of [true, false]) {
    using model = build({ vocabSize: 27, paddedVocab: 16, tiedHead });
    const ids = someIds(8).map((id) => id % 27);
    t.is(logitsOf(model, ids)[0]?.length, 27);
    const [loss, plain] = scope(() => {
      const l = model.loss(idsOf(ids), idsOf(ids));
      const reference = crossEntropy(model.logits(idsOf(ids)), idsOf(ids));
      backward(l);
      return [l.itemSync(), reference.itemSync()];
    });
    t.true(Math.abs(loss - plain) <= 1e-5 * plain);
    for (const p of new Set([model.tokens.weight, model.headWeight])) {
      const g = gradient(p);
      t.is(g.length, 32 * 32);
      t.true(g.subarray(27 * 32).every((x) => x === 0));
      t.true(g.subarray(0, 27 * 32).some((x) => x !== 0));
    }
  }
});

test('dropout works in training, by the step of its source, and not in evaluation', (t) => {
  const ids = someIds(16);
  using model = build({ dropout: 0.2 });
  using plain = build({ dropout: 0 });
  const random = new RandomSource(7);
  const lossAt = (step: number): number => {
    random.begin(step);
    return noGrad(() => scope(() => model.loss(idsOf(ids), idsOf(ids), { random }).itemSync()));
  };
  const [first, second, again] = [lossAt(1), lossAt(2), lossAt(1)];
  t.not(first, second);
  t.is(first, again);
  const undropped = scope(() => plain.loss(idsOf(ids), idsOf(ids)).itemSync());
  t.not(first, undropped);
  model.eval();
  t.is(lossAt(1), undropped);
  model.train();
  t.is(lossAt(1), first);
  random.dispose();
});

test('each of the four places drops', (t) => {
  const ids = someIds(16);
  const random = new RandomSource(7);
  const loss = (dropout: object): number => {
    using model = build({ dropout });
    random.begin(0);
    return scope(() => model.loss(idsOf(ids), idsOf(ids), { random }).itemSync());
  };
  const losses = [{}, { embedding: 0.3 }, { attention: 0.3 }, { residual: 0.3 }].map(loss);
  t.true(losses.every(Number.isFinite));
  t.is(new Set(losses).size, 4);
  random.dispose();
});

test('accumulated micro-batches of unequal size are the full batch', (t) => {
  const rows = [someIds(12), someIds(12, 1), someIds(12, 2)];
  const targets = rows.map((row, i) => row.map((id, at) => (at < 5 * i ? -100 : (id * 5 + 1) % 31)));
  const count = targets.flat().filter((id) => id >= 0).length;
  using model = build(modern);
  scope(() => backward(model.loss(idsOf(...rows), idsOf(...targets))));
  const whole = gradients(model);
  for (const p of model.parameters()) p.zeroGrad();
  scope(() => {
    const scale = full([], 1 / count);
    backward(model.loss(idsOf(rows[0] as number[]), idsOf(targets[0] as number[]), { scale }));
    backward(model.loss(idsOf(...rows.slice(1)), idsOf(...targets.slice(1)), { scale }));
  });
  for (const [name, g] of gradients(model)) t.true(scaledError(g, whole.get(name) as Float32Array) <= 2e-6, name);
});

test("a tied head's gradient is the sum of both uses", (t) => {
  using tied = build();
  using untied = build({ tiedHead: false });
  const source = tied.namedParameters();
  for (const [name, p] of untied.namedParameters()) copyInto(p, source.get(name === 'head.weight' ? 'tokens.weight' : name) as Parameter);
  for (const model of [tied, untied]) scope(() => backward(model.loss(idsOf(someIds(16)), idsOf(someIds(16, 1)))));
  const [asEmbedding, asHead] = [gradient(untied.tokens.weight), gradient(untied.headWeight)];
  t.true(asEmbedding.some((x) => x !== 0) && asHead.some((x) => x !== 0));
  const both = asEmbedding.map((x, i) => x + (asHead[i] as number));
  t.true(scaledError(gradient(tied.tokens.weight), both) <= 2e-6);
});

test('post-norm: a block is LN(n + mlp(n)) of n = LN(x + attention(x)), and nothing comes after the last', (t) => {
  using model = build({ normPosition: 'post', layers: 1 });
  t.is(model.norm, null);
  const [block] = model.blocks;
  const ids = idsOf(someIds(10));
  const norms = [...model.namedParameters()].filter(([name]) => name.includes('norm'));
  for (const [i, [, p]] of norms.entries()) copyInto(p, full(p.shape, 0.5 + i / 10)); // away from 1 and 0
  scope(() => {
    if (!block) throw new Error('no block');
    const zero = full([1, 10, 32], 0);
    const x = model.tokens.forward(ids, { positions: model.positions });
    const norm = (y: typeof x, n: typeof block.norm1) => layerNorm(y, { weight: n.weight, bias: 'bias' in n ? n.bias : null, eps: 1e-5 });
    const n = norm(add(x, block.attn.forward(x, zero, {})), block.norm1);
    const want = norm(add(n, block.mlp.forward(n, zero, {})), block.norm2);
    t.true(scaledError(model.forward(ids).dataSync(), want.dataSync()) <= 2e-6);
  });
  ids.dispose();
});

test('the first id of a cached pass stands behind what the cache holds', (t) => {
  for (const [name, input] of Object.entries(families)) {
    using model = build(input);
    using cache = model.cache(1);
    const ids = someIds(20);
    const want = logitsOf(model, ids);
    noGrad(() =>
      scope(() => {
        for (const [from, to] of [
          [0, 7],
          [7, 8],
          [8, 20],
        ] as const) {
          const got = model.logits(idsOf(ids.slice(from, to)), { cache }).dataSync<'f32'>();
          const expected = Float32Array.from(want.slice(from, to).flatMap((row) => [...row]));
          t.true(scaledError(got, expected) <= 1e-5, `${name}: ${from} to ${to}`);
        }
      }),
    );
    t.is(cache.length, 20);
    t.throws(() => noGrad(() => scope(() => model.logits(idsOf(someIds(5)), { cache }))), { message: /at most 24 positions/ });
  }
});

test('one batch is learned by heart', (t) => {
  for (const input of [{}, modern, { normPosition: 'post' as const }]) {
    using model = build({ initStd: 0.02, ...input }, 3);
    const optimizer = new AdamW(model, { lr: 1e-2 });
    const [ids, targets] = [idsOf(someIds(16), someIds(16, 4)), idsOf(someIds(16, 1), someIds(16, 9))];
    const step = (): number =>
      scope(() => {
        optimizer.zeroGrad();
        const loss = model.loss(ids, targets);
        backward(loss);
        optimizer.clipGradNorm(1);
        optimizer.step();
        return loss.itemSync();
      });
    const first = step();
    t.true(Math.abs(first - Math.log(31)) < 0.3, `begins at the loss of guessing, got ${first}`);
    let last = first;
    const { used } = memory();
    for (let i = 0; i < 150; i++) last = step();
    t.is(memory().used, used, 'steps leave nothing behind');
    t.true(last < 0.05, `${JSON.stringify(input)}: ${last}`);
    optimizer.dispose();
    for (const x of [ids, targets]) x.dispose();
  }
});

test('wrong ids are told by shape and context', (t) => {
  using model = build();
  t.throws(() => scope(() => model.forward(tensor([1, 2, 3], { dtype: 'i32' }))), { message: /^GPT: ids must be \(B, T\).*got \(3\)/ });
  t.throws(() => scope(() => model.forward(idsOf(someIds(25)))), { message: /at most 24 positions fit the context, got 25/ });
});

test('a preset builds with fields changed', (t) => {
  using model = GPT.fromPreset('char-cpu', { layers: 1 }, { seed: 1 });
  t.deepEqual(model.config, gptConfig({ layers: 1 }, 'char-cpu'));
  t.is(slice(model.tokens.weight, 0, 0, 1).shape[1], 128);
  t.is(small().vocabSize, 31);
});
