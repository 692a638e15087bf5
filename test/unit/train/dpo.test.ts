import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  ByteTokenizer,
  backward,
  data,
  dpoObjective,
  encodePreferences,
  finetune,
  GPT,
  gptConfig,
  memory,
  type nn,
  noGrad,
  parseRunConfig,
  preferenceMargins,
  pretrain,
  RandomSource,
  scope,
  type TrainerEvent,
  tensor,
} from '../../../lib/index.ts';
import { lossOn, temporaryFolder } from './run_support.ts';

const byte = new ByteTokenizer();
const PAIRS = [
  { prompt: 'a', chosen: 'xy', rejected: 'z' },
  { prompt: 'bc', chosen: 'x', rejected: 'zzz' },
  { prompt: 'd', chosen: 'y', rejected: 'w' },
];
const small = (): GPT => new GPT(gptConfig({ vocabSize: 257, contextLength: 16, layers: 1, heads: 2, width: 16 }), { seed: 3 });

/** log π(completion | prompt), token by token from the logits, in doubles. */
function logProbability(model: GPT, prompt: string, completion: string): number {
  const ids = [...byte.encode(prompt), ...byte.encode(completion), byte.endOfText as number];
  const input = Int32Array.from(ids.slice(0, -1));
  const logits = scope(() => noGrad(() => model.logits(tensor(input, { shape: [1, input.length] })).dataSync())) as Float32Array;
  let sum = 0;
  for (let i = byte.encode(prompt).length; i < ids.length; i++) {
    const row = [...logits.subarray((i - 1) * 257, i * 257)];
    const most = Math.max(...row);
    sum += (row[ids[i] as number] as number) - most - Math.log(row.reduce((s, x) => s + Math.exp(x - most), 0));
  }
  return sum;
}

test("margins are those of the completions' log-probabilities, whatever stands beside them in the batch", async (t) => {
  const model = small();
  const found = await preferenceMargins(model, encodePreferences(PAIRS, byte), 16);
  for (const [i, { prompt, chosen, rejected }] of PAIRS.entries()) {
    const expected = logProbability(model, prompt, chosen) - logProbability(model, prompt, rejected);
    t.true(Math.abs((found[i] as number) - expected) < 1e-4, `${found[i]} ${expected}`);
  }
  model.dispose();
});

test('the loss is the formula of the paper, log 2 at first, its gradient that of central differences', async (t) => {
  const model = small();
  const tokens = encodePreferences(PAIRS, byte);
  const reference = await preferenceMargins(model, tokens, 16);
  const beta = 0.5;
  const objective = dpoObjective(model, { train: { tokens, reference }, validation: { tokens, reference }, beta, length: 16 });
  const [batch] = [...data.groupsOnce(tokens, { size: 2, batch: 3, length: 16 })] as [data.GroupsBatch];
  const scale = tensor([1 / 3], { shape: [] }).keep();
  const loss = () => lossOn(objective, batch, { random: new RandomSource(1), scales: [scale] });
  const value = (): number => noGrad(() => scope(() => loss().dataSync()[0] as number));
  t.true(Math.abs(value() - Math.log(2)) < 1e-5);
  const up = (model.blocks[0] as GPT['blocks'][0]).mlp.up.weight as nn.Parameter;
  const values = up.dataSync() as Float32Array;
  const moved = values.map((v, i) => v + 0.3 * Math.sin(i));
  up.set(moved);
  const now = await preferenceMargins(model, tokens, 16);
  const rewards = [...now].map((m, i) => beta * (m - (reference[i] as number)));
  const expected = rewards.reduce((sum, r) => sum + Math.log(1 + Math.exp(-r)), 0) / 3;
  t.true(Math.abs(value() - expected) < 1e-5, `${value()} ${expected}`);
  const evaluation = await objective.evaluate?.(0);
  t.true(Math.abs((evaluation?.loss as number) - expected) < 1e-6);
  t.is(evaluation?.metrics?.rewardAccuracy, rewards.filter((r) => r > 0).length / 3);
  scope(() => backward(loss()));
  const gradient = up.grad?.dataSync() as Float32Array;
  const [h, most] = [1e-2, Math.max(...gradient.map(Math.abs))];
  for (const place of [0, 100, 513, 1000]) {
    const at = (x: number): number => {
      up.set(moved.map((v, i) => (i === place ? v + x : v)));
      return value();
    };
    const numeric = (at(h) - at(-h)) / (2 * h);
    t.true(Math.abs(numeric - (gradient[place] as number)) < 0.02 * most, `${numeric} ${gradient[place]}`);
  }
  scale.dispose();
  model.dispose();
});

test.serial('the better answer is learned; resumed, the reference is still the model before', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'text.txt'), 'Is the sea deep? yes. Is it day? no. Is it far? maybe. '.repeat(60));
  const lines = Array.from({ length: 40 }, (_, i) => ({
    prompt: `Is it ${'abcdefgh'[i % 8]}? `,
    chosen: 'yes',
    rejected: i % 2 ? 'no' : 'maybe',
  }));
  writeFileSync(join(folder, 'pairs.jsonl'), lines.map((line) => JSON.stringify(line)).join('\n'));
  const yaml = `
out: ${join(folder, 'run')}
model: { layers: 1, heads: 2, width: 32, contextLength: 32 }
tokenizer: { kind: byte }
data: { path: text.txt }
train: { steps: 40, batchSize: 4, learningRate: 0.01, evalEvery: 0 }
finetune: { task: dpo, path: pairs.jsonl, valFraction: 0.2, dpo: { beta: 0.2 }, train: { steps: 20, batchSize: 8, learningRate: 0.002, evalEvery: 20 } }
`;
  const run = parseRunConfig(yaml, join(folder, 'run.yaml'));
  await pretrain(run);
  const before = memory();
  const whole: number[] = [];
  const result = await finetune(run, { onEvent: (e) => void (e.type === 'step' && whole.push(e.loss)) });
  t.true(Math.abs((whole[0] as number) - Math.log(2)) < 1e-4, `${whole[0]}`);
  t.is(result.metrics.rewardAccuracy, 1, JSON.stringify(result.metrics));
  t.true((result.metrics.rewardMargin as number) > 0.5, JSON.stringify(result.metrics));
  t.is(memory().used, before.used);
  const stop = new AbortController();
  const losses: number[] = [];
  const record = (e: TrainerEvent): void => {
    if (e.type === 'step') losses.push(e.loss);
    if (e.type === 'step' && e.step === 7) stop.abort();
  };
  await finetune(run, { fresh: true, signal: stop.signal, onEvent: record });
  await finetune(run, { resume: true, onEvent: record });
  t.deepEqual(losses, whole);
});
