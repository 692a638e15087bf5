// What a stranger's first script does with the installed package: three training steps. Prints the losses as JSON.
import { AdamW, GPT, gptConfig, scope, tensor } from 'heddle';

const config = gptConfig({ vocabSize: 64, contextLength: 16, layers: 2, heads: 2, width: 32 });
const model = new GPT(config, { seed: 1 });
const optimizer = new AdamW(model, { lr: 1e-2 });

const [B, T] = [4, config.contextLength];
const text = Int32Array.from({ length: B * (T + 1) }, (_, i) => (i * 7) % config.vocabSize);
const rows = (shift) => Int32Array.from({ length: B * T }, (_, i) => text[Math.floor(i / T) * (T + 1) + (i % T) + shift]);

const losses = [];
for (let step = 0; step < 3; step++) {
  const loss = scope(() => {
    const value = model.loss(tensor(rows(0), { shape: [B, T] }), tensor(rows(1), { shape: [B, T] }));
    optimizer.zeroGrad();
    value.backward();
    optimizer.step();
    return value;
  });
  losses.push((await loss.data())[0]);
  loss.dispose();
}
console.log(JSON.stringify({ losses }));
