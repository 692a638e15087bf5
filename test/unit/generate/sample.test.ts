import test from 'ava';
import fc from 'fast-check';
import { Random } from '../../../lib/data/rng.ts';
import { Sampler, type SamplingOptions } from '../../../lib/generate/sample.ts';

/** How often each of the tokens is drawn in n draws. */
function frequencies(probabilities: readonly number[], options: SamplingOptions, n = 4000, seen: number[] = []): number[] {
  const sampler = new Sampler({ seed: 11, ...options }, 'test');
  const counts = probabilities.map(() => 0);
  for (let i = 0; i < n; i++) {
    const id = sampler.next(Float32Array.from(probabilities, Math.log), seen, 0, i);
    counts[id] = (counts[id] as number) + 1;
  }
  return counts.map((c) => c / n);
}

/** Draws agree with these probabilities within four standard deviations; where nothing may be drawn, nothing is. */
function expected(got: readonly number[], want: readonly number[], n = 4000): boolean {
  return (
    got.length === want.length &&
    got.every((f, i) => {
      const p = want[i] as number;
      return p === 0 ? f === 0 : Math.abs(f - p) <= 4 * Math.sqrt((p * (1 - p)) / n);
    })
  );
}

const P = [0.1, 0.4, 0.05, 0.3, 0.15];

test('tokens come as often as they are likely', (t) => {
  t.true(expected(frequencies(P, {}), P));
  t.false(expected(frequencies(P, {}), [0.4, 0.1, 0.05, 0.3, 0.15]));
});

test('temperature: probabilities to the power of 1 / temperature; at 0 the most likely, the first of equal ones', (t) => {
  const hot = P.map((p) => p ** 0.5);
  const total = hot.reduce((a, b) => a + b);
  t.true(
    expected(
      frequencies(P, { temperature: 2 }),
      hot.map((p) => p / total),
    ),
  );
  t.deepEqual(frequencies(P, { temperature: 0 }, 10), [0, 1, 0, 0, 0]);
  t.deepEqual(frequencies([0.1, 0.45, 0.45], { temperature: 0 }, 10), [0, 1, 0]);
});

test('top-k leaves the k most likely; of equal ones the first', (t) => {
  t.true(expected(frequencies(P, { topK: 2 }), [0, 4 / 7, 0, 3 / 7, 0]));
  t.true(expected(frequencies([0.25, 0.25, 0.25, 0.25], { topK: 2 }), [0.5, 0.5, 0, 0]));
  t.true(expected(frequencies(P, { topK: 9 }), P));
});

test('top-p leaves the fewest that reach p', (t) => {
  t.true(expected(frequencies(P, { topP: 0.69 }), [0, 4 / 7, 0, 3 / 7, 0]));
  t.true(expected(frequencies(P, { topP: 0.71 }), [0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85]));
  t.deepEqual(frequencies(P, { topP: 1e-9 }, 20), [0, 1, 0, 0, 0]);
});

test('min-p leaves what is likely enough beside the most likely', (t) => {
  t.true(expected(frequencies(P, { minP: 0.7 }), [0, 4 / 7, 0, 3 / 7, 0]));
  t.true(expected(frequencies(P, { minP: 0.3 }), [0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85]));
  t.deepEqual(frequencies(P, { minP: 1 }, 20), [0, 1, 0, 0, 0]);
});

test('top-p counts within what top-k left', (t) => {
  // Of 4/7 and 3/7 the first alone reaches 0.5.
  t.deepEqual(frequencies(P, { topK: 2, topP: 0.5 }, 20), [0, 1, 0, 0, 0]);
});

test('the repetition penalty divides positive logits and multiplies negative ones, once however often a token was seen', (t) => {
  const next = (logits: number[], seen: number[], repetitionPenalty: number): number =>
    new Sampler({ temperature: 0, repetitionPenalty }, 'test').next(Float32Array.from(logits), seen, 0, 0);
  t.is(next([1, 3, 2], [1], 1), 1);
  t.is(next([1, 3, 2], [1], 2), 2);
  t.is(next([1, 3, 2], [1, 1, 1], 1.4), 1); // 3 / 1.4 is still above 2, 3 / 1.4³ would not be
  t.is(next([-1, -3, -2], [0], 2.5), 2);
});

