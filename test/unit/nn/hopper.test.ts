// Five steps of a GPT of width 256 in bf16, beside PyTorch's figures (test/fixtures/gpt-256), on cards whose products take Hopper's kernel.
import { readFileSync } from 'node:fs';
import test from 'ava';
import { type AdamOptions, AdamW, GPT, type GPTConfigInput, gptConfig, noGrad, scope, type Tensor, tensor } from '../../../lib/index.ts';
import { native } from '../../../lib/native/addon.ts';
import { copyInto } from '../../../lib/ops/index.ts';
import { gpuInfo } from '../../../lib/tensor/index.ts';
import { DEVICES, onDevice } from '../../run/devices.ts';
import { hashes, projections } from '../../run/hashed.ts';
import { needs } from '../../run/needs.ts';

interface Golden {
  config: Required<Pick<GPTConfigInput, 'vocabSize' | 'contextLength' | 'layers' | 'heads' | 'width'>>;
  /** Of each batch. */
  rows: number[];
  optimizer: AdamOptions;
  /** What PyTorch in bf16 is from the figures below. */
  bf16_errors: { loss: number; gradient: Record<string, number>; gradient_norm: number; final_norm: number };
  loss: number[];
  gradient_norm: number[];
  /** In the first step. */
  gradient: Record<string, { norm: number; projections: number[] }>;
  final_norm: Record<string, number>;
}

const golden = JSON.parse(readFileSync('test/fixtures/gpt-256/golden.json', 'utf8')) as Golden;
const TOKENS = 99; // the stream of the tokens; parameters have those of their places

/** The model of golden.py, in bf16. */
function modelOn(device: string): GPT {
  const model = new GPT(gptConfig(golden.config), { device });
  for (const [stream, [name, p]] of [...model.namedParameters()].entries()) {
    const isScale = name.includes('norm') && name.endsWith('weight');
    const values = Float32Array.from(hashes(stream, p.size), (h) => (h / 2 ** 32 - 0.5) * 0.1 + (isScale ? 1 : 0));
    noGrad(() => scope(() => copyInto(p, tensor(values, { shape: p.shape, device }))));
  }
  return model.computeIn('bf16');
}

/** Ids and targets of a step: every other token is drawn, the one behind it follows from it. */
function batch(step: number, device: string): [Tensor, Tensor] {
  const { vocabSize, contextLength: T } = golden.config;
  const before = (n: number): number => T * golden.rows.slice(0, n).reduce((a, b) => a + b, 0);
  const drawn = hashes(TOKENS, before(golden.rows.length) + 1);
  const from = (first: number): Tensor => {
    const ids = Int32Array.from({ length: before(step + 1) - before(step) }, (_, i) => {
      const at = first + i;
      return ((drawn[at >> 1] as number) + (at % 2) * 37) % vocabSize;
    });
    return tensor(ids, { shape: [golden.rows[step] as number, T], device });
  };
  return [from(before(step)), from(before(step) + 1)];
}

const norm = (x: ArrayLike<number>): number => Math.sqrt(Array.from(x).reduce((sum, v) => sum + v * v, 0));

for (const device of needs(
  'a card of compute capability 9.0',
  DEVICES.filter((d) => gpuInfo(d)?.capability === 90),
))
  test(`five steps in bf16 by Hopper's products err no more than twice as much as PyTorch in bf16${onDevice(device)}`, (t) => {
    t.timeout(1_200_000, 'a simulated card is slow');
    /** Twice PyTorch's error, and a rounding to bf16. */
    const near = (what: string, error: number, theirs: number): void => {
      const most = 2 * theirs + 2 ** -8;
      t.true(error <= most, `${what}: ${error}, at most ${most}`);
    };
    const { bf16_errors: theirs, optimizer: settings } = golden;
    using model = modelOn(device);
    t.deepEqual([...model.namedParameters().keys()], Object.keys(golden.gradient));
    const optimizer = new AdamW(model, settings);
    for (const [step, want] of golden.loss.entries()) {
      native.startLaunchLog();
      scope(() => {
        const loss = model.loss(...batch(step, device));
        near(`loss ${step}`, Math.abs(loss.itemSync() - want), theirs.loss);
        if (step === golden.gradient_norm.length) return; // the last loss is after the last update
        loss.backward();
        const gradients = [...model.namedParameters()].map(([name, p]) => [name, p.grad?.dataSync() as Float32Array] as const);
        const wantNorm = golden.gradient_norm[step] as number;
        near(`gradient norm ${step}`, Math.abs(norm(gradients.map(([, g]) => norm(g))) / wantNorm - 1), theirs.gradient_norm);
        if (step === 0)
          for (const [stream, [name, g]] of gradients.entries()) {
            const { norm: size, projections: sums } = golden.gradient[name] as (typeof golden.gradient)[string];
            const errors = projections(stream, g).map((sum, i) => Math.abs(sum - (sums[i] as number)) / size);
            near(`gradient of ${name}`, Math.max(...errors), theirs.gradient[name] as number);
          }
        optimizer.step();
        optimizer.zeroGrad();
      });
      if (step === golden.gradient_norm.length) break;
      // Every weight has three products; what attention multiplies by matmul is Hopper's, too.
      const products = native.takeLaunchLog().flatMap((r) => (r.kernel.startsWith('matmul') ? [r.kernel] : []));
      const others = products.filter((kernel) => !/^matmul bf16 \d+x\d+x64 wgmma( stream-K)?$/.test(kernel));
      t.deepEqual(others, [], `step ${step}`);
      const weights = 4 * golden.config.layers + 1;
      const inChunks = products.filter((kernel) => kernel.endsWith('stream-K')).length;
      t.is(inChunks, (golden.rows[step] as number) * golden.config.contextLength >= 4096 ? weights : 0, `step ${step}: ${products}`);
      t.true(products.length >= 3 * weights, `step ${step}: ${products}`);
    }
    for (const [name, p] of model.namedParameters()) {
      const want = golden.final_norm[name] as number;
      near(`final norm of ${name}`, Math.abs(norm(p.dataSync()) / want - 1), theirs.final_norm);
    }
    optimizer.dispose();
  });
