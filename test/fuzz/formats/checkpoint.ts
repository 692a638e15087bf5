import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { bestCheckpoint, saveCheckpoint, setBestCheckpoint } from '../../../lib/checkpoint/index.ts';
import { tensorEntries } from '../../../lib/checkpoint/tensors.ts';
import { Loader, MemoryTokens } from '../../../lib/data/index.ts';
import { addLoRA, GPTForSequenceClassification } from '../../../lib/models/index.ts';
import { defaultChatTemplate } from '../../../lib/tokenizer/index.ts';
import { runConfigFromJSON } from '../../../lib/train/config.ts';
import { fillTrain } from '../../../lib/train/config-defaults.ts';
import { findCheckpoint, modelOfCheckpoint } from '../../../lib/train/open.ts';
import { encodeChatTemplate, encodeModel } from '../../../lib/train/saved-model.ts';
import { Trainer } from '../../../lib/train/trainer.ts';
import type { Draw } from '../draw.ts';
import type { Files, Format } from '../format.ts';
import { mutateBytes } from '../mutate_bytes.ts';
import { mutateJSON } from '../mutate_json.ts';
import { mutateSafetensors } from './safetensors.ts';
import { charTokenizer, filesMade, tinyModel, useModel, useTokenizer } from './support.ts';

const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex');

type Mutable = Map<string, Uint8Array | 'folder'>;

/** Stamps the files anew and signs checkpoint.json, as someone would who wants to be believed. */
function seal(files: Mutable, draw: Draw, prefix = ''): void {
  if (draw.oneIn(8)) return;
  const manifest = files.get(`${prefix}checkpoint.json`);
  if (!(manifest instanceof Uint8Array)) return;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(manifest));
  } catch {
    return;
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return;
  const { sha256: _, ...body } = json as Record<string, unknown>;
  if (typeof body.files === 'object' && body.files !== null && !Array.isArray(body.files))
    for (const name of Object.keys(body.files)) {
      const content = files.get(prefix + name);
      if (content instanceof Uint8Array)
        Object.defineProperty(body.files, name, {
          value: { size: content.length, sha256: sha256(content) },
          enumerable: true,
          configurable: true,
        });
    }
  try {
    files.set(`${prefix}checkpoint.json`, new TextEncoder().encode(JSON.stringify({ ...body, sha256: sha256(JSON.stringify(body)) })));
  } catch {
    // nested too deep for JSON.stringify: stays as it is
  }
}

function trainer(checkpoints?: string): Trainer {
  const tokenizer = charTokenizer();
  const { vocabSize } = tokenizer;
  const train = fillTrain({ steps: 2, batchSize: 1, seed: 3, evalEvery: 0, saveEvery: 0 }, 6);
  const tokens = new MemoryTokens({ tokens: Array.from({ length: 60 }, (_, i) => i % vocabSize), vocabSize });
  loader = new Loader(tokens, { batch: 1, length: 6, seed: 3 });
  const config = { name: 'run', train: { steps: 2 }, generate: { prompt: 'the' } };
  return new Trainer({
    model: tinyModel({ vocabSize }),
    data: loader,
    train,
    tokenizer,
    config,
    ...(checkpoints !== undefined && { checkpoints }),
  });
}

/** One trainer for all cases: resuming must not need a new one. */
let resumed: Trainer | undefined;
let loader: Loader | undefined;

async function saved(): Promise<Files> {
  return filesMade(async (folder) => {
    const made = trainer(folder);
    await made.run();
    made.dispose();
    made.model.dispose();
  });
}

