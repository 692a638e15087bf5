import assert from 'node:assert/strict';
import { join } from 'node:path';
import { formatRunConfig, loadRunConfig, modelConfig, parseRunConfig } from '../../../lib/train/config.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { type Format, filesOf } from '../format.ts';
import { mutateYAML } from '../mutate_yaml.ts';

const BASE = `model: { layers: 2, heads: 2, width: 8, attention: [{}, { window: 4 }] }
train:
  betas: [0.9, 0.99]
  muon: { momentum: 0.9 }
`;
const FULL = `# a run
extends: base.yaml
name: small
out: runs/small
device: cpu
model:
  contextLength: 16
  dropout: { embedding: 0.1, attention: 0 }
  activation: swiglu
  ropeTheta: 1e4
tokenizer:
  kind: bpe
  vocabSize: 300
data:
  path: text.txt
  valFraction: 0.1
train:
  steps: 100
  learningRate: 2e-3
  warmup: 10
  schedule: wsd
  policy: { compute: bf16, lossScale: dynamic }
finetune:
  path: qa.jsonl
  train: &t { steps: 10 }
generate:
  prompt: "The whale"
  stop: ["\\n", end]
  seed: 0x10
`;
const FLOW = '{"model": {"preset": "quickstart", "dropout": 0.1}, "data": {"corpus": "moby-dick"}, "train": {"seed": 1, "keep": 3}}';

export const config: Format = {
  name: 'config',
  seeds: async () => [FULL, FLOW, 'extends: [base.yaml]\n'].map((text) => filesOf({ 'config.yaml': text, 'base.yaml': BASE })),
  mutators: { 'config.yaml': { weight: 4, mutate: mutateYAML }, 'base.yaml': { weight: 1, mutate: mutateYAML } },
  async read(folder) {
    const file = join(folder, 'config.yaml');
    const run = loadRunConfig(file);
    // `heddle config` prints it, and what it prints gives the same run.
    assert.deepEqual(parseRunConfig(formatRunConfig(run), file), run);
    try {
      modelConfig(run, 256);
    } catch (error) {
      if (!(error instanceof ArgumentError && error.message.startsWith('model.vocabSize must be'))) throw error;
    }
  },
};
