import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { bestCheckpoint, type Checkpoint, latestCheckpoint, openCheckpoint } from '../checkpoint/index.ts';
import { restoreTensors } from '../checkpoint/tensors.ts';
import { GPT, type GPTConfig, gptConfig } from '../models/index.ts';
import type { Compute } from '../nn/index.ts';
import { loadTokenizer, type Tokenizer, tokenizerFromJSON } from '../tokenizer/index.ts';
import { FileError } from '../util/errors.ts';

export interface OpenModel {
  model: GPT;
  /** Null: the folder holds none. */
  tokenizer: Tokenizer | null;
  /** The folder that the weights came from. */
  checkpoint: string;
  /** What the checkpoint says of its run. */
  config: unknown;
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

/** Model and tokenizer of a checkpoint. */
export async function modelOfCheckpoint(checkpoint: Checkpoint, device?: string): Promise<OpenModel> {
  const { model_type: kind, ...fields } = JSON.parse(await checkpoint.readText('config.json')) as { model_type?: string } & GPTConfig;
  if (kind !== 'heddle') throw new FileError(checkpoint.path('config.json'), `model_type must be heddle, got ${String(kind)}`);
  const model = new GPT(gptConfig(fields), { seed: 0, ...(device !== undefined && { device }) });
  await restoreTensors(checkpoint.path('model.safetensors'), model.namedParameters());
  const hasTokenizer = Object.hasOwn(checkpoint.manifest.files, 'tokenizer.json');
  const tokenizer = hasTokenizer
    ? tokenizerFromJSON(JSON.parse(await checkpoint.readText('tokenizer.json')) as object, checkpoint.path('tokenizer.json'))
    : null;
  return { model, tokenizer, checkpoint: checkpoint.folder, config: checkpoint.manifest.config };
}

/** A Hugging Face folder has a config.json that names another model type, and no checkpoint.json. */
function isHuggingFace(path: string): boolean {
  return existsSync(join(path, 'config.json')) && !existsSync(join(path, 'checkpoint.json'));
}

/** Opens a run's folder (its best checkpoint), a checkpoint, or a Hugging Face folder (GPT-2, Llama). */
export async function openModel(path: string, options: { device?: string; compute?: Compute } = {}): Promise<OpenModel> {
  const { device, compute = 'f32' } = options;
  if (!isHuggingFace(path)) {
    const opened = await modelOfCheckpoint(await findCheckpoint(path), device);
    opened.model.computeIn(compute);
    return opened;
  }
  const { loadPretrained } = await import('../checkpoint/pretrained.ts');
  const model = await loadPretrained(path, { compute, ...(device !== undefined && { device }) });
  const has = ['tokenizer.json', 'vocab.json', 'encoder.json'].some((name) => existsSync(join(path, name)));
  return { model, tokenizer: has ? loadTokenizer(path) : null, checkpoint: path, config: model.config };
}
