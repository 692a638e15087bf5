import test from 'ava';
import fc from 'fast-check';
import { Adam, AdamW, backward, Lion, Muon, nn, noGrad, type Optimizer, ops, SGD, scope, type Tensor, tensor } from '../../../lib/index.ts';
import * as host from './reference.ts';

/** A matrix and a vector whose gradients are what the test says. */
class Model extends nn.Module {
  readonly matrix: nn.Parameter;
  readonly bias: nn.Parameter;
  constructor(matrix: number[][], bias: number[]) {
    super();
    this.matrix = new nn.Parameter(tensor(matrix));
    this.bias = new nn.Parameter(tensor(bias));
  }
}

/** Gives the parameters the gradients of (matrix, bias) through a backward. */
function give(model: Model, matrix: readonly number[], bias: readonly number[]): void {
  scope(() => {
    const g = tensor(Float32Array.from(matrix), { shape: model.matrix.shape });
    const b = tensor(Float32Array.from(bias));
    backward(ops.add(ops.sum(ops.mul(model.matrix, g)), ops.sum(ops.mul(model.bias, b))));
  });
}

const close = (got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number): boolean =>
  got.length === want.length &&
  Array.from(got).every((v, i) => Math.abs(v - (want[i] as number)) <= tolerance * (1 + Math.abs(want[i] as number)));

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const values = (n: number) => fc.array(fc.double({ min: -2, max: 2, noNaN: true }).map(Math.fround), { minLength: n, maxLength: n });
const settings = fc.record({
  kind: fc.constantFrom(...host.kinds),
  lr: number(1e-4, 0.1),
  betas: fc.tuple(number(0.1, 0.95), number(0.1, 0.999)),
  eps: number(1e-6, 1e-3),
  weightDecay: fc.constantFrom(0, 0.05, 0.3),
  momentum: fc.constantFrom(0, 0.5, 0.9),
  nesterov: fc.boolean(),
  dampening: fc.constantFrom(0, 0.3),
  clip: fc.constantFrom(0, 0.5, 3),
});

function make(model: Model, s: host.Settings): Optimizer {
  const { lr, betas, eps, weightDecay, momentum, nesterov, dampening } = s;
  if (s.kind === 'adamw') return new AdamW(model, { lr, betas, eps, weightDecay });
  if (s.kind === 'adam') return new Adam(model, { lr, betas, eps, weightDecay });
  if (s.kind === 'lion') return new Lion(model, { lr, betas, weightDecay });
  return new SGD(model, { lr, momentum, nesterov, dampening, weightDecay });
}

test('AdamW, Adam, SGD and Lion against float64 on the host, over random settings; decay reaches the matrix only', (t) => {
  fc.assert(
    fc.property(
      settings,
      values(6),
      values(3),
      fc.array(fc.tuple(values(6), values(3)), { minLength: 1, maxLength: 4 }),
      (s, w, b, gradients) => {
        const model = new Model([w.slice(0, 3), w.slice(3)], b);
        const optimizer = make(model, s);
        const reference = new host.Reference(s, w, b);
        for (const [gw, gb] of gradients) {
          // Lion takes a sign: where the direction is nearly 0 both signs are right.
          if (s.kind === 'lion' && reference.undecided(gw, gb)) return;
          give(model, gw, gb);
          if (s.clip > 0) optimizer.clipGradNorm(s.clip);
          optimizer.step();
          optimizer.zeroGrad();
          reference.step(gw, gb);
        }
        const ok = close(model.matrix.dataSync(), reference.matrix, 3e-5) && close(model.bias.dataSync(), reference.bias, 3e-5);
        optimizer.dispose();
        if (!ok) throw new Error(`got ${model.matrix.dataSync()} | ${model.bias.dataSync()}, want ${reference.matrix} | ${reference.bias}`);
        model.dispose();
      },
    ),
    { numRuns: 150, seed: 7 },
  );
  t.pass();
});

