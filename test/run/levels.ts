// Trains a few steps, at the instruction set in $HEDDLE_CPU or on the device of the first argument, and prints a digest of all parameters:
// for test/unit/levels.test.ts and test/unit/ops/kernels.test.ts.
import { createHash } from 'node:crypto';
import { AdamW, GPT, type GPTConfigInput, gptConfig, RandomSource, scope, setDefaultDevice, type Tensor, tensor } from '../../lib/index.ts';

setDefaultDevice(process.argv[2] ?? 'cpu');
const [V, B, T] = [301, 3, 50];
const sizes = { vocabSize: V, contextLength: T, layers: 2, heads: 4, width: 76, headSize: 20 };
const configs: readonly GPTConfigInput[] = [
  { ...sizes, dropout: 0.1 },
  {
    ...sizes,
    norm: 'rmsnorm',
    positions: 'rotary',
    activation: 'swiglu',
    bias: false,
    kvHeads: 2,
    qkNorm: true,
    attention: [{}, { window: 9 }],
  },
];

const ids = (shift: number): Tensor =>
  tensor(
    Int32Array.from({ length: B * T }, (_, i) => ((i + shift) * 7919) % V),
    { shape: [B, T] },
  );

const hash = createHash('sha256');
for (const config of configs) {
  const model = new GPT(gptConfig(config), { seed: 3 });
  const optimizer = new AdamW(model, { lr: 3e-3 });
  const random = new RandomSource(5);
  for (let step = 0; step < 4; step++) {
    random.begin(step);
    scope(() => {
      model.loss(ids(step), ids(step + 1), { random }).backward();
      optimizer.clipGradNorm(1);
      optimizer.step();
      optimizer.zeroGrad();
    });
  }
  for (const p of model.parameters()) hash.update(new Uint8Array((await p.data()).buffer));
}
console.log(hash.digest('hex'));