/** A classifier with changes of its matrices, and a chat template. */
async function savedClassifier(): Promise<Files> {
  return filesMade(async (folder) => {
    const tokenizer = charTokenizer();
    const model = tinyModel({ vocabSize: tokenizer.vocabSize });
    addLoRA(model, { rank: 1, dora: true, quantize: 'nf4', seed: 1 });
    const head = new GPTForSequenceClassification(model, ['a', 'b'], { seed: 1 });
    await saveCheckpoint(folder, {
      ...{ step: 1, config: {}, loader: {}, rng: {}, state: {} },
      files: {
        'model.safetensors': { tensors: tensorEntries(head.namedTensors()) },
        'config.json': encodeModel(model, head),
        'tokenizer.json': JSON.stringify(tokenizer.toJSON()),
        'tokenizer_config.json': encodeChatTemplate(defaultChatTemplate(tokenizer)),
      },
    });
    head.dispose();
  });
}

/** The files of the only checkpoint of a folder of checkpoints, at the top. */
function inside(files: Files): Files {
  return new Map([...files].map(([name, content]) => [name.replace(/^step-\d+\//, ''), content]));
}

const FILES = {
  'checkpoint.json': { weight: 6, mutate: mutateJSON },
  'config.json': { weight: 3, mutate: mutateJSON },
  'tokenizer.json': { weight: 2, mutate: mutateJSON },
  'tokenizer_config.json': { weight: 1, mutate: mutateJSON },
  'model.safetensors': { weight: 2, mutate: mutateSafetensors },
  'optimizer.safetensors': { weight: 2, mutate: mutateSafetensors },
};

export const checkpoint: Format = {
  name: 'checkpoint',
  seeds: async () => [inside(await saved()), inside(await savedClassifier())],
  mutators: FILES,
  seal,
  async read(folder) {
    const found = await findCheckpoint(folder);
    const { model, head, tokenizer, chatTemplate, config } = await modelOfCheckpoint(found);
    try {
      useModel(model);
      chatTemplate?.render([{ role: 'user', content: 'a' }]);
      if (tokenizer) useTokenizer(tokenizer);
      assert(Number.isSafeInteger(found.manifest.step) && found.manifest.step >= 0);
      runConfigFromJSON(config, join(folder, 'checkpoint.json')); // as `heddle generate` does
    } finally {
      (head ?? model).dispose();
    }
  },
};

export const resume: Format = {
  name: 'resume',
  seeds: async () => {
    const files = inside(await saved());
    resumed = trainer();
    return [files];
  },
  mutators: { 'checkpoint.json': { weight: 6, mutate: mutateJSON }, 'optimizer.safetensors': { weight: 1, mutate: mutateSafetensors } },
  seal,
  async read(folder) {
    const t = resumed as Trainer;
    await t.resume(await findCheckpoint(folder));
    assert(Number.isSafeInteger(t.step) && t.step >= 0);
    const { inputs } = (loader as Loader).next();
    assert(inputs.length === 6 && inputs.every((id) => id >= 0 && id < t.model.config.vocabSize));
    assert(t.bestLoss === null || Number.isFinite(t.bestLoss));
    const { updates } = await t.optimizer.report();
    assert(Number.isSafeInteger(updates) && updates >= 0, `updates ${updates}`);
  },
};

export const best: Format = {
  name: 'best',
  seeds: async () => [
    await filesMade(async (folder) => {
      for (const step of [1, 2])
        await saveCheckpoint(folder, { step, config: {}, loader: {}, rng: {}, state: {}, files: { 'a.txt': 'a' } });
      await setBestCheckpoint(folder, { step: 1, value: 2.5 });
    }),
  ],
  mutators: {
    'best.json': { weight: 8, mutate: mutateJSON },
    'step-00000001/checkpoint.json': { weight: 2, mutate: mutateJSON },
    'step-00000001/a.txt': { weight: 1, mutate: mutateBytes },
  },
  seal: (files, draw) => seal(files, draw, 'step-00000001/'),
  async read(folder) {
    const found = await bestCheckpoint(folder);
    if (found === undefined) return;
    assert(Number.isFinite(found.value));
    assert(Number.isSafeInteger(found.checkpoint.manifest.step));
    for (const name of Object.keys(found.checkpoint.manifest.files)) await found.checkpoint.readBytes(name);
  },
};
