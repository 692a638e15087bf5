import { join } from 'node:path';
import { noGrad } from '../autograd/index.ts';
import { GPT, type GPTConfigInput } from '../models/index.ts';
import { requireNoLoRA } from '../models/lora.ts';
import type { Compute, Parameter } from '../nn/index.ts';
import { fill, slice, transpose } from '../ops/index.ts';
import { type Device, synchronize } from '../tensor/device.ts';
import { elements, sameShape, shapeText } from '../tensor/shape.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import { saveTokenizer, type Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { makeFolders, naming, nodeFileSystem } from './filesystem.ts';
import { type PretrainedConfig, parsePretrainedConfig } from './pretrained-config.ts';
import { pretrainedConfigOf } from './pretrained-export.ts';
import { openPretrained, type PretrainedFiles, readJSON } from './pretrained-files.ts';
import { HEAD, isBuffer, type Piece, prefixOf, pretrainedPieces } from './pretrained-names.ts';
import { readWholeFile } from './read.ts';
import { type SafetensorsEntry, type SafetensorsFile, writeSafetensors } from './safetensors.ts';
import { floatBytes, readFloatsInto } from './weights.ts';
import { replaceFile } from './write.ts';

export interface LoadPretrainedOptions {
  device?: Device;
  /** What the model computes with: see `Module.computeIn`. Default f32. */
  compute?: Compute;
  /** In place of the probabilities in config.json: one for all places, or by place. */
  dropout?: GPTConfigInput['dropout'];
  /** Rows of the embedding are rounded up to a multiple of this. Default 1: as many as in the file. */
  paddedVocab?: number;
  /** Fields of config.json that are not known here and do not change what the model computes. */
  ignoreConfig?: readonly string[];
}

/** The rows of a parameter that a piece is, in the file's layout: a view. */
export function pieceOf(piece: Piece, parameter: Tensor): Tensor {
  return noGrad(() =>
    scope(() => {
      const rows = slice(parameter, 0, piece.start, piece.start + piece.rows);
      return piece.transposed ? transpose(rows) : rows;
    }),
  );
}

function shapeInFile({ rows, columns, transposed }: Piece): number[] {
  if (columns === undefined) return [rows];
  return transposed ? [columns, rows] : [rows, columns];
}

/** The name under which a file holds a piece: with the base model's prefix or without. */
function nameIn(files: PretrainedFiles, prefix: string, piece: Piece): string | undefined {
  return [`${prefix}${piece.name}`, piece.name].find((name) => files.tensors.has(name));
}

/** Where each piece lies. @throws FileError naming the first tensor that is missing, misshapen or has no place in the model */
function findPieces(folder: string, files: PretrainedFiles, pretrained: PretrainedConfig) {
  const prefix = prefixOf(pretrained.type);
  const found: { piece: Piece; name: string; file: SafetensorsFile }[] = [];
  const expected = new Set<string>();
  for (const piece of pretrainedPieces(pretrained)) {
    const name = nameIn(files, prefix, piece);
    const file = name === undefined ? undefined : files.tensors.get(name);
    if (name === undefined || file === undefined)
      throw new FileError(folder, `tensor ${JSON.stringify(piece.name)} is missing in its weights`);
    const shape = shapeInFile(piece);
    const got = file.tensors.get(name)?.shape ?? [];
    if (!sameShape(got, shape))
      throw new FileError(
        file.file,
        `tensor ${JSON.stringify(name)}: shape must be ${shapeText(shape)} by config.json, got ${shapeText(got)}`,
      );
    expected.add(name);
    found.push({ piece, name, file });
  }
  for (const [name, file] of files.tensors) {
    const tiedHead = name === HEAD && pretrained.config.tiedHead; // the token embedding once more
    if (!expected.has(name) && !tiedHead && !isBuffer(name))
      throw new FileError(file.file, `tensor ${show(name)} is not expected in a model of type ${pretrained.type} with this config.json`);
  }
  return found;
}

/** Parameters that the pieces do not fill, as where rows pad the vocabulary, are 0 there. */
function clearRest(parameters: ReadonlyMap<string, Parameter>, pieces: readonly Piece[]): void {
  const filled = new Map<string, number>();
  for (const { parameter, rows, columns = 1 } of pieces) filled.set(parameter, (filled.get(parameter) ?? 0) + rows * columns);
  for (const [name, p] of parameters) if (filled.get(name) !== p.size) noGrad(() => fill(p, 0));
}