test('a draw is a function of seed, sample and position', (t) => {
  const draws = (seed: number, sample: number): number[] => {
    const sampler = new Sampler({ seed }, 'test');
    return Array.from({ length: 40 }, (_, i) => sampler.next(Float32Array.from(P, Math.log), [], sample, i));
  };
  t.deepEqual(draws(1, 0), draws(1, 0));
  t.notDeepEqual(draws(1, 0), draws(2, 0));
  t.notDeepEqual(draws(1, 0), draws(1, 1));
});

test('logits that are no numbers are an error, -infinity is not', (t) => {
  const next = (...logits: number[]): number => new Sampler({ temperature: 0 }, 'test').next(Float32Array.from(logits), [], 0, 0);
  t.is(next(Number.NEGATIVE_INFINITY, -5), 1);
  for (const bad of [
    [Number.NaN, 1],
    [1, Number.NaN],
    [1, Number.POSITIVE_INFINITY],
    [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ])
    t.throws(() => next(...bad), { code: 'ERR_HEDDLE_NOT_FINITE', message: /logits must be finite/ });
});

test('wrong options are named', (t) => {
  const wrong: [SamplingOptions, RegExp][] = [
    [{ temperature: -1 }, /^test: temperature must be a number of at least 0, got -1/],
    [{ temperature: Number.NaN }, /temperature/],
    [{ topK: 1.5 }, /topK must be an integer of at least 0, got 1.5/],
    [{ topP: 0 }, /topP must be above 0 and at most 1, got 0/],
    [{ minP: 1.1 }, /minP/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty/],
    [{ seed: -1 }, /seed/],
  ];
  for (const [options, message] of wrong) t.throws(() => new Sampler(options, 'test'), { code: 'ERR_HEDDLE_ARGUMENT', message });
});

/** The same rule in its plainest form: sort everything, keep a list, walk it in the order of ids. */
function plainly(logits: readonly number[], { temperature = 1, topK = 0, topP = 1, minP = 0 }: SamplingOptions, u: number): number {
  const top = Math.max(...logits);
  const scaled = logits.map((v, id) => ({ id, v: Math.fround((v - top) / temperature) }));
  let kept = scaled.toSorted((a, b) => b.v - a.v || a.id - b.id).map(({ id, v }) => ({ id, p: Math.exp(v) }));
  const mass = (): number => kept.reduce((sum, { p }) => sum + p, 0);
  if (topK > 0) kept = kept.slice(0, topK);
  const total = mass();
  let reached = 0;
  if (topP < 1)
    kept = kept.filter(({ p }) => {
      const needed = reached < topP * total;
      reached += p;
      return needed;
    });
  kept = kept.filter(({ p }) => p >= minP).sort((a, b) => a.id - b.id);
  let goal = u * mass();
  for (const { id, p } of kept) {
    goal -= p;
    if (goal < 0) return id;
  }
  return -1;
}

test('draws are those of the rule in its plainest form', (t) => {
  const options = fc.record({
    temperature: fc.constantFrom(0.3, 1, 5),
    topK: fc.constantFrom(0, 1, 5, 60, 1000),
    topP: fc.constantFrom(1e-6, 0.3, 0.9, 0.999, 1),
    minP: fc.constantFrom(0, 0.01, 0.5),
    seed: fc.nat(1e6),
  });
  const spread = fc.constantFrom(0, 1, 10, 100, 1000);
  fc.assert(
    fc.property(options, spread, fc.integer({ min: 1, max: 300 }), (o, scale, V) => {
      const random = new Random(o.seed, 1);
      const logits = Array.from({ length: V }, (_, i) => Math.fround((random.below(50, 0, i) / 50) * scale)); // many are equal
      const u = new Random(o.seed, 0x67656e65).uniform(3, 2);
      t.is(new Sampler(o, 'test').next(Float32Array.from(logits), [], 2, 3), plainly(logits, o, u));
    }),
    { numRuns: 1500 },
  );
});
