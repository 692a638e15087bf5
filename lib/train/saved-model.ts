// config.json of a checkpoint: what the model was, so that it can be made again before its weights are read.
import type { Checkpoint } from '../checkpoint/index.ts';
import { countElements } from '../checkpoint/tensors.ts';
import {
  countHead,
  countLoRA,
  type GPT,
  type GPTConfig,
  gptConfig,
  type HeadConfig,
  LORA_TARGETS,
  type LoRAConfig,
  type LoRATarget,
  loraConfigOf,
  QUANTIZATIONS,
  type Quantization,
  quantizedElements,
  ScoredGPT,
} from '../models/index.ts';
import { countParameters } from '../models/size.ts';
import type { Module } from '../nn/index.ts';
import { type ChatTemplate, chatTemplateConfig } from '../tokenizer/index.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { parseJSON } from '../util/json_text.ts';
import { show } from '../util/show.ts';

/** A model before its weights are there. */
export interface SavedModel {
  readonly config: GPTConfig;
  /** The changes of its matrices; null: none. */
  readonly lora: LoRAConfig | null;
  /** What reads its hidden states; null: nothing but its vocabulary. */
  readonly head: HeadConfig | null;
}

/** The text of config.json; `module`: what holds the model, or itself. */
export function encodeModel(model: GPT, module: Module = model): string {
  const head = module instanceof ScoredGPT ? module.head : null;
  const lora = loraConfigOf(model);
  return `${JSON.stringify({ model_type: 'heddle', ...model.config, ...(lora && { lora }), ...(head && { head }) }, null, 2)}\n`;
}

/** The text of tokenizer_config.json. */
export const encodeChatTemplate = (template: ChatTemplate): string => `${JSON.stringify(chatTemplateConfig(template), null, 1)}\n`;

/** A JSON file of a checkpoint that must hold an object. */
export async function readObject(checkpoint: Checkpoint, name: string): Promise<Record<string, unknown>> {
  const json = parseJSON(checkpoint.path(name), await checkpoint.readBytes(name));
  if (isObject(json)) return json;
  throw new FileError(checkpoint.path(name), `must hold an object, got ${show(json)}`);
}

const isObject = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);
const isQuantization = (x: unknown): x is Quantization => QUANTIZATIONS.includes(x as Quantization);
const isTarget = (x: unknown): x is LoRATarget => LORA_TARGETS.includes(x as LoRATarget);

function readLoRA(file: string, json: unknown): LoRAConfig | null {
  if (json === undefined) return null;
  if (!isObject(json)) throw new FileError(file, `lora must be an object, got ${show(json)}`);
  const field = <T>(name: keyof LoRAConfig, expected: string, is: (x: unknown) => x is T): T => {
    const value = json[name];
    if (!is(value)) throw new FileError(file, `lora.${name} must be ${expected}, got ${show(value)}`);
    return value;
  };
  return {
    rank: field('rank', 'a positive integer', (x): x is number => Number.isSafeInteger(x) && (x as number) >= 1),
    alpha: field('alpha', 'a positive number', (x): x is number => Number.isFinite(x) && (x as number) > 0),
    dropout: field('dropout', 'at least 0 and below 1', (x): x is number => typeof x === 'number' && x >= 0 && x < 1),
    dora: json.dora === undefined ? false : field('dora', 'true or false', (x): x is boolean => typeof x === 'boolean'),
    targets: field(
      'targets',
      `a list of different ones of ${LORA_TARGETS.join(', ')}`,
      (x): x is LoRATarget[] => Array.isArray(x) && x.length > 0 && x.every(isTarget) && new Set(x).size === x.length,
    ),
    quantize: json.quantize === undefined ? 'none' : field('quantize', `one of ${QUANTIZATIONS.join(', ')}`, isQuantization),
  };
}

function readHead(file: string, json: unknown): HeadConfig | null {
  if (json === undefined) return null;
  const { kind, labels, dropout } = isObject(json) ? json : {};
  const wrong = (field: string, expected: string, got: unknown) => new FileError(file, `${field} must be ${expected}, got ${show(got)}`);
  if (!(typeof dropout === 'number' && dropout >= 0 && dropout < 1)) throw wrong('head.dropout', 'at least 0 and below 1', dropout);
  if (kind === 'choice') return { kind, dropout };
  if (kind !== 'classification') throw wrong('head.kind', 'classification or choice', kind);
  if (
    !(Array.isArray(labels) && labels.length >= 2 && labels.every((x) => typeof x === 'string') && new Set(labels).size === labels.length)
  )
    throw wrong('head.labels', 'a list of at least two different texts', labels);
  return { kind, labels, dropout };
}

/** A table of positions is made, not read: it may be larger than the weights by so many bytes. */
const TABLE_BYTES = 64 << 20;

/** What config.json says; what it claims is held against the weights before anything is allocated for it. */
export async function readModel(checkpoint: Checkpoint): Promise<SavedModel> {
  const file = checkpoint.path('config.json');
  const { model_type: kind, lora: changes, head: reader, ...fields } = await readObject(checkpoint, 'config.json');
  if (kind !== 'heddle') throw new FileError(file, `model_type must be heddle, got ${show(kind)}`);
  let config: GPTConfig;
  try {
    config = gptConfig(fields);
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new FileError(file, error.message, { cause: error });
  }
  const [lora, head] = [readLoRA(file, changes), readHead(file, reader)];
  const { total, padding } = countParameters(config);
  const claimed =
    total + padding + (lora ? countLoRA(config, lora) + quantizedElements(config, lora) : 0) + (head ? countHead(config.width, head) : 0);
  const stored = await countElements(checkpoint.path('model.safetensors'));
  if (claimed !== stored) throw new FileError(file, `its model must have ${stored} parameters as model.safetensors holds, got ${claimed}`);
  const table = config.positions === 'sinusoidal' ? 4 * config.contextLength * config.width : 0;
  if (table > 4 * stored + TABLE_BYTES)
    throw new FileError(
      file,
      `contextLength must be one whose table of positions is not far larger than the weights, got ${config.contextLength}`,
    );
  return { config, lora, head };
}
