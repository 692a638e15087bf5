// Which kernels an op is made of: the table of docs/cuda.md against the ops, the sources and what a card launches; launches of what must be
// one; bits that do not depend on the card.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import {
  Adam,
  AdamW,
  backward,
  type Device,
  GPT,
  gptConfig,
  Lion,
  memory,
  RandomSource,
  SGD,
  scope,
  type Tensor,
} from '../../../lib/index.ts';
import { type LaunchRecord, native } from '../../../lib/native/addon.ts';
import * as ops from '../../../lib/ops/index.ts';
import { full, gpuInfo, randn, setDefaultDevice, tensor } from '../../../lib/tensor/index.ts';
import { DISTINCT } from '../../cases/index.ts';
import { runInstance } from '../../run/compare.ts';
import { computesIn, DEVICE, DEVICES, EVERY_DEVICE, isSimulated, onDevice } from '../../run/devices.ts';

const CARDS = DEVICES.filter((d) => d !== 'cpu');
const OPS = [...native.signatures().matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name as string);

interface Row {
  ops: string[];
  kernels: string[];
  folders: string[];
}

const spans = (cell: string): string[] => [...cell.matchAll(/`([\w/]+)`/g)].map(([, text]) => text as string);

/** The rows of the table in docs/cuda.md. `none`: nothing is computed. */
const TABLE: readonly Row[] = (readFileSync('docs/cuda.md', 'utf8').split('## Which op has which kernel')[1] ?? '')
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => {
    const [, named = '', kernels = '', folders = ''] = line.split('|').map((cell) => cell.trim());
    return { ops: spans(named), kernels: kernels.startsWith('none') ? [] : spans(kernels), folders: spans(folders) };
  });

