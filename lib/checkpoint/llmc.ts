// Model checkpoints of llm.c: 256 header words, then the parameters of a GPT-2, each kind for all layers. Little-endian.
import { noGrad } from '../autograd/index.ts';
import { paddedVocabSize } from '../models/config.ts';
import { GPT, type GPTConfig, gptConfig } from '../models/index.ts';
import type { Compute, Parameter } from '../nn/index.ts';
import { copyInto } from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import { scope } from '../tensor/tensor.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { type FileSystem, naming, nodeFileSystem, readFully } from './filesystem.ts';
import { widen } from './weights-half.ts';

const MAGIC = 20240326;
const HEADER_BYTES = 1024;
const DTYPES = { 3: 'F32', 5: 'BF16' } as const;
const FIELDS = ['context length', 'vocabulary', 'layers', 'heads', 'width', 'padded vocabulary'] as const;

export interface LoadLLMCOptions {
  device?: Device;
  /** What the model computes with: see `Module.computeIn`. Default f32. */
  compute?: Compute;
  dropout?: number;
}

interface Header {
  readonly dtype: 'F32' | 'BF16';
  readonly config: GPTConfig;
  /** Rows of the embedding in the file. */
  readonly rows: number;
}

function parseHeader(file: string, bytes: Uint8Array, dropout: number): Header {
  const word = (i: number): number => new DataView(bytes.buffer, bytes.byteOffset).getInt32(4 * i, true);
  if (word(0) !== MAGIC) throw new FileError(file, `magic must be ${MAGIC}, that of a model of llm.c, got ${word(0)}`);
  const dtype = DTYPES[word(1) as 3 | 5];
  if (dtype === undefined) throw new FileError(file, `version must be 3 (f32) or 5 (bf16), got ${word(1)}`);
  for (const [i, field] of FIELDS.entries())
    if (word(2 + i) <= 0) throw new FileError(file, `${field} must be a positive integer, got ${word(2 + i)}`);
  const [contextLength, vocabSize, layers, heads, width, rows] = [2, 3, 4, 5, 6, 7].map(word) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (rows < vocabSize) throw new FileError(file, `padded vocabulary must be at least the vocabulary (${vocabSize}), got ${rows}`);
  const paddedVocab = rows === vocabSize ? 1 : Math.ceil(vocabSize / 128) * 128 === rows ? 128 : rows; // 128 is llm.c's own
  try {
    const config = gptConfig({ contextLength, vocabSize, layers, heads, width, paddedVocab, dropout });
    return { dtype, config, rows: paddedVocabSize(config) };
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new FileError(file, `its model is not supported: ${error.message}`, { cause: error });
  }
}

/** A run of equal arrays in the file: our parameter of each, and how many elements one has. */
interface Run {
  readonly names: readonly string[];
  readonly shape: readonly number[];
}

/** The parameters in the order of the file. */
function runsOf({ config: c, rows }: Header): Run[] {
  const C = c.width;
  const one = (name: string, ...shape: number[]): Run => ({ names: [name], shape });
  const each = (name: string, ...shape: number[]): Run => ({
    names: Array.from({ length: c.layers }, (_, i) => `blocks.${i}.${name}`),
    shape,
  });
  const both = (name: string, rowCount: number, columns: number): Run[] => [
    each(`${name}.weight`, rowCount, columns),
    each(`${name}.bias`, rowCount),
  ];
  const norm = (name: string): Run[] => [each(`${name}.weight`, C), each(`${name}.bias`, C)];
  return [
    ...[one('tokens.weight', rows, C), one('positions', c.contextLength, C), ...norm('norm1')],
    ...[...both('attn.qkv', 3 * C, C), ...both('attn.proj', C, C), ...norm('norm2')],
    ...[...both('mlp.up', 4 * C, C), ...both('mlp.down', C, 4 * C), one('norm.weight', C), one('norm.bias', C)],
  ];
}

/** Bytes of the parameters by the header alone, so that a claim of any size is refused before anything is made for it. */
function bytesOf({ config: c, rows, dtype }: Header): number {
  const C = c.width;
  const elements = (rows + c.contextLength) * C + c.layers * (12 * C * C + 13 * C) + 2 * C;
  return elements * (dtype === 'F32' ? 4 : 2);
}

/**
 * Reads a model that llm.c wrote (`gpt2_124M.bin`, version 3 in f32, version 5 in bf16).
 * @throws FileError naming the file and the field of its header that is wrong, or its size where it does not fit the header
 */
export async function loadLLMC(file: string, options: LoadLLMCOptions = {}, fs: FileSystem = nodeFileSystem): Promise<GPT> {
  const { device, compute = 'f32', dropout = 0 } = options;
  const source = await naming(file, 'open', () => fs.open(file, 'r'));
  try {
    const size = await naming(file, 'tell its size', () => source.size());
    if (size < HEADER_BYTES) throw new FileError(file, `header must be ${HEADER_BYTES} bytes, the file holds ${size}`);
    const header = parseHeader(file, await readFully(source, file, 'header', 0, HEADER_BYTES), dropout);
    const bytes = HEADER_BYTES + bytesOf(header);
    if (size !== bytes) throw new FileError(file, `must be ${bytes} bytes long by its header, got ${size}`);
    const model = new GPT(header.config, { seed: 0, ...(device && { device }) });
    try {
      const parameters = model.namedParameters();
      let position = HEADER_BYTES;
      for (const { names, shape } of runsOf(header))
        for (const name of names) {
          const length = shape.reduce((a, b) => a * b, 1) * (header.dtype === 'F32' ? 4 : 2);
          const values = widen(header.dtype, await readFully(source, file, name, position, length));
          position += length;
          const parameter = parameters.get(name) as Parameter;
          noGrad(() => scope(() => copyInto(parameter, tensor(values, { shape, device: parameter.device }))));
        }
      return model.computeIn(compute);
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    await source.close();
  }
}
