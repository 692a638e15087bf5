// The policy is a value of the run's configuration, handed down to whoever computes; nothing global holds it.
import test from 'ava';
import { data, GPT, gptConfig, parseRunConfig, Trainer, trainConfig } from '../../../lib/index.ts';

test('the policy stands in the configuration of pretraining, and finetuning takes it over unless it has its own', (t) => {
  const run = parseRunConfig('train: { policy: { compute: bf16 } }\nfinetune: { train: { policy: { compute: f32 } } }', 'run.yaml');
  t.deepEqual(
    [run.train.policy, run.finetune.train.policy],
    [
      { compute: 'bf16', lossScale: 1, recompute: 'none', headRows: 0, moments: 'f32', weights: 'f32', offload: 'none' },
      { compute: 'f32', lossScale: 1, recompute: 'none', headRows: 0, moments: 'f32', weights: 'f32', offload: 'none' },
    ],
  );
  const inherited = parseRunConfig('train: { policy: { compute: bf16 } }', 'run.yaml');
  t.deepEqual(inherited.finetune.train.policy, {
    compute: 'bf16',
    lossScale: 1,
    recompute: 'none',
    headRows: 0,
    moments: 'f32',
    weights: 'f32',
    offload: 'none',
  });
  t.deepEqual(parseRunConfig('train: {}', 'run.yaml').train.policy, {
    compute: 'f32',
    lossScale: 1,
    recompute: 'none',
    headRows: 0,
    moments: 'f32',
    weights: 'f32',
    offload: 'none',
  });
});

test('two trainers with different policies do not know of each other, and the CPU refuses what it cannot do', (t) => {
  const tokens = new data.MemoryTokens({ tokens: Uint32Array.from({ length: 100 }, (_, i) => i % 7), vocabSize: 7 });
  const trainer = (compute: 'f32' | 'f16'): Trainer => {
    const model = new GPT(gptConfig({ vocabSize: 7, contextLength: 8, layers: 1, heads: 1, width: 8 }), { seed: 1 });
    const train = trainConfig({ steps: 1, batchSize: 1, policy: { compute } }, 8);
    return new Trainer({ model, train, data: new data.Loader(tokens, { batch: 1, length: 8 }) });
  };
  const first = trainer('f32');
  t.throws(() => trainer('f16'), { message: /train\.policy\.compute must be f32 or tf32 or bf16 or fp8 on the CPU, got f16/ });
  t.notThrows(() => trainer('f32').dispose());
  first.dispose();
});
