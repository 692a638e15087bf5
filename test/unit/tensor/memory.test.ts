import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import {
  AdamW,
  GPT,
  gptConfig,
  type MemoryStats,
  memory,
  releaseMemory,
  resetPeakMemory,
  scope,
  setMemoryLimit,
  tensor,
  zeros,
} from '../../../lib/index.ts';
import { DEVICE } from '../../run/devices.ts';

const MiB = 1 << 20;
/** Fewer rounds of the same where a card may be simulated. */
const [STEPS, PARTS, PLACES] = DEVICE === 'cpu' ? [1000, 40, 4] : [20, 6, 2];

function tiny(): GPT {
  return new GPT(gptConfig({ vocabSize: 32, contextLength: 32, layers: 2, heads: 2, width: 32 }), { seed: 1 });
}

/** One step on B rows of 16 tokens. */
function step(model: GPT, optimizer: AdamW, B: number): number {
  return scope(() => {
    const ids = tensor(
      Int32Array.from({ length: B * 16 }, (_, i) => (i * 7) % 32),
      { shape: [B, 16] },
    );
    const loss = model.loss(ids, ids);
    loss.backward();
    optimizer.clipGradNorm(1);
    optimizer.step();
    optimizer.zeroGrad();
    return loss.itemSync();
  });
}

test.serial(`memory() is flat to the byte over ${STEPS} training steps`, (t) => {
  const before = memory();
  const model = tiny();
  const optimizer = new AdamW(model, { lr: 1e-3 });
  step(model, optimizer, 2);
  const { used, blocks, tensors } = memory();
  resetPeakMemory();
  step(model, optimizer, 2);
  const { peak } = memory();
  for (let i = 0; i < STEPS; i++) {
    const loss = step(model, optimizer, 2);
    if (!Number.isFinite(loss)) t.fail(`step ${i}: loss ${loss}`);
    const now = memory();
    if (now.used !== used || now.blocks !== blocks || now.tensors !== tensors || now.peak !== peak) {
      t.deepEqual({ step: i, ...now }, { step: i, ...now, used, blocks, tensors, peak });
      return;
    }
  }
  optimizer.dispose();
  model.dispose();
  const after = memory();
  t.is(after.used, before.used);
  t.is(after.tensors, before.tensors);
});

test.serial('the resident size stays within 8 MB over 10,000 synchronous steps', (t) => {
  const child = fileURLToPath(new URL('./child/rss.ts', import.meta.url));
  const [growth, used] = JSON.parse(execFileSync(process.execPath, ['--import=tsx', '--expose-gc', child], { encoding: 'utf8' })) as [
    number,
    number,
  ];
  t.true(growth <= 8e6, `${growth} bytes more`);
  t.is(used, 0);
});

test.serial('the limit: who asked, what is in use, who holds it; then life goes on', (t) => {
  const base = memory().used;
  setMemoryLimit(base + 2.5 * MiB);
  try {
    const a = zeros([256, 1024]);
    const b = a.add(1);
    const mib = ((base + 2 * MiB) / MiB).toFixed(1);
    const limit = ((base + 2.5 * MiB) / MiB).toFixed(1);
    const refused = t.throws(() => a.exp(), { code: 'ERR_HEDDLE_OUT_OF_MEMORY' });
    t.regex(
      refused?.message ?? '',
      new RegExp(`^exp: out of memory: asked for 1\\.0 MiB, ${mib} MiB in use of a limit of ${limit} MiB, 0\\.5 MiB free`),
    );
    t.regex(refused?.message ?? '', /largest free block .*Made by: .*empty 1\.0 MiB/);
    t.regex(refused?.message ?? '', /It would fit with 0\.5 MiB less in use .*or with a limit of \d+\.\d MiB\n/);
    t.regex(refused?.message ?? '', /\n {2}Held by: .*other tensors 2\.0 MiB/);
    t.regex(refused?.message ?? '', /\n {2}Largest: .*1\.0 MiB f32 \(256, 1024\) made by add \(other tensors\)/);
    b.dispose();
    t.is(a.mul(3).dataSync()[0], 0);
  } finally {
    setMemoryLimit(0);
  }
});

test.serial('a batch too large fails wherever memory ends, leaves nothing behind, and a smaller one trains on', (t) => {
  const model = tiny();
  const optimizer = new AdamW(model);
  const expected = step(model, optimizer, 2);
  const { used, tensors } = memory();
  const places = new Set<string>();
  resetPeakMemory();
  step(model, optimizer, 16);
  const most = memory().peak - used;
  for (let part = 1; part < PARTS; part++) {
    setMemoryLimit(used + Math.floor((most * part) / PARTS));
    try {
      step(model, optimizer, 16);
      t.fail('the limit must be felt');
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_HEDDLE_OUT_OF_MEMORY') throw error;
      places.add((error as Error).message.split(':')[0] as string);
    } finally {
      setMemoryLimit(0);
    }
    const now: MemoryStats = memory();
    if (now.used !== used || now.tensors !== tensors) {
      t.deepEqual([part, [...places].at(-1), now.used, now.tensors], [part, [...places].at(-1), used, tensors]);
      return;
    }
    optimizer.zeroGrad();
  }
  t.true(places.size >= PLACES, [...places].join());
  const loss = step(model, optimizer, 2);
  t.true(loss < expected);
  optimizer.dispose();
  model.dispose();
});

test.serial('cached memory goes back', (t) => {
  releaseMemory();
  const before = memory().cached; // beside what is in use
  zeros([MiB]).dispose();
  t.true(memory().cached >= before + 4 * MiB);
  t.true(memory().largest >= 4 * MiB);
  releaseMemory();
  t.is(memory().cached, before);
});
