// LoRA's changes in PEFT's files: adapter_config.json and adapter_model.safetensors, under the names that the family's model has there.
import { join } from 'node:path';
import { noGrad } from '../autograd/index.ts';
import {
  type AddLoRAOptions,
  addLoRA,
  type GPT,
  type LoRATarget,
  lorasOf,
  type Quantization,
  quantizeLoRA,
  removeLoRA,
} from '../models/index.ts';
import { type LoRA, Parameter } from '../nn/index.ts';
import { copyInto, slice } from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import { sameShape, shapeText } from '../tensor/shape.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { makeFolders, nodeFileSystem } from './filesystem.ts';
import { familyOf } from './pretrained-export.ts';
import { isGPT } from './pretrained-families.ts';
import { readJSON } from './pretrained-files.ts';
import { prefixOf, pretrainedPieces } from './pretrained-names.ts';
import { openSafetensors, type SafetensorsEntry, type SafetensorsFile, writeSafetensors } from './safetensors.ts';
import { floatBytes, readFloats } from './weights.ts';
import { replaceFile } from './write.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';

/** A matrix of the family's files: where its change lies in the model. */
interface Place {
  /** PEFT's name of the module, `base_model.model.transformer.h.0.attn.c_attn`. */
  module: string;
  block: number;
  target: LoRATarget;
  part: number;
}

function placesOf(model: GPT): Place[] {
  const type = familyOf(model.config);
  const places: Place[] = [];
  for (const piece of pretrainedPieces({ type, config: model.config })) {
    const [, block, target] = /^blocks\.(\d+)\.(?:attn|mlp)\.(qkv|proj|up|down)\.weight$/.exec(piece.parameter) ?? [];
    if (block === undefined) continue;
    const before = places.filter((p) => p.block === Number(block) && p.target === target).length;
    const module = `base_model.model.${prefixOf(type)}${piece.name.replace(/\.weight$/, '')}`;
    places.push({ module, block: Number(block), target: target as LoRATarget, part: before });
  }
  return places;
}

/** The lengths of a part's rows: a view. */
function magnitudeOf({ magnitude, b }: LoRA, part: number): Tensor {
  const rows = b.map((p) => p.shape[0] as number);
  const start = rows.slice(0, part).reduce((sum, n) => sum + n, 0);
  return noGrad(() => slice(magnitude as Parameter, 0, start, start + (rows[part] as number)));
}

/** The parameters behind PEFT's names of tensors. */
function tensorsOf(model: GPT): Map<string, Tensor> {
  const loras = new Map<string, LoRA>([...lorasOf(model)].map(({ block, target, lora }) => [`${block} ${target}`, lora]));
  return new Map<string, Tensor>(
    placesOf(model).flatMap(({ module, block, target, part }) => {
      const lora = loras.get(`${block} ${target}`);
      if (!lora) return [];
      return [
        [`${module}.lora_A.weight`, lora.a[part] as Parameter],
        [`${module}.lora_B.weight`, lora.b[part] as Parameter],
        ...(lora.magnitude ? [[`${module}.lora_magnitude_vector`, magnitudeOf(lora, part)] as const] : []),
      ] as const;
    }),
  );
}

/** What PEFT calls a module, in whichever block it is: `q_proj`; `attn.c_proj`, since GPT's feed-forward part has a `c_proj`, too. */
function moduleName(module: string, gpt: boolean): string {
  const words = module.split('.');
  return words.slice(gpt ? -2 : -1).join('.');
}

export interface SaveLoRAOptions {
  /** Name or folder of the model that was changed, for those who load the files. */
  base?: string;
}

/**
 * Writes the changes of a model (see `addLoRA`) as PEFT does; `PeftModel.from_pretrained(base, folder)` reads them.
 * @throws ArgumentError when the model has none
 */
