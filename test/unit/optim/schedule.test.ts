import test from 'ava';
import { type ScheduleOptions, schedule } from '../../../lib/index.ts';

const base: ScheduleOptions = { kind: 'cosine', learningRate: 1, minLearningRate: 0.1, warmup: 10, steps: 100, decaySteps: 100 };
const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-12;

test('warm-up: linear, as in nanoGPT', (t) => {
  for (const kind of ['cosine', 'linear', 'wsd', 'constant'] as const) {
    const lr = schedule({ ...base, kind, decaySteps: kind === 'wsd' ? 20 : 100 });
    t.true(near(lr(0), 1 / 11), kind);
    t.true(near(lr(4), 5 / 11), kind);
    t.true(near(lr(9), 10 / 11), kind);
    t.is(lr(10), 1, kind);
  }
  t.is(schedule({ ...base, warmup: 0 })(0), 1);
});

test('cosine: half way down in the middle, the smallest at the end and after it', (t) => {
  const lr = schedule(base);
  t.true(near(lr(55), 0.55));
  t.true(near(lr(32.5), 0.1 + 0.45 * (1 + Math.cos(Math.PI / 4))));
  t.true(near(lr(100), 0.1));
  t.is(lr(1000), 0.1);
  t.true(lr(99) > 0.1);
});

test('linear', (t) => {
  const lr = schedule({ ...base, kind: 'linear', decaySteps: 60 });
  t.true(near(lr(35), 0.55));
  t.is(lr(60), 0.1);
  t.is(lr(99), 0.1);
});

test('warm-up, stable, decay: the decay takes the last steps', (t) => {
  const lr = schedule({ ...base, kind: 'wsd', decaySteps: 20 });
  t.is(lr(11), 1);
  t.is(lr(80), 1);
  t.true(near(lr(90), 0.55));
  t.is(lr(100), 0.1);
  t.true(near(schedule({ ...base, kind: 'wsd', decaySteps: 1000 })(55), 0.55), 'a decay longer than the run begins after the warm-up');
});

test('constant, and a run that is all warm-up', (t) => {
  t.is(schedule({ ...base, kind: 'constant' })(5000), 1);
  const lr = schedule({ ...base, warmup: 100, decaySteps: 100 });
  t.true(near(lr(99), 100 / 101));
  t.is(lr(100), 0.1);
});

test('a smallest rate above the largest is refused', (t) => {
  t.throws(() => schedule({ ...base, minLearningRate: 2 }), { message: 'schedule: minLearningRate must be at most learningRate 1, got 2' });
});
