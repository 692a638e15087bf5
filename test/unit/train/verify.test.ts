import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { memory, parseRunConfig, type RunConfig, verifyResume } from '../../../lib/index.ts';
import { sampleText } from '../data/support.ts';
import { temporaryFolder } from './run_support.ts';

function config(folder: string, optimizer = 'adamw'): RunConfig {
  writeFileSync(join(folder, 'text.txt'), sampleText(2000));
  const yaml = `
out: ${join(folder, 'run')}
model: { layers: 2, heads: 2, width: 16, contextLength: 16, dropout: 0.1 }
tokenizer: { kind: byte }
data: { path: ${join(folder, 'text.txt')}, valFraction: 0.1 }
train: { steps: 100, batchSize: 2, gradientAccumulation: 2, optimizer: ${optimizer} }
`;
  return parseRunConfig(yaml, join(folder, 'run.yaml'));
}

test.serial('a sound configuration resumes bit for bit', async (t) => {
  const before = memory();
  for (const optimizer of ['adamw', 'muon']) {
    const verdict = await verifyResume(config(temporaryFolder(t), optimizer), { steps: 6 });
    t.deepEqual(verdict, { equal: true, steps: 6, firstDifference: null });
  }
  t.is(memory().used, before.used, 'its models are freed');
});

test.serial('what differs is named: a loss', async (t) => {
  let trainers = 0;
  let last: unknown;
  const verdict = await verifyResume(config(temporaryFolder(t)), {
    steps: 6,
    onEvent: (event, trainer) => {
      if (trainer !== last) trainers++;
      last = trainer;
      // The third trainer is the resumed one.
      if (trainers === 3 && event.type === 'step' && event.step === 4)
        trainer.model.tokens.weight.set(new Float32Array(trainer.model.tokens.weight.size));
    },
  });
  t.deepEqual(verdict, { equal: false, steps: 6, firstDifference: 'loss of step 5' });
});

test.serial('what differs is named: a parameter, and what the optimizer keeps', async (t) => {
  let trainers = 0;
  let last: unknown;
  const sabotage = (what: 'bias' | 'm') =>
    verifyResume(config(temporaryFolder(t)), {
      steps: 4,
      onEvent: (event, trainer) => {
        if (trainer !== last) trainers++;
        last = trainer;
        if (trainers % 3 !== 0 || event.type !== 'step' || event.step !== 4) return;
        const weight = trainer.model.blocks[1]?.parameters()[0];
        if (what === 'bias') weight?.set(weight.dataSync().map((v) => v + 1));
        const m = trainer.optimizer.buffers.get('m');
        if (what === 'm') m?.set(m.dataSync().map((v, i) => (i === 0 ? v + 1 : v)) as Float32Array);
      },
    });
  t.regex(String((await sabotage('bias')).firstDifference), /^blocks\.1\.\S+$/);
  t.regex(String((await sabotage('m')).firstDifference), /^m of \S+$/);
});
