import { noGrad } from '../autograd/index.ts';
import type { GPT } from '../models/index.ts';
import { requireNoLoRA } from '../models/lora.ts';
import { slice } from '../ops/index.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { ArgumentError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { nodeFileSystem } from './filesystem.ts';
import { architectureMetadata, architectureOf, type GGUFPiece, ggufPieces, permuteRows, ropeFactors } from './gguf-model.ts';
import { tokenizerMetadata } from './gguf-tokenizer.ts';
import { encodeElements, GGUF_TYPES, type GGUFType, LAYOUTS } from './gguf-types.ts';
import { encodeGGUF, type GGUFTensor, type GGUFValue } from './gguf-write.ts';
import { replaceFile } from './write.ts';

export type { GGUFType } from './gguf-types.ts';

export interface SaveGGUFOptions {
  /** Of the matrices; vectors and positions stay f32. Default f16. */
  type?: GGUFType;
  /** A byte-level BPE to go into the file. Without one, the file holds the weights alone. */
  tokenizer?: Tokenizer;
  /** Id of the token that ends a document; default: the tokenizer's. */
  endOfText?: number;
  /** The model's name, for people. */
  name?: string;
}

/** The values of a piece as the file has them. Biases that GPT-2 has and the model has not are zeros. */
async function valuesOf(piece: GGUFPiece, parameter: Tensor | undefined): Promise<Float32Array> {
  const { rows, columns = 1, start, permuted } = piece;
  if (!parameter) return new Float32Array(rows * columns);
  const view = noGrad(() => scope(() => slice(parameter, 0, start, start + rows)));
  try {
    const values = (await view.data()) as Float32Array;
    return permuted === undefined ? values : permuteRows(values, permuted, columns);
  } finally {
    view.dispose();
  }
}

/** Vectors and the table of positions are f32, as llama.cpp wants them. */
function typeOf({ columns, name }: GGUFPiece, type: GGUFType): GGUFType {
  if (columns === undefined || name.startsWith('position_embd')) return 'f32';
  const { block } = LAYOUTS[type];
  if (columns % block === 0) return type;
  throw new ArgumentError(`saveGGUF: type ${type} needs rows of a multiple of ${block}, got ${columns} in ${name}`, {
    hint: 'f32, f16 and bf16 take rows of any length.',
  });
}

/**
 * Writes a model as a GGUF file, which llama.cpp and the programs built on it read: models that are a gpt2, llama, qwen2 or qwen3 there.
 * @throws ArgumentError naming the field of the configuration that has no place in such a file
 */
export async function saveGGUF(model: GPT, file: string, options: SaveGGUFOptions = {}): Promise<void> {
  const { type = 'f16', tokenizer, endOfText, name } = options;
  if (!GGUF_TYPES.includes(type)) throw new ArgumentError(`saveGGUF: type must be one of ${GGUF_TYPES.join(', ')}, got ${show(type)}`);
  requireNoLoRA(model, 'saveGGUF');
  const c = model.config;
  if (endOfText !== undefined && !(Number.isInteger(endOfText) && endOfText >= 0 && endOfText < c.vocabSize))
    throw new ArgumentError(`saveGGUF: endOfText must be a token id below ${c.vocabSize}, got ${endOfText}`);
  const architecture = architectureOf(c);
  const metadata = new Map<string, GGUFValue>([
    ['general.architecture', { type: 'string', value: architecture }],
    ['general.type', { type: 'string', value: 'model' }],
    ['general.name', { type: 'string', value: name ?? architecture }],
    ['general.file_type', { type: 'u32', value: LAYOUTS[type].fileType }],
    ['general.quantization_version', { type: 'u32', value: 2 }],
    ...architectureMetadata(architecture, c),
    ...(tokenizer ? tokenizerMetadata(tokenizer, c.vocabSize, endOfText) : NO_VOCABULARY),
  ]);
  const parameters = model.namedParameters();
  const tensors = [...ggufPieces(architecture, c)].map((piece): GGUFTensor => {
    const stored = typeOf(piece, type);
    const shape = piece.columns === undefined ? [piece.rows] : [piece.rows, piece.columns];
    return {
      name: piece.name,
      type: stored,
      shape,
      bytes: async () => encodeElements(stored, await valuesOf(piece, parameters.get(piece.parameter))),
    };
  });
  const factors = ropeFactors(c);
  if (factors)
    tensors.push({ name: 'rope_freqs.weight', type: 'f32', shape: [factors.length], bytes: async () => encodeElements('f32', factors) });
  await replaceFile(nodeFileSystem, file, encodeGGUF(metadata, tensors));
}

const NO_VOCABULARY: readonly (readonly [string, GGUFValue])[] = [['tokenizer.ggml.model', { type: 'string', value: 'no_vocab' }]];