/** Sources of cuda/, by the text of each. */
const SOURCES = new Map(
  readdirSync('cuda', { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(cu|cuh|cc)$/.test(name))
    .map((name) => [`cuda/${name}`, readFileSync(`cuda/${name}`, 'utf8')]),
);

const foldersWith = (what: RegExp): Set<string> =>
  new Set([...SOURCES].flatMap(([file, text]) => (what.test(text) ? [path.dirname(file)] : [])));

/** What is launched on a device while `work` runs. */
function launches(device: Device, work: () => void): LaunchRecord[] {
  native.synchronizeSync(device);
  native.startLaunchLog();
  work();
  native.synchronizeSync(device);
  return native.takeLaunchLog();
}

const names = (records: readonly LaunchRecord[]): string[] => records.map((r) => r.kernel);

test('the table of docs/cuda.md has every op once, kernels that there are, where they are', (t) => {
  t.deepEqual(TABLE.flatMap((row) => row.ops).sort(), [...OPS].sort());
  const backend = readFileSync('cuda/backend.cc', 'utf8');
  for (const { kernels, folders } of TABLE)
    for (const kernel of kernels) {
      t.true(backend.includes(`.${kernel} = {${kernel}`), `${kernel} is a slot of cuda/backend.cc`);
      const found = foldersWith(new RegExp(`^void ${kernel}\\(const \\w+Args& `, 'm'));
      t.true(
        [...found].some((folder) => folders.includes(folder)),
        `${kernel} is in ${[...found].join()}, not in ${folders.join()}`,
      );
    }
  const slots = [...readFileSync('native/ops/backend.h', 'utf8').matchAll(/Kernel<\w+> (\w+);/g)].map(([, name]) => name as string);
  t.deepEqual([...new Set(TABLE.flatMap((row) => row.kernels))].sort(), slots.sort(), 'every slot of the contract');
});

for (const device of CARDS)
  test.serial(`every op runs on the card, by the kernels of the table${onDevice(device)}`, (t) => {
    const seen = new Map<string, Set<string>>(OPS.map((op) => [op, new Set()]));
    const table = native as unknown as Record<string, (...args: unknown[]) => unknown>;
    const before = { ...table };
    for (const op of OPS)
      table[op] = (...args) => {
        let result: unknown;
        const found = launches(device, () => {
          result = before[op]?.(...args);
        });
        for (const { kernel } of found) seen.get(op)?.add(kernel);
        return result;
      };
    setDefaultDevice(device);
    try {
      for (const [, c] of DISTINCT)
        for (const instance of fc.sample(c.instances(24), { seed: 1, numRuns: isSimulated(device) ? 8 : 40 })) runInstance(instance);
    } finally {
      Object.assign(table, before);
      setDefaultDevice(DEVICE);
    }
    for (const { ops: named, kernels, folders } of TABLE)
      for (const op of named) {
        const found = [...(seen.get(op) ?? [])];
        t.is(found.length > 0, kernels.length > 0, `${op} launched ${found.join(', ') || 'nothing'}`);
        const own = found.filter((kernel) => [...foldersWith(new RegExp(`"${kernel}"`))].some((folder) => folders.includes(folder)));
        const rest = found.filter((kernel) => !own.includes(kernel));
        if (kernels.length > 0) t.true(own.length > 0, `${op} launched ${found.join(', ')}, none from ${folders.join()}`);
        // What is converted on the way.
        t.true(
          rest.every((kernel) => foldersWith(new RegExp(`"${kernel}"`)).has('cuda/movement')),
          `${op} launched ${rest.join(', ')}, which the table does not say`,
        );
      }
  });

for (const device of CARDS) {
  test(`an optimizer's step is one launch over all parameters${onDevice(device)}`, (t) => {
    const config = gptConfig({ vocabSize: 40, contextLength: 8, layers: 2, heads: 2, width: 16 });
    using model = new GPT(config, { seed: 1, device });
    t.true(model.parameters().length > 20);
    for (const make of [() => new AdamW(model), () => new Adam(model), () => new SGD(model, { momentum: 0.9 }), () => new Lion(model)]) {
      const optimizer = make();
      const ids = tensor(Int32Array.of(1, 2, 3, 4), { shape: [1, 4], device });
      scope(() => model.loss(ids, ids).backward());
      t.deepEqual(names(launches(device, () => optimizer.step())), ['step_begin', 'optimizer']);
      optimizer.zeroGrad();
      optimizer.dispose();
    }
  });

  // Scores never reach memory.
  test(`attention in 16 bits is fused${onDevice(device)}`, (t) =>
    scope(() => {
      const make = (heads: number): Tensor => {
        const x = ops.cast(randn([1, 9, heads, 32], { seed: heads, device }), 'f16').detach();
        x.requiresGrad = true;
        return x;
      };
      const [q, k, v] = [make(4), make(2), make(2)];
      let y = q;
      const forward = names(
        launches(device, () => {
          y = ops.attention(q, k, v, { causal: true });
        }),
      );
      t.is(forward.length, 1);
      t.regex(forward[0] as string, /^attention f16 /);
      const back = names(launches(device, () => backward(ops.sum(ops.mul(y, y)))));
      t.true(back.some((name) => name.startsWith('attention ')));
      t.deepEqual(
        back.filter((name) => /^matmul|softmax|scores/.test(name)),
        [],
      );
    }));

  // Plain, bias, activation, both with the activation's input kept for backward, residual, and adding to an f32 gradient.
  test(`a product and its epilogue are one launch${onDevice(device)}`, (t) => {
    for (const dtype of ['f32', 'bf16', 'f16'] as const) {
      if (dtype !== 'f32' && !computesIn(device, dtype)) continue;
      scope(() => {
        const draw = (seed: number, ...shape: number[]): Tensor => ops.cast(randn(shape, { seed, device }), dtype);
        const [x, w, bias, residual] = [draw(1, 40, 64), draw(2, 72, 64), draw(3, 72), draw(4, 40, 72)];
        const kept = x.detach();
        kept.requiresGrad = true;
        const plain = ops.matmul(x, w, { transB: true });
        const close = (got: Tensor, want: Tensor, what: string): void => {
          const difference = ops.sub(ops.cast(got, 'f32'), ops.cast(want, 'f32')).abs().max().itemSync();
          const size = ops.cast(want, 'f32').abs().max().itemSync();
          t.true(difference <= size * { f32: 1e-6, f16: 2 ** -9, bf16: 2 ** -6 }[dtype], `${what} in ${dtype}: ${difference} of ${size}`);
        };
        const wide = (y: Tensor): Tensor => ops.cast(y, 'f32');
        const biased = ops.add(wide(plain), wide(bias));
        const cases: Record<string, [make: () => Tensor, want: Tensor]> = {
          plain: [() => ops.linear(x, w), plain],
          bias: [() => ops.linear(x, w, { bias }), biased],
          activation: [() => ops.linear(x, w, { activation: 'geluTanh' }), ops.gelu(wide(plain), 'tanh')],
          'activation with its input kept': [() => ops.linear(kept, w, { bias, activation: 'silu' }), ops.silu(biased)],
          residual: [() => ops.linear(x, w, { bias, activation: 'relu', residual }), ops.add(ops.relu(biased), wide(residual))],
        };
        for (const [what, [make, want]] of Object.entries(cases)) {
          let y = plain;
          const found = names(
            launches(device, () => {
              y = make();
            }),
          );
          t.is(found.length, 1, `${what} in ${dtype}: ${found.join(', ')}`);
          t.regex(found[0] ?? '', /^matmul /);
          close(y, want, what);
        }
        const gradient = full([64, 72], 2, { device });
        const found = names(launches(device, () => native.matmulInto(x.handle, plain.handle, true, false, gradient.handle, true, 'full')));
        t.is(found.length, 1, found.join(', '));
        close(gradient, ops.add(ops.matmul(wide(x), wide(plain), { transA: true }), 2), 'accumulating');
      });
    }
  });

  if (gpuInfo(device)?.capability === 90)
    test(`Hopper's kernel computes the three products of a layer${onDevice(device)}`, (t) => {
      for (const dtype of ['bf16', 'f16'] as const)
        scope(() => {
          const draw = (seed: number, ...shape: number[]): Tensor => ops.cast(randn(shape, { seed, device }), dtype).detach();
          const [rows, short, x, w] = [4104, 40, draw(1, 4104, 32), draw(2, 48, 32)];
          x.requiresGrad = w.requiresGrad = true;
          for (const n of [rows, short]) {
            const products = names(launches(device, () => backward(ops.linear(ops.slice(x, 0, 0, n), w).sum()))).filter((k) =>
              k.startsWith('matmul'),
            );
            const forced = process.env.HEDDLE_MATMUL_TILE; // as npm test does with each tile
            const hopper = new RegExp(`^matmul ${dtype} ${forced ?? '\\d+x\\d+'}x64 wgmma`);
            t.is(products.length, 3);
            for (const k of products) t.regex(k, hopper);
            t.is(products.filter((k) => k.endsWith(' stream-K')).length, n === rows ? 1 : 0);
          }
        });
    });

  test(`the fused loss works on its logits in place, in chunks of rows${onDevice(device)}`, (t) => {
    const [rows, C, V, chunkRows] = [48, 16, 512, 12];
    const targets = tensor(
      Int32Array.from({ length: rows }, (_, i) => (i * 37) % V),
      { device },
    );
    const [x, w] = [randn([rows, C], { seed: 1, device, requiresGrad: true }), randn([V, C], { seed: 2, device, requiresGrad: true })];
    const { used } = memory(device);
    native.resetPeak(device);
    const found = names(launches(device, () => scope(() => backward(ops.linearCrossEntropy(x, w, targets, { chunkRows })))));
    t.is(found.filter((kernel) => kernel === 'cross_entropy').length, (2 * rows) / chunkRows, 'each chunk forward, and again backward');
    const extra = memory(device).peak - used;
    const [logits, gradients] = [4 * chunkRows * V, 4 * (rows * C + V * C)];
    t.true(extra < gradients + 1.5 * logits + 4096, `${extra} bytes, for logits of ${logits} and gradients of ${gradients}`);
  });

  test(`dropout takes the CPU's random bits${onDevice(device)}`, (t) => {
    const on = (where: Device): ArrayLike<number> =>
      scope(() => {
        const random = new RandomSource(11, where);
        random.begin(3);
        return ops.dropout(randn([33, 65], { seed: 5, device: 'cpu' }).to(where), 0.3, random).dataSync();
      });
    const [got, want] = [on(device), on('cpu')];
    t.deepEqual(got, want);
    t.true(Array.from(want).filter((v) => v === 0).length > 400);
  });
}

test('a training run has the same bits on cards of any size and generation', async (t) => {
  if (DEVICE !== 'cpu' || !EVERY_DEVICE.some(isSimulated)) {
    t.log(DEVICE === 'cpu' ? 'no simulated card here: not compared' : 'compared where the whole suite runs');
    t.pass();
    return;
  }
  const run = promisify(execFile);
  const digest = async (SIM_CARDS: string, SIM_SMS: string): Promise<string> => {
    const env = { ...process.env, HEDDLE_CPU: '', HEDDLE_TEST_DEVICE: '', SIM_CARDS, SIM_SMS };
    return (await run(process.execPath, ['--import=tsx', 'test/run/levels.ts', 'cuda'], { env })).stdout.trim();
  };
  const first = await digest('80', '2');
  t.regex(first, /^[0-9a-f]{64}$/);
  t.is(await digest('75', '60'), first);
  t.is(await digest('90', '132'), first);
});
