// 200 steps of a character model on every GPU, beside the same on the CPU. Roundings differ and training amplifies them, so curves part; how
// far rounding alone parts them is found on the CPU, by runs whose parameters are moved by a unit in the last place after each step.
import { readFileSync } from 'node:fs';
import test from 'ava';
import { AdamW, GPT, gptConfig, noGrad, scope, type Tensor, tensor } from '../../../lib/index.ts';
import { copyInto } from '../../../lib/ops/index.ts';
import { DEVICES, onDevice } from '../../run/devices.ts';
import { hashes } from '../../run/hashed.ts';
import { needs } from '../../run/needs.ts';

const STEPS = 200;
const [B, T] = [4, 32];
const text = readFileSync('docs/architecture.md');
const characters = [...new Set(text)].sort((a, b) => a - b);
const ids = Int32Array.from(text, (c) => characters.indexOf(c));

/** The same windows of the text in every run. */
function batch(step: number, device: string): [Tensor, Tensor] {
  const starts = [...hashes(step, B)].map((h) => h % (ids.length - T - 1));
  const from = (shift: number): Tensor => {
    const rows = starts.map((start) => [...ids.subarray(start + shift, start + shift + T)]);
    return tensor(Int32Array.from(rows.flat()), { shape: [B, T], device });
  };
  return [from(0), from(1)];
}

/** Parameters times 1 ± 2^-23, by a stream of hashes. */
function shake(model: GPT, stream: number): void {
  for (const p of model.parameters()) {
    const signs = hashes(stream++, p.size);
    const values = (p.dataSync() as Float32Array).map((x, i) => x * (1 + ((signs[i] as number) & 1 ? 1 : -1) * 2 ** -23));
    noGrad(() => scope(() => copyInto(p, tensor(values, { shape: p.shape }))));
  }
}

/** Losses of the steps. `shaken`: the number of a disturbed run. */
function curve(device: string, shaken = 0): number[] {
  const shape = { vocabSize: characters.length, contextLength: T, layers: 2, heads: 4, width: 64 };
  using model = new GPT(gptConfig(shape), { device, seed: 5 });
  const optimizer = new AdamW(model, { lr: 1e-3, betas: [0.9, 0.99], weightDecay: 0.1 });
  const losses = Array.from({ length: STEPS }, (_, step) =>
    scope(() => {
      const loss = model.loss(...batch(step, device));
      loss.backward();
      optimizer.clipGradNorm(1);
      optimizer.step();
      optimizer.zeroGrad();
      if (shaken > 0) shake(model, 1000 * (step + STEPS * shaken));
      return loss.itemSync();
    }),
  );
  optimizer.dispose();
  return losses;
}

/** The largest difference up to each step. */
function apart(a: readonly number[], b: readonly number[]): number[] {
  let most = 0;
  return a.map((x, i) => (most = Math.max(most, Math.abs(x - (b[i] as number)))));
}

for (const device of needs(
  'a GPU',
  DEVICES.filter((d) => d !== 'cpu'),
))
  test(`200 steps of a character model stay as near to the CPU's as roundings allow${onDevice(device)}`, (t) => {
    t.timeout(3_600_000);
    const own = curve('cpu');
    t.true((own.at(-1) as number) < 0.8 * (own[0] as number), `it learns: ${own[0]} to ${own.at(-1)}`);
    const spreads = [1, 2, 3].map((n) => apart(own, curve('cpu', n)));
    const spread = own.map((_, i) => Math.max(...spreads.map((s) => s[i] as number)));
    const got = apart(own, curve(device));
    // Every op rounds, and only the parameters were shaken: a few times their spread.
    const worst = got.map((d, i) => d / (4 * (spread[i] as number) + 2 ** -20));
    t.log(`at the end ${got.at(-1)?.toExponential(1)} apart, rounding alone ${spread.at(-1)?.toExponential(1)}`);
    t.true(Math.max(...worst) <= 1, `at worst ${Math.max(...worst).toFixed(2)} of four times what rounding alone parts`);
  });
