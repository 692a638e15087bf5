import test from 'ava';
import fc from 'fast-check';
import { Permutation, philox4x32, Random } from '../../../lib/data/rng.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';

// Known answers published with the paper's library (kat_vectors: philox4x32 10).
const KNOWN: [counter: number[], key: number[], answer: number[]][] = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

test('philox4x32-10 gives the published answers', (t) => {
  for (const [counter, key, answer] of KNOWN) {
    const out = new Uint32Array(4);
    philox4x32(out, ...(counter as [number, number, number, number]), ...(key as [number, number]));
    t.deepEqual([...out], answer);
  }
});

test('philox4x32-10 equals the same function in exact integers', (t) => {
  const reference = (c: bigint[], k: bigint[]): number[] => {
    let [c0, c1, c2, c3] = c as [bigint, bigint, bigint, bigint];
    let [k0, k1] = k as [bigint, bigint];
    const mask = 0xffffffffn;
    for (let round = 0; round < 10; round++) {
      const p0 = 0xd2511f53n * c0;
      const p1 = 0xcd9e8d57n * c2;
      [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
      k0 = (k0 + 0x9e3779b9n) & mask;
      k1 = (k1 + 0xbb67ae85n) & mask;
    }
    return [c0, c1, c2, c3].map(Number);
  };
  const word = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
      const out = new Uint32Array(4);
      philox4x32(out, ...counter, ...key);
      t.deepEqual([...out], reference(counter.map(BigInt), key.map(BigInt)));
    }),
    { numRuns: 200 },
  );
});

test('Random belongs to the place, fills [0, 1) evenly, and streams and seeds differ', (t) => {
  const random = new Random(7, 1);
  const first = random.uniform(3, 4);
  random.uniform(9, 9);
  t.is(random.uniform(3, 4), first);
  t.not(new Random(8, 1).uniform(3, 4), first);
  t.not(new Random(7 + 2 ** 40, 1).uniform(3, 4), first);
  t.not(new Random(7, 2).uniform(3, 4), first);
  t.not(random.uniform(3, 4 + 2 ** 32), first);
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const value = random.below(10, 0, i);
    counts[value] = (counts[value] as number) + 1;
  }
  // Chi-square with 9 degrees of freedom: above 27.9 once in a thousand; the numbers are fixed, so this cannot flicker.
  const chi = counts.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
  t.true(chi < 27.9, `chi-square ${chi}`);
});

test('Permutation is one, and depends on seed and epoch', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), fc.nat(), fc.nat({ max: 100 }), (size, seed, epoch) => {
      const order = new Permutation(size, seed, 5, epoch);
      const seen = new Set<number>();
      for (let i = 0; i < size; i++) {
        const value = order.at(i);
        if (!(Number.isInteger(value) && value >= 0 && value < size)) return false;
        seen.add(value);
      }
      return seen.size === size;
    }),
    { numRuns: 60 },
  );
  const list = (seed: number, epoch: number): number[] => Array.from({ length: 50 }, (_, i) => new Permutation(50, seed, 5, epoch).at(i));
  t.deepEqual(list(1, 2), list(1, 2));
  t.notDeepEqual(list(1, 2), list(1, 3));
  t.notDeepEqual(list(1, 2), list(2, 2));
  t.notDeepEqual(
    list(1, 2),
    Array.from({ length: 50 }, (_, i) => i),
  );
});

test('Permutation works beyond 32 bits', (t) => {
  const size = 2 ** 40 + 12345;
  const order = new Permutation(size, 3, 5, 0);
  const values = new Set(Array.from({ length: 2000 }, (_, i) => order.at(size - 1 - i)));
  t.is(values.size, 2000);
  t.true([...values].every((value) => Number.isInteger(value) && value >= 0 && value < size));
  t.true(Math.max(...values) > 2 ** 39);
});

test('wrong arguments are named', (t) => {
  t.throws(() => new Random(-1, 0), { instanceOf: ArgumentError, message: /seed must be an integer from 0 to 2\^53-1, got -1/ });
  t.throws(() => new Permutation(0, 0, 0, 0), { instanceOf: ArgumentError, message: /size must be/ });
  t.throws(() => new Permutation(5, 0, 0, 0).at(5), { instanceOf: ArgumentError, message: /position must be from 0 to 4, got 5/ });
});
