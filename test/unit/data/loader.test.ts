import test from 'ava';
import fc from 'fast-check';
import { type Batch, IGNORE, Loader, type LoaderOptions, windowBatches, windows } from '../../../lib/data/loader.ts';
import { MemoryTokens } from '../../../lib/data/tokens.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';

/** Tokens 0, 1, 2, ...: a token tells its position. */
const counting = (length: number): MemoryTokens =>
  new MemoryTokens({ tokens: Array.from({ length }, (_, i) => i), vocabSize: Math.max(1, length) });

/** First inputs of the rows. */
const starts = (batch: Batch): number[] => Array.from({ length: batch.rows }, (_, row) => batch.inputs[row * batch.length] as number);

const shape = fc.record({
  length: fc.integer({ min: 1, max: 12 }),
  batch: fc.integer({ min: 1, max: 5 }),
  extra: fc.integer({ min: 1, max: 100 }),
  seed: fc.nat(),
});

test('every row is consecutive text and its targets are the next tokens', (t) => {
  const property = fc.property(shape, fc.constantFrom('random' as const, 'epoch' as const), ({ length, batch, extra, seed }, sampling) => {
    const data = counting(length + extra);
    const loader = new Loader(data, { batch, length, sampling, seed });
    for (let step = 0; step < 5; step++) {
      const got = loader.next();
      if (got.inputs.length !== batch * length || got.targetCount !== batch * length || got.documents !== undefined) return false;
      for (const [row, start] of starts(got).entries()) {
        for (let i = 0; i < length; i++) {
          if (got.inputs[row * length + i] !== start + i || got.targets[row * length + i] !== start + i + 1) return false;
        }
        if (start + length >= data.length) return false;
      }
    }
    return true;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
});

test('epoch: each window comes once per epoch, across batches, and epochs differ', (t) => {
  const property = fc.property(shape, ({ length, batch, extra, seed }) => {
    const data = counting(length + extra);
    const loader = new Loader(data, { batch, length, sampling: 'epoch', seed });
    const perEpoch = loader.windowsPerEpoch;
    const rows: number[] = [];
    while (rows.length < 3 * perEpoch) rows.push(...starts(loader.next()));
    const all = Array.from({ length: perEpoch }, (_, i) => i * length).join();
    return [0, 1, 2].every(
      (epoch) =>
        rows
          .slice(epoch * perEpoch, (epoch + 1) * perEpoch)
          .sort((a, b) => a - b)
          .join() === all,
    );
  });
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
  const loader = new Loader(counting(1001), { batch: 100, length: 10, sampling: 'epoch', seed: 4 });
  const epochs = [1, 2, 3].map(() => starts(loader.next()).join());
  t.is(new Set(epochs).size, 3);
  t.is(loader.epoch, 3);
});

test('random: every offset can come, and about equally often', (t) => {
  const loader = new Loader(counting(14), { batch: 1000, length: 4, seed: 1 });
  const counts = new Map<number, number>();
  for (const start of starts(loader.next())) counts.set(start, (counts.get(start) ?? 0) + 1);
  t.deepEqual(
    [...counts.keys()].sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  t.true(
    [...counts.values()].every((count) => count > 60 && count < 140),
    JSON.stringify([...counts]),
  );
});

test('a restored loader goes on with the very same batches; seeds differ', (t) => {
  const property = fc.property(
    shape,
    fc.constantFrom('random' as const, 'epoch' as const),
    fc.integer({ min: 0, max: 20 }),
    ({ length, batch, extra, seed }, sampling, steps) => {
      const data = counting(length + extra);
      const options: LoaderOptions = { batch, length, sampling, seed, documents: true };
      const straight = new Loader(data, options);
      for (let i = 0; i < steps; i++) straight.next();
      // Through JSON as in a checkpoint, into a loader that was started with another seed and had moved on.
      const resumed = new Loader(data, { ...options, seed: 99 });
      resumed.next();
      resumed.restore(JSON.parse(JSON.stringify(straight.state())) as ReturnType<Loader['state']>);
      for (let i = 0; i < 6; i++) t.deepEqual(resumed.next(), straight.next());
      t.deepEqual(resumed.state(), straight.state());
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 60 }));
  const [a, b] = [1, 2].map((seed) => starts(new Loader(counting(1000), { batch: 8, length: 4, seed }).next()).join());
  t.not(a, b);
});

test('parts of a batch together are the batch of one', (t) => {
  for (const sampling of ['random', 'epoch'] as const) {
    const data = counting(333);
    const whole = new Loader(data, { batch: 6, length: 5, sampling, seed: 3 });
    const parts = [0, 1, 2].map((rank) => new Loader(data, { batch: 2, length: 5, sampling, seed: 3, part: { rank, count: 3 } }));
    for (let step = 0; step < 30; step++)
      t.deepEqual(
        parts.flatMap((part) => starts(part.next())),
        starts(whole.next()),
      );
    t.is((parts[0] as Loader).epoch, whole.epoch);
  }
});

test('windows: every token but the first is a target exactly once, in order, in full shapes', (t) => {
  const property = fc.property(
    fc.integer({ min: 2, max: 200 }),
    fc.integer({ min: 1, max: 17 }),
    fc.integer({ min: 1, max: 5 }),
    (tokens, length, batch) => {
      const data = counting(tokens);
      const all = [...windows(data, { batch, length })];
      const targets = all.flatMap((got) => [...got.targets]).filter((target) => target !== IGNORE);
      if (targets.join() !== Array.from({ length: tokens - 1 }, (_, i) => i + 1).join()) return false;
      if (all.length !== windowBatches(data, batch, length)) return false;
      return all.every((got) => {
        const kept = [...got.targets].filter((target) => target !== IGNORE).length;
        const paired = got.targets.every((target, i) => target === IGNORE || got.inputs[i] === target - 1);
        return got.inputs.length === batch * length && got.targetCount === kept && kept > 0 && paired;
      });
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test('a mask takes the loss from inputs before masked tokens', (t) => {
  const mask = Uint8Array.from({ length: 50 }, (_, i) => Number(i % 3 === 0));
  const data = new MemoryTokens({ tokens: Array.from({ length: 50 }, (_, i) => i), vocabSize: 50, mask });
  const loader = new Loader(data, { batch: 4, length: 7, seed: 2 });
  for (const got of [loader.next(), ...windows(data, { batch: 2, length: 7 })]) {
    let count = 0;
    for (const [i, target] of got.targets.entries()) {
      const input = got.inputs[i] as number;
      if (target === IGNORE) continue;
      t.is(target, input + 1);
      t.is(target % 3, 0);
      count++;
    }
    t.is(got.targetCount, count);
    t.true(count > 0);
  }
  const targets = [...windows(data, { batch: 2, length: 7 })].flatMap((got) => [...got.targets]).filter((target) => target !== IGNORE);
  t.deepEqual(
    targets,
    Array.from({ length: 16 }, (_, i) => 3 * (i + 1)),
  );
});

test('documents are numbered within a row; only an end-of-text target lies across their border', (t) => {
  const property = fc.property(
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 12 }),
    fc.integer({ min: 1, max: 15 }),
    fc.boolean(),
    (sizes, length, marked) => {
      // Each document begins with 0, the end-of-text token, if they are marked; other tokens tell the document.
      const tokens = sizes.flatMap((size, document) => Array.from({ length: size }, (_, i) => (marked && i === 0 ? 0 : document + 1)));
      const owner = sizes.flatMap((size, document) => new Array<number>(size).fill(document));
      let at = 0;
      const first = sizes.map((size) => {
        at += size;
        return at - size;
      });
      const data = new MemoryTokens({ tokens, vocabSize: 20, starts: first, endOfText: marked ? 0 : undefined });
      let position = 0;
      for (const got of windows(data, { batch: 2, length, documents: true })) {
        let count = 0;
        for (let row = 0; row < 2; row++) {
          const rowFirst = owner[Math.min(position, tokens.length - 1)] as number;
          let highest = -1;
          for (let i = 0; i < length; i++) {
            const cell = row * length + i;
            const number = (got.documents as Int32Array)[cell] as number;
            if (position >= tokens.length - 1) {
              // Padding belongs to no document of the row.
              if (number <= highest || got.targets[cell] !== IGNORE) return false;
              continue;
            }
            if (number !== (owner[position] as number) - rowFirst) return false;
            highest = number;
            const crosses = owner[position] !== owner[position + 1];
            const want = crosses && !marked ? IGNORE : tokens[position + 1];
            if (got.targets[cell] !== want) return false;
            if (want !== IGNORE) count++;
            position++;
          }
        }
        if (count !== got.targetCount) return false;
      }
      return position === tokens.length - 1;
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test('wrong arguments and foreign states are named', (t) => {
  const data = counting(10);
  const wrong = (options: Partial<LoaderOptions>, message: RegExp): void => {
    t.throws(() => new Loader(data, { batch: 1, length: 4, ...options }), { instanceOf: ArgumentError, message });
  };
  wrong({ batch: 0 }, /batch must be a positive integer, got 0/);
  wrong({ length: 1.5 }, /length must be a positive integer, got 1.5/);
  wrong({ length: 10 }, /length must be below the number of tokens, got length 10 with 10 tokens/);
  wrong({ seed: -1 }, /seed must be/);
  wrong({ sampling: 'all' as 'epoch' }, /sampling must be 'random' or 'epoch', got "all"/);
  wrong({ part: { rank: 2, count: 2 } }, /part\.rank must be from 0 to 1, got 2/);
  t.throws(() => [...windows(counting(1), { batch: 1, length: 1 })], { instanceOf: ArgumentError, message: /at least 2 tokens, got 1/ });
  const loader = new Loader(data, { batch: 1, length: 4 });
  const state = loader.state();
  t.throws(() => loader.restore({ ...state, tokens: 11 }), { instanceOf: ArgumentError, message: /must have tokens 10, got 11/ });
  t.throws(() => loader.restore({ ...state, length: 5 }), { instanceOf: ArgumentError, message: /must have length 4, got 5/ });
  t.throws(() => loader.restore({ ...state, step: -1 }), { instanceOf: ArgumentError, message: /step of at least 0, got -1/ });
  // From a file that somebody damaged: what has no text of its own is still told.
  const strange = { toString: 1 } as unknown as number;
  for (const field of ['batch', 'step', 'seed'] as const)
    t.throws(() => loader.restore({ ...state, [field]: strange }), { instanceOf: ArgumentError, message: /got \{"toString":1\}$/ }, field);
  t.throws(() => loader.restore({ ...state, seed: Number.NaN }), { instanceOf: ArgumentError, message: /seed must be/ });
  t.deepEqual(loader.state(), state, 'a refused state changes nothing');
});
