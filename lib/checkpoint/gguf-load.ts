import { noGrad } from '../autograd/index.ts';
import { GPT } from '../models/index.ts';
import type { Compute, Parameter } from '../nn/index.ts';
import { copyInto, slice } from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import { sameShape, shapeText } from '../tensor/shape.ts';
import { scope } from '../tensor/tensor.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { ggufArchitecture, ggufConfig } from './gguf-config.ts';
import { type GGUFPiece, ggufPieces, unpermuteRows } from './gguf-model.ts';
import { type GGUFFile, openGGUF } from './gguf-read.ts';
import { tokenizerOfMetadata } from './gguf-tokenizer.ts';

export interface LoadGGUFOptions {
  device?: Device;
  /** What the model computes with: see `Module.computeIn`. Default f32. */
  compute?: Compute;
}

/** Tensors that are computed from the metadata, or hold nothing of the model. */
const COMPUTED = ['rope_freqs.weight'];

/** Every piece's tensor is there and has its shape, and no other one is. */
function checkPieces(file: GGUFFile, pieces: Iterable<GGUFPiece>): GGUFPiece[] {
  const found: GGUFPiece[] = [];
  for (const piece of pieces) {
    const shape = piece.columns === undefined ? [piece.rows] : [piece.rows, piece.columns];
    const got = file.tensors.get(piece.name)?.shape;
    if (!got) throw new FileError(file.file, `tensor ${show(piece.name)} is missing`);
    if (!sameShape(got, shape))
      throw new FileError(
        file.file,
        `tensor ${show(piece.name)}: shape must be ${shapeText(shape)} by its metadata, got ${shapeText(got)}`,
      );
    found.push(piece);
  }
  const expected = new Set([...found.map(({ name }) => name), ...COMPUTED]);
  const other = [...file.tensors.keys()].find((name) => !expected.has(name));
  if (other !== undefined) throw new FileError(file.file, `tensor ${show(other)} is not expected in a model with this metadata`);
  return found;
}

async function modelOf(file: GGUFFile, { device, compute = 'f32' }: LoadGGUFOptions): Promise<GPT> {
  const config = await ggufConfig(file);
  const pieces = checkPieces(file, ggufPieces(ggufArchitecture(file), config)); // before the model is made: metadata may claim any size
  const model = new GPT(config, { seed: 0, ...(device !== undefined && { device }) });
  try {
    const parameters = model.namedParameters();
    for (const { name, parameter, start, rows, columns = 1, permuted } of pieces) {
      const values = await file.read(name);
      const own = permuted === undefined ? values : unpermuteRows(values, permuted, columns);
      const to = parameters.get(parameter) as Parameter;
      const shape = [rows, ...to.shape.slice(1)];
      scope(() => noGrad(() => copyInto(slice(to, 0, start, start + rows), tensor(own, { shape, device: to.device }))));
    }
    return model.computeIn(compute);
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * The model of a GGUF file, as llama.cpp's programs have it: architectures gpt2, llama, qwen2 and qwen3, tensors in f32, f16, bf16, q8_0 and
 * q4_0, which become f32. The rows of the embedding are the vocabulary.
 * @throws FileError naming the key or tensor that is missing, misshapen or not supported
 */
export async function loadGGUF(file: string, options: LoadGGUFOptions = {}): Promise<GPT> {
  const opened = await openGGUF(file);
  try {
    return await modelOf(opened, options);
  } finally {
    await opened.close();
  }
}

/** The same with its tokenizer, a byte-level BPE; null: the file holds none. @throws FileError also for a tokenizer of another kind */
export async function openGGUFModel(file: string, options: LoadGGUFOptions = {}): Promise<{ model: GPT; tokenizer: Tokenizer | null }> {
  const opened = await openGGUF(file);
  try {
    const tokenizer = tokenizerOfMetadata(opened);
    return { model: await modelOf(opened, options), tokenizer };
  } finally {
    await opened.close();
  }
}
