// A training loop by hand: what Trainer does, without accumulation, evaluation and checkpoints.
import { AdamW, CharTokenizer, data, GPT, gptConfig, RandomSource, schedule, scope, tensor } from 'heddle';

const text = 'the quick brown fox jumps over the lazy dog; the dog sleeps on. '.repeat(40);
const tokenizer = CharTokenizer.train([text]);
const tokens = new data.MemoryTokens({ tokens: tokenizer.encode(text), vocabSize: tokenizer.vocabSize });

const [B, T, steps] = [8, 32, 60];
const config = gptConfig({ vocabSize: tokenizer.vocabSize, contextLength: T, layers: 2, heads: 2, width: 64, dropout: 0.05 });
const model = new GPT(config, { seed: 1 });
const optimizer = new AdamW(model, { betas: [0.9, 0.95], weightDecay: 0.1 }); // decay reaches the matrices only
const learningRate = schedule({ kind: 'cosine', learningRate: 3e-3, minLearningRate: 3e-4, warmup: 5, steps, decaySteps: steps });
const loader = new data.Loader(tokens, { batch: B, length: T, seed: 1 });
const random = new RandomSource(1); // for dropout: the masks of a step are a function of (seed, step)

for (let step = 0; step < steps; step++) {
  const batch = loader.next();
  random.begin(step);
  // A step only enqueues work. The scope frees all its tensors but the one that it returns.
  const loss = scope(() => {
    const inputs = tensor(batch.inputs, { shape: [B, T] });
    const targets = tensor(batch.targets, { shape: [B, T] });
    const loss = model.loss(inputs, targets, { random });
    loss.backward();
    optimizer.clipGradNorm(1);
    optimizer.step(learningRate(step));
    optimizer.zeroGrad();
    return loss;
  });
  // Waiting happens here, and the event loop goes on meanwhile.
  const value = await loss.item();
  loss.dispose();
  if (step % 10 === 0 || step === steps - 1) {
    const { gradNorm } = await optimizer.report();
    console.log(`step ${step + 1}: loss ${value.toFixed(3)}, gradient norm ${gradNorm.toFixed(2)}`);
  }
}
