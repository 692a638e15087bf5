import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { bestCheckpoint, type Checkpoint, latestCheckpoint, openCheckpoint } from '../checkpoint/index.ts';
import { isModelFile, openModelFile } from '../checkpoint/model-file.ts';
import { restoreTensors } from '../checkpoint/tensors.ts';
import { type HubOptions, meansHub, modelFolder } from '../hub/index.ts';
import { addLoRA, GPT, makeHead, type ScoredGPT } from '../models/index.ts';
import type { Compute } from '../nn/index.ts';
import {
  type ChatTemplate,
  chatTemplateOfConfig,
  loadChatTemplate,
  loadTokenizer,
  type Tokenizer,
  tokenizerFromJSON,
} from '../tokenizer/index.ts';
import { FileError } from '../util/errors.ts';
import { readModel, readObject } from './saved-model.ts';

export interface OpenModel {
  model: GPT;
  /** What reads its hidden states, of a model that was finetuned to classify or to choose; to be disposed of in its place. */
  head: ScoredGPT | null;
  /** Null: the folder holds none. */
  tokenizer: Tokenizer | null;
  /** How its conversations are written; null: it comes without a template (`defaultChatTemplate` will do). */
  chatTemplate: ChatTemplate | null;
  /** The folder that the weights came from. */
  checkpoint: string;
  /** What the checkpoint says of its run. */
  config: unknown;
  /** Steps of training that the checkpoint tells of; null for a Hugging Face folder. */
  steps: number | null;
}

/** The checkpoint that a path means: a checkpoint itself, or a run's best one, or its newest. */
export async function findCheckpoint(path: string): Promise<Checkpoint> {
  if (existsSync(join(path, 'checkpoint.json'))) return openCheckpoint(path);
  const folder = existsSync(join(path, 'checkpoints')) ? join(path, 'checkpoints') : path;
  if (!existsSync(folder)) throw new FileError(path, 'no such file or folder');
  const best = await bestCheckpoint(folder);
  if (best) return best.checkpoint;
  const { checkpoint, skipped } = await latestCheckpoint(folder);
  if (checkpoint) return checkpoint;
  const why = skipped.map((s) => `${s.name}: ${s.why}`).join('; ');
  throw new FileError(path, `holds no complete checkpoint${why ? ` (${why})` : ''}`, {
    hint: 'Give a run folder, a checkpoint folder or a Hugging Face folder.',
  });
}

async function tokenizerOf(checkpoint: Checkpoint, vocabSize: number): Promise<Tokenizer | null> {
  if (!Object.hasOwn(checkpoint.manifest.files, 'tokenizer.json')) return null;
  const file = checkpoint.path('tokenizer.json');
  const tokenizer = tokenizerFromJSON(await readObject(checkpoint, 'tokenizer.json'), file);
  if (tokenizer.vocabSize <= vocabSize) return tokenizer;
  throw new FileError(file, `its vocabulary must be at most the model's ${vocabSize} tokens, got ${tokenizer.vocabSize}`);
}

async function chatTemplateOf(checkpoint: Checkpoint, tokenizer: Tokenizer | null): Promise<ChatTemplate | null> {
  const name = 'tokenizer_config.json';
  if (!tokenizer || !Object.hasOwn(checkpoint.manifest.files, name)) return null;
  return chatTemplateOfConfig(checkpoint.path(name), await readObject(checkpoint, name), tokenizer);
}

/** Model and tokenizer of a checkpoint; a model that was trained with LoRA has its changes, apart (`mergeLoRA` adds them). */
export async function modelOfCheckpoint(checkpoint: Checkpoint, device?: string): Promise<OpenModel> {
  const { config: shape, lora, head: reader } = await readModel(checkpoint);
  const model = new GPT(shape, { seed: 0, ...(device !== undefined && { device }) });
  let head: ScoredGPT | null = null;
  try {
    if (lora) addLoRA(model, { ...lora, seed: 0 });
    head = reader && makeHead(model, reader, 0);
    await restoreTensors(checkpoint.path('model.safetensors'), (head ?? model).namedTensors());
    const tokenizer = await tokenizerOf(checkpoint, model.config.vocabSize);
    const chatTemplate = await chatTemplateOf(checkpoint, tokenizer);
    const { config, step: steps } = checkpoint.manifest;
    return { model, head, tokenizer, chatTemplate, checkpoint: checkpoint.folder, config, steps };
  } catch (error) {
    (head ?? model).dispose();
    throw error;
  }
}

/** A Hugging Face folder has a config.json that names another model type, and no checkpoint.json. */
function isHuggingFace(path: string): boolean {
  return existsSync(join(path, 'config.json')) && !existsSync(join(path, 'checkpoint.json'));
}

export interface OpenModelOptions {
  device?: string;
  compute?: Compute;
  /** How a model of the hub is fetched. */
  hub?: HubOptions;
}

/**
 * Opens a run's folder (its best checkpoint), a checkpoint, a Hugging Face folder, a model of the hub by its id, a GGUF file (`.gguf`) or a
 * checkpoint of nanoGPT (`.pt`, which holds no tokenizer).
 */
export async function openModel(idOrPath: string, options: OpenModelOptions = {}): Promise<OpenModel> {
  const { device, compute = 'f32' } = options;
  if (isModelFile(idOrPath)) {
    const opened = await openModelFile(idOrPath, { compute, ...(device !== undefined && { device }) });
    return { ...opened, head: null, chatTemplate: null, checkpoint: idOrPath, config: opened.model.config, steps: null };
  }
  if (!meansHub(idOrPath) && !isHuggingFace(idOrPath)) {
    const opened = await modelOfCheckpoint(await findCheckpoint(idOrPath), device);
    opened.model.computeIn(compute);
    return opened;
  }
  const path = await modelFolder(idOrPath, options.hub);
  const { loadPretrained } = await import('../checkpoint/pretrained.ts');
  const model = await loadPretrained(path, { compute, ...(device !== undefined && { device }) });
  const has = ['tokenizer.json', 'vocab.json', 'encoder.json'].some((name) => existsSync(join(path, name)));
  const tokenizer = has ? loadTokenizer(path) : null;
  const chatTemplate = tokenizer && loadChatTemplate(path, tokenizer);
  return { model, head: null, tokenizer, chatTemplate, checkpoint: path, config: model.config, steps: null };
}