test('Muon against float64 on the host: both variants of the learning rate, AdamW for the rest', (t) => {
  for (const adjust of ['original', 'matchAdamW'] as const)
    for (const [rows, cols] of [
      [3, 5],
      [6, 2],
      [4, 4],
    ] as const)
      for (const nesterov of [true, false]) {
        const random = host.random(rows * 10 + cols);
        const numbers = (n: number) => Array.from({ length: n }, () => Math.fround(random() * 2 - 1));
        const w = numbers(rows * cols);
        const b = numbers(3);
        const model = new Model(
          Array.from({ length: rows }, (_, i) => w.slice(i * cols, (i + 1) * cols)),
          b,
        );
        const own = { lr: 0.03, momentum: 0.9, nesterov, iterations: 5, weightDecay: 0.1, adjust };
        const adamw = { lr: 0.002, betas: [0.9, 0.95] as const, eps: 1e-8, weightDecay: 0.1 };
        const optimizer = new Muon(model, { ...own, adamw, isMuon: (_, p) => p.rank === 2 });
        const reference = new host.MuonReference(own, w, rows, cols);
        const rest = new host.Reference({ ...host.defaults, ...adamw, kind: 'adamw' }, [], b);
        for (let step = 0; step < 3; step++) {
          const [gw, gb] = [numbers(rows * cols), numbers(3)];
          give(model, gw, gb);
          optimizer.step();
          optimizer.zeroGrad();
          reference.step(gw);
          rest.step([], gb);
        }
        const got = model.matrix.dataSync();
        t.true(close(got, reference.matrix, 2e-4), `${adjust} ${rows}x${cols} nesterov ${nesterov}: got ${got}, want ${reference.matrix}`);
        t.true(close(model.bias.dataSync(), rest.bias, 3e-5), 'the bias is under AdamW, without decay');
        optimizer.dispose();
      }
});

test('clipping: the global norm over all parameters, and what the step reports', async (t) => {
  const model = new Model([[0, 0]], [0, 0]);
  const optimizer = new SGD(model, { lr: 1 });
  give(model, [3, 0], [0, 4]);
  optimizer.clipGradNorm(1);
  optimizer.step(0.5);
  const report = await optimizer.report();
  t.is(report.gradNorm, 5);
  t.true(Math.abs(report.clip - 0.2) < 1e-6);
  t.is(report.learningRate, 0.5);
  t.is(report.updates, 1);
  t.false(report.skipped);
  t.true(close(model.matrix.dataSync(), [-0.3, 0], 1e-5));
  t.true(close(model.bias.dataSync(), [0, -0.4], 1e-5));
  optimizer.zeroGrad();
  // A factor from an earlier step does not linger.
  give(model, [3, 0], [0, 4]);
  optimizer.step(0);
  t.is((await optimizer.report()).clip, 1);
});

test('gradients that are not finite skip the step, count no update, and the run goes on', async (t) => {
  for (const kind of [...host.kinds, 'muon'] as const) {
    const s = { ...host.defaults, kind: kind === 'muon' ? ('adamw' as const) : kind, momentum: 0.9 };
    const model = new Model([[1, 2]], [3]);
    const make1 = (m: Model) => (kind === 'muon' ? new Muon(m, { isMuon: (_, p) => p.rank === 2 }) : make(m, s));
    const optimizer = make1(model);
    const twin = new Model([[1, 2]], [3]);
    const other = make1(twin);
    const step = (m: Model, o: Optimizer, g: number[], b: number[]): void => {
      give(m, g, b);
      o.clipGradNorm(1);
      o.step();
      o.zeroGrad();
    };
    step(model, optimizer, [1, -1], [0.5]);
    step(twin, other, [1, -1], [0.5]);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      step(model, optimizer, [1, bad], [0.5]);
      const report = await optimizer.report();
      t.true(report.skipped, `${kind} ${bad}`);
      t.is(report.updates, 1);
    }
    step(model, optimizer, [0.3, 2], [-1]);
    step(twin, other, [0.3, 2], [-1]);
    t.false((await optimizer.report()).skipped);
    t.deepEqual(model.matrix.dataSync(), twin.matrix.dataSync(), kind);
    t.deepEqual(model.bias.dataSync(), twin.bias.dataSync(), kind);
    t.true(model.matrix.dataSync().every(Number.isFinite));
  }
});

