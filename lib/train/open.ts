import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { bestCheckpoint, type Checkpoint, latestCheckpoint, openCheckpoint } from '../checkpoint/index.ts';
import { countElements, restoreTensors } from '../checkpoint/tensors.ts';
import { type HubOptions, meansHub, modelFolder } from '../hub/index.ts';
import { GPT, type GPTConfig, gptConfig } from '../models/index.ts';
import { countParameters } from '../models/size.ts';
import type { Compute } from '../nn/index.ts';
import { loadTokenizer, type Tokenizer, tokenizerFromJSON } from '../tokenizer/index.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { parseJSON } from '../util/json_text.ts';
import { show } from '../util/show.ts';

export interface OpenModel {
  model: GPT;
  /** Null: the folder holds none. */
  tokenizer: Tokenizer | null;
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

async function readObject(checkpoint: Checkpoint, name: string): Promise<Record<string, unknown>> {
  const json = parseJSON(checkpoint.path(name), await checkpoint.readBytes(name));
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  throw new FileError(checkpoint.path(name), `must hold an object, got ${show(json)}`);
}

/** A table of positions is made, not read: it may be larger than the weights by so many bytes. */
const TABLE_BYTES = 64 << 20;

/** The model's configuration; what it claims is held against the weights before anything is allocated for it. */
async function configOf(checkpoint: Checkpoint): Promise<GPTConfig> {
  const file = checkpoint.path('config.json');
  const { model_type: kind, ...fields } = await readObject(checkpoint, 'config.json');
  if (kind !== 'heddle') throw new FileError(file, `model_type must be heddle, got ${show(kind)}`);
  let config: GPTConfig;
  try {
    config = gptConfig(fields);
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new FileError(file, error.message, { cause: error });
  }
  const { total, padding } = countParameters(config);
  const stored = await countElements(checkpoint.path('model.safetensors'));
  if (total + padding !== stored)
    throw new FileError(file, `its model must have ${stored} parameters as model.safetensors holds, got ${total + padding}`);
  const table = config.positions === 'sinusoidal' ? 4 * config.contextLength * config.width : 0;
  if (table > 4 * stored + TABLE_BYTES)
    throw new FileError(
      file,
      `contextLength must be one whose table of positions is not far larger than the weights, got ${config.contextLength}`,
    );
  return config;
}

async function tokenizerOf(checkpoint: Checkpoint, vocabSize: number): Promise<Tokenizer | null> {
  if (!Object.hasOwn(checkpoint.manifest.files, 'tokenizer.json')) return null;
  const file = checkpoint.path('tokenizer.json');
  const tokenizer = tokenizerFromJSON(await readObject(checkpoint, 'tokenizer.json'), file);
  if (tokenizer.vocabSize <= vocabSize) return tokenizer;
  throw new FileError(file, `its vocabulary must be at most the model's ${vocabSize} tokens, got ${tokenizer.vocabSize}`);
}

/** Model and tokenizer of a checkpoint. */
export async function modelOfCheckpoint(checkpoint: Checkpoint, device?: string): Promise<OpenModel> {
  const model = new GPT(await configOf(checkpoint), { seed: 0, ...(device !== undefined && { device }) });
  try {
    await restoreTensors(checkpoint.path('model.safetensors'), model.namedParameters());
    const tokenizer = await tokenizerOf(checkpoint, model.config.vocabSize);
    return { model, tokenizer, checkpoint: checkpoint.folder, config: checkpoint.manifest.config, steps: checkpoint.manifest.step };
  } catch (error) {
    model.dispose();
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

/** Opens a run's folder (its best checkpoint), a checkpoint, a Hugging Face folder, or a model of the hub by its id. */
export async function openModel(idOrPath: string, options: OpenModelOptions = {}): Promise<OpenModel> {
  const { device, compute = 'f32' } = options;
  if (!meansHub(idOrPath) && !isHuggingFace(idOrPath)) {
    const opened = await modelOfCheckpoint(await findCheckpoint(idOrPath), device);
    opened.model.computeIn(compute);
    return opened;
  }
  const path = await modelFolder(idOrPath, options.hub);
  const { loadPretrained } = await import('../checkpoint/pretrained.ts');
  const model = await loadPretrained(path, { compute, ...(device !== undefined && { device }) });
  const has = ['tokenizer.json', 'vocab.json', 'encoder.json'].some((name) => existsSync(join(path, name)));
  return { model, tokenizer: has ? loadTokenizer(path) : null, checkpoint: path, config: model.config, steps: null };
}
