import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { GPT, gptConfig } from '../../../lib/models/index.ts';
import { readMetrics } from '../../../lib/train/metrics/log.ts';
import { MetricsRecorder, peakTokens } from '../../../lib/train/metrics/recorder.ts';
import type { TrainerEvent } from '../../../lib/train/trainer.ts';

const step = (n: number, loss = 10 - n): TrainerEvent => ({
  ...{ type: 'step', step: n, loss, learningRate: 1e-3, gradNorm: 1, skipped: false, lossScale: 1, tokensPerSecond: 100, epoch: 0 },
});
const evaluation = (n: number): TrainerEvent => ({
  ...{ type: 'evaluation', step: n, best: true, loss: 3, perplexity: Math.exp(3), bitsPerByte: null, tokens: 9, bytes: 0 },
});

test('rows and event files; what is no figure is left out; a resumed run drops what came after its checkpoint', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-recorder-'));
  const first = new MetricsRecorder(folder);
  for (const event of [step(1), step(2), evaluation(2), { type: 'checkpoint', step: 2, folder: 'x' } as const, step(3, Number.NaN)])
    first.record(event);
  first.close();
  const file = join(folder, 'metrics.jsonl');
  t.deepEqual(
    readMetrics(file).map((r) => [r.step, r.event, r.loss]),
    [
      [1, 'step', 9],
      [2, 'step', 8],
      [2, 'evaluation', 3],
      [3, 'step', 'NaN'],
    ],
  );
  const second = new MetricsRecorder(folder, { resumeAt: 2 });
  second.record(step(3));
  second.close();
  t.deepEqual(
    readMetrics(file).map((r) => [r.step, r.loss]),
    [
      [1, 9],
      [2, 8],
      [2, 3],
      [3, 7],
    ],
  );
  const boards = readdirSync(join(folder, 'tensorboard'));
  t.is(boards.length, 2);
  const text = boards.map((name) => readFileSync(join(folder, 'tensorboard', name), 'latin1')).join('');
  for (const tag of ['train/loss', 'train/learning_rate', 'train/gradient_norm', 'train/tokens_per_second', 'validation/loss'])
    t.true(text.includes(tag), tag);
  t.false(text.includes('bits_per_byte'));
  const third = new MetricsRecorder(folder);
  third.close();
  t.deepEqual(readMetrics(file), [], 'a fresh run starts its log anew');
});

test('rows of a model have its device and the memory that this has held', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-recorder-'));
  const model = new GPT(gptConfig({ vocabSize: 5, contextLength: 4, layers: 1, heads: 1, width: 8 }), { device: 'cpu' });
  const recorder = new MetricsRecorder(folder, { model, contextLength: 4 });
  recorder.record(step(1));
  recorder.close();
  model.dispose();
  const [row] = readMetrics(join(folder, 'metrics.jsonl'));
  t.is(row?.device, 'cpu');
  t.true(Number(row?.memory) > 0);
  t.false('mfuPalm' in (row ?? {}), 'nobody knows the peak of this one');
});

test('utilisation is of the card of that name', (t) => {
  const config = gptConfig({}, 'gpt2');
  const perToken = 6 * 123_653_376 + 12 * 12 * 768 * 1024;
  t.is(peakTokens('NVIDIA H100 80GB HBM3', config, 1024), 989e12 / perToken);
  t.is(peakTokens('NVIDIA A100-SXM4-40GB', config, 1024), 312e12 / perToken);
  t.is(peakTokens('a card of next year', config, 1024), undefined);
});