test('the step reads learning rate, step number, clip, skip and loss scale from device memory', async (t) => {
  // Words of StepState: updates, skip, lr, clip, norm, loss scale.
  const state = (updates: number, skip: number, lr: number, clip: number, lossScale: number): Tensor => {
    const words = new Int32Array(16);
    new Float32Array(words.buffer).set([0, 0, lr, clip, 0, lossScale]);
    words[0] = updates;
    words[1] = skip;
    return tensor(words);
  };
  const run = (kind: 'sgd' | 'adamw', s: Tensor): number => {
    const [values, gradient] = [tensor([1]), tensor([8])];
    const [m, v] = [tensor([0]), tensor([0])];
    const rest = { betas: [kind === 'sgd' ? 0 : 0.5, 0.75] as const, eps: 0, weightDecay: 0, dampening: 0, nesterov: false, decayCount: 0 };
    ops.optimizerStep({ kind, values, gradient, m, v, state: s, ...rest });
    return values.dataSync()[0] as number;
  };
  t.is(run('sgd', state(1, 0, 0.125, 1, 1)), 0);
  t.is(run('sgd', state(1, 0, 0.0625, 1, 1)), 0.5, 'learning rate');
  t.is(run('sgd', state(1, 0, 0.125, 0.5, 1)), 0.5, 'clip');
  t.is(run('sgd', state(1, 0, 0.125, 1, 4)), 0.75, 'loss scale');
  t.is(run('sgd', state(1, 1, 0.125, 1, 1)), 1, 'skip');
  // m = 4, v = 16: corrected by 1 - 0.5^t and 1 - 0.75^t.
  const adam = (updates: number): number => 1 - (0.125 * (4 / (1 - 0.5 ** updates))) / Math.sqrt(16 / (1 - 0.75 ** updates));
  for (const updates of [1, 2, 10])
    t.true(Math.abs(run('adamw', state(updates, 0, 0.125, 1, 1)) - adam(updates)) < 1e-6, `step ${updates}`);

  // And an optimizer's own state, written over between its steps.
  const model = new Model([[1, 1]], [1]);
  const optimizer = new SGD(model, { lr: 0.125 });
  give(model, [8, 8], [8]);
  ops.stepBegin((optimizer as unknown as { state: Tensor }).state, 0.0625, true);
  t.is((await optimizer.report()).updates, 1);
});

test('resuming: parameters, buffers and the number of updates are the whole state', async (t) => {
  for (const kind of [...host.kinds, 'muon'] as const) {
    const s = { ...host.defaults, kind: kind === 'muon' ? ('adamw' as const) : kind, momentum: 0.9, dampening: 0.2 };
    const make1 = (m: Model) => (kind === 'muon' ? new Muon(m, { isMuon: (_, p) => p.rank === 2 }) : make(m, s));
    const model = new Model(
      [
        [1, 2],
        [-1, 0.5],
      ],
      [3, 4],
    );
    const optimizer = make1(model);
    const step = (m: Model, o: Optimizer, i: number): void => {
      give(m, [Math.sin(i), 1, -0.5, Math.cos(i)], [i, -1]);
      o.clipGradNorm(1);
      o.step();
      o.zeroGrad();
    };
    for (let i = 0; i < 3; i++) step(model, optimizer, i);
    const copy = new Model(
      [
        [0, 0],
        [0, 0],
      ],
      [0, 0],
    );
    const resumed = make1(copy);
    noGrad(() => {
      resumed.parameters.values.set(optimizer.parameters.values.dataSync());
      for (const [name, buffer] of optimizer.buffers) resumed.buffers.get(name)?.set(buffer.dataSync());
    });
    resumed.restore((await optimizer.report()).updates);
    for (let i = 3; i < 6; i++) {
      step(model, optimizer, i);
      step(copy, resumed, i);
    }
    t.deepEqual(copy.matrix.dataSync(), model.matrix.dataSync(), kind);
    t.deepEqual(copy.bias.dataSync(), model.bias.dataSync(), kind);
    t.is((await resumed.report()).updates, 6);
  }
});

test('a parameter that backward did not reach has a gradient of 0, not an old one', (t) => {
  const model = new Model([[1, 2]], [3]);
  const optimizer = new SGD(model, { lr: 1 });
  give(model, [1, 1], [1]);
  optimizer.step();
  optimizer.zeroGrad();
  t.deepEqual([...model.bias.dataSync()], [2]);
  scope(() => backward(ops.sum(model.matrix)));
  optimizer.step();
  t.deepEqual([...model.bias.dataSync()], [2]);
  t.deepEqual([...model.matrix.dataSync()], [-1, 0]);
});

test('wrong settings are refused', (t) => {
  t.throws(() => new AdamW(new Model([[1]], [1]), { lr: -1 }), { message: 'learning rate must be at least 0, got -1' });
  const optimizer = new AdamW(new Model([[1]], [1]));
  t.throws(() => optimizer.step(Number.NaN), { message: /lr must be at least 0, got NaN/ });
});