/**
 * Reads a Hugging Face folder (config.json; model.safetensors, or shards with model.safetensors.index.json) of model_type gpt2,
 * openai-gpt, llama, mistral, qwen2 or qwen3. Tensors in F32, F16 or BF16 go one at a time into f32 parameters.
 * @throws FileError naming the file and the field or tensor that is missing, unexpected or not supported
 */
export async function loadPretrained(folder: string, options: LoadPretrainedOptions = {}): Promise<GPT> {
  const file = join(folder, 'config.json');
  const { device, compute = 'f32', dropout, paddedVocab, ignoreConfig = [] } = options;
  const given = { ...(dropout !== undefined && { dropout }), ...(paddedVocab !== undefined && { paddedVocab }) };
  const pretrained = parsePretrainedConfig(file, await readJSON(file), given, ignoreConfig);
  const files = await openPretrained(folder);
  try {
    // Before the model is made: a config.json may claim any size.
    const found = findPieces(folder, files, pretrained);
    const model = new GPT(pretrained.config, { seed: 0, undefinedContents: true, ...(device && { device }) });
    try {
      const parameters = model.namedParameters();
      clearRest(
        parameters,
        found.map(({ piece }) => piece),
      );
      for (const { piece, name, file: source } of found) {
        const parameter = parameters.get(piece.parameter) as Parameter;
        const view = pieceOf(piece, parameter);
        try {
          await readFloatsInto(source, name, view, shapeInFile(piece));
        } finally {
          view.dispose();
        }
      }
      await synchronize(model.device).catch((error: Error) => {
        throw new FileError(folder, `its weights cannot be read: ${error.message}`, { cause: error });
      });
      return model.computeIn(compute);
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    await files.close();
  }
}

export interface SavePretrainedOptions {
  /** Id of the token that ends a document, for config.json. Default: the tokenizer's. */
  endOfText?: number;
  /** Goes into the folder, too: tokenizer.json and tokenizer_config.json. */
  tokenizer?: Tokenizer;
}

/**
 * Writes a model as a Hugging Face folder that transformers reads: config.json and model.safetensors, of the family that has a place
 * for its configuration: gpt2, openai-gpt, llama, mistral, qwen2 or qwen3. Biases that GPT-1 and GPT-2 have and the model has not are
 * written as zeros, which is the same function. The rows that pad the vocabulary are
 * left out.
 * @throws ArgumentError naming the field of the configuration that the nearest family has no place for
 */
export async function savePretrained(model: GPT, folder: string, options: SavePretrainedOptions = {}): Promise<void> {
  const { tokenizer, endOfText = tokenizer?.endOfText ?? null } = options;
  if (endOfText !== null && !(Number.isInteger(endOfText) && endOfText >= 0 && endOfText < model.config.vocabSize))
    throw new ArgumentError(`savePretrained: endOfText must be a token id below ${model.config.vocabSize}, got ${endOfText}`);
  requireNoLoRA(model, 'savePretrained');
  const { type, json } = pretrainedConfigOf(model.config, endOfText);
  const parameters = model.namedParameters();
  const pieces = [...pretrainedPieces({ type, config: model.config })];
  const entries = pieces.map((piece): SafetensorsEntry => {
    const parameter = parameters.get(piece.parameter);
    const shape = shapeInFile(piece);
    const bytes = async (): Promise<Uint8Array> => {
      if (!parameter) return new Uint8Array(4 * elements(shape));
      const view = pieceOf(piece, parameter);
      try {
        return floatBytes((await view.data()) as Float32Array);
      } finally {
        view.dispose();
      }
    };
    return { name: piece.name === HEAD ? HEAD : `${prefixOf(type)}${piece.name}`, dtype: 'F32', shape, bytes };
  });
  const fs = nodeFileSystem;
  await makeFolders(fs, folder);
  const configFile = join(folder, 'config.json');
  const config = new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);
  // Where the export before was of another model, its config.json must not describe the new weights, not even after a power cut.
  const before = await readWholeFile(fs, configFile).catch(() => undefined);
  if (before !== undefined && Buffer.compare(before, config) !== 0) {
    await naming(configFile, 'remove', () => fs.remove(configFile));
    await naming(folder, 'sync to disk', () => fs.syncFolder(folder));
  }
  if (tokenizer) saveTokenizer(tokenizer, folder);
  await writeSafetensors(join(folder, 'model.safetensors'), entries, { format: 'pt' });
  await replaceFile(fs, configFile, [config]);
}