export async function saveLoRA(model: GPT, folder: string, options: SaveLoRAOptions = {}): Promise<void> {
  const tensors = tensorsOf(model);
  const [first] = lorasOf(model);
  if (!first) throw new ArgumentError('saveLoRA: the model has no changes: addLoRA makes them');
  const entries = [...tensors].map(([name, p]): SafetensorsEntry => {
    return { name, dtype: 'F32', shape: [...p.shape], bytes: async () => floatBytes((await p.data()) as Float32Array) };
  });
  const gpt = isGPT(familyOf(model.config));
  const modules = new Set([...tensors.keys()].map((name) => moduleName(name.replace(/\.lora_([AB]\.weight|magnitude_vector)$/, ''), gpt)));
  const config = {
    ...{ peft_type: 'LORA', task_type: 'CAUSAL_LM', base_model_name_or_path: options.base ?? null, inference_mode: true },
    ...{ r: first.lora.rank, lora_alpha: first.lora.alpha, lora_dropout: first.lora.dropout, bias: 'none' },
    ...(first.lora.magnitude && { use_dora: true }),
    ...{ fan_in_fan_out: gpt, target_modules: [...modules] },
  };
  await makeFolders(nodeFileSystem, folder);
  await writeSafetensors(join(folder, WEIGHTS), entries, { format: 'pt' });
  await replaceFile(nodeFileSystem, join(folder, CONFIG), [new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`)]);
}

/** Keys of adapter_config.json that change what is computed, and the values with which they do not. */
const PLAIN: Readonly<Record<string, readonly unknown[]>> = {
  bias: ['none'],
  modules_to_save: [null],
  rank_pattern: [null, {}],
  alpha_pattern: [null, {}],
  layer_replication: [null],
  megatron_config: [null],
  trainable_token_indices: [null],
  target_parameters: [null, []],
  lora_bias: [false],
  alora_invocation_tokens: [null],
};

function readConfig(file: string, json: unknown): { rank: number; alpha: number; dropout: number; dora: boolean } {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new FileError(file, `must be a JSON object, got ${show(json)}`);
  const c = json as Record<string, unknown>;
  if (c.peft_type !== 'LORA') throw new FileError(file, `peft_type must be "LORA", got ${show(c.peft_type)}`);
  for (const [key, values] of Object.entries(PLAIN))
    if (key in c && !values.some((v) => JSON.stringify(v) === JSON.stringify(c[key])))
      throw new FileError(file, `${key} must be ${show(values[0])}, got ${show(c[key])}: heddle has no such changes`);
  const { r, lora_alpha: alpha } = c;
  if (!(Number.isSafeInteger(r) && (r as number) > 0)) throw new FileError(file, `r must be a positive integer, got ${show(r)}`);
  if (!(typeof alpha === 'number' && Number.isFinite(alpha) && alpha > 0))
    throw new FileError(file, `lora_alpha must be a positive number, got ${show(alpha)}`);
  const dropout = c.lora_dropout ?? 0;
  if (!(typeof dropout === 'number' && dropout >= 0 && dropout < 1))
    throw new FileError(file, `lora_dropout must be at least 0 and below 1, got ${show(dropout)}`);
  if (c.use_dora !== undefined && typeof c.use_dora !== 'boolean')
    throw new FileError(file, `use_dora must be true or false, got ${show(c.use_dora)}`);
  const dora = c.use_dora === true;
  return { dora, rank: r as number, alpha: c.use_rslora === true ? alpha * Math.sqrt(r as number) : alpha, dropout };
}

/** Which of our matrices the file's tensors change. @throws FileError for a tensor that has no place, or one without its other half */
function targetsIn(file: SafetensorsFile, model: GPT, dora: boolean): LoRATarget[] {
  const places = new Map(placesOf(model).map((p) => [p.module, p]));
  const targets = new Set<LoRATarget>();
  for (const name of file.tensors.keys()) {
    const [, module = '', half = 'M'] = /^(.*)\.lora_(?:([AB])\.weight|magnitude_vector)$/.exec(name) ?? [];
    const place = places.get(module);
    if (!place || (half === 'M' && !dora)) throw new FileError(file.file, `tensor ${show(name)} is no change of a matrix of this model`);
    const others = [`${module}.lora_A.weight`, `${module}.lora_B.weight`, ...(dora ? [`${module}.lora_magnitude_vector`] : [])];
    const missing = others.find((other) => !file.tensors.has(other));
    if (missing !== undefined) throw new FileError(file.file, `tensor ${show(missing)} is missing`);
    targets.add(place.target);
  }
  if (targets.size === 0) throw new FileError(file.file, 'must hold changes of matrices, got no tensor');
  return [...targets];
}

async function fill(model: GPT, file: SafetensorsFile): Promise<void> {
  const tensors = tensorsOf(model);
  for (const [name, { shape }] of file.tensors) {
    const parameter = tensors.get(name) as Tensor;
    if (!sameShape(shape, parameter.shape))
      throw new FileError(file.file, `tensor ${show(name)}: shape must be ${shapeText(parameter.shape)}, got ${shapeText(shape)}`);
    const values = await readFloats(file, name);
    scope(() => copyInto(parameter, tensor(values, { shape: [...shape], device: parameter.device })));
    if (parameter instanceof Parameter) parameter.refreshCompute();
  }
}

export interface LoadLoRAOptions {
  /** `nf4`: the changed matrices are kept in 4 bits from then on (QLoRA). Default none. */
  quantize?: Quantization;
}

/**
 * Gives a model the changes that PEFT, or `saveLoRA`, wrote for it: as after `addLoRA`, so that training goes on, or `mergeLoRA` adds them
 * for good. Matrices that the files leave alone get a change of 0. The files do not say how the matrices were kept, nor need they:
 * `quantize` does, as in `addLoRA`.
 * @throws FileError naming the field or tensor that is missing, misshapen or not supported; the model is then as before
 */
export async function loadLoRA(model: GPT, folder: string, { quantize = 'none' }: LoadLoRAOptions = {}): Promise<void> {
  const config = readConfig(join(folder, CONFIG), await readJSON(join(folder, CONFIG)));
  const file = await openSafetensors(join(folder, WEIGHTS));
  try {
    const options: AddLoRAOptions = { ...config, targets: targetsIn(file, model, config.dora) };
    addLoRA(model, options);
    try {
      await fill(model, file);
      if (quantize === 'nf4') quantizeLoRA(model);
    } catch (error) {
      removeLoRA(model);
      throw error;
    }
  } finally {
    await file.close();
  }
}
