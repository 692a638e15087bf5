// The metadata of a GGUF file as a GPTConfig: what `architectureMetadata` writes, and llama.cpp's own converter.
import { type GPTConfig, gptConfig } from '../models/index.ts';
import type { RopeScaling } from '../ops/index.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { ARCHITECTURES, type GGUFArchitecture, ropeFactors } from './gguf-model.ts';
import type { GGUFFile } from './gguf-read.ts';

/** Fields of one architecture; missing ones without a default are errors. */
class Metadata {
  readonly #file: GGUFFile;
  readonly #architecture: GGUFArchitecture;

  constructor(file: GGUFFile, architecture: GGUFArchitecture) {
    this.#file = file;
    this.#architecture = architecture;
  }

  fail(name: string, expected: string, got: unknown): FileError {
    return new FileError(this.#file.file, `${this.#architecture}.${name} must be ${expected}, got ${show(got)}`);
  }

  get(name: string): unknown {
    const value = this.#file.metadata.get(`${this.#architecture}.${name}`);
    return typeof value === 'bigint' ? Number(value) : value;
  }

  count(name: string, fallback?: number): number {
    const value = this.get(name) ?? fallback;
    if (Number.isSafeInteger(value) && (value as number) >= 1) return value as number;
    throw this.fail(name, 'a positive integer', value);
  }

  number(name: string, fallback?: number): number {
    const value = this.get(name) ?? fallback;
    if (Number.isFinite(value) && (value as number) > 0) return value as number;
    throw this.fail(name, 'a positive number', value);
  }
}

/** @throws FileError where llama.cpp computes the file's model in a way that is not known here */
export function ggufArchitecture({ file, metadata }: GGUFFile): GGUFArchitecture {
  const name = metadata.get('general.architecture');
  const architecture = ARCHITECTURES.find((known) => known === name);
  if (architecture !== undefined) return architecture;
  throw new FileError(file, `general.architecture must be one of ${ARCHITECTURES.join(', ')}, got ${show(name)}`);
}

/** What the model is, by the file's metadata and by which tensors it holds. @throws FileError naming the key that is wrong */
export async function ggufConfig(file: GGUFFile): Promise<GPTConfig> {
  const architecture = ggufArchitecture(file);
  const m = new Metadata(file, architecture);
  const shape = file.tensors.get('token_embd.weight')?.shape ?? [];
  if (shape.length !== 2)
    throw new FileError(file.file, `tensor "token_embd.weight" must be there with two dimensions, got ${show(shape)}`);
  const sizes = {
    vocabSize: shape[0] as number,
    contextLength: m.count('context_length'),
    layers: m.count('block_count'),
    heads: m.count('attention.head_count'),
    width: m.count('embedding_length'),
    ffnWidth: m.count('feed_forward_length'),
    tiedHead: !file.tensors.has('output.weight'),
    dropout: 0,
  };
  try {
    if (architecture === 'gpt2') return gptConfig({ ...sizes, normEps: m.number('attention.layer_norm_epsilon', 1e-5) });
    return gptConfig({ ...sizes, ...(await modern(file, m, architecture, sizes)) });
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new FileError(file.file, `its model is not supported: ${error.message}`, { cause: error });
  }
}

async function modern(file: GGUFFile, m: Metadata, architecture: GGUFArchitecture, sizes: { heads: number; width: number }) {
  const headSize = m.count('attention.key_length', sizes.width / sizes.heads);
  for (const name of ['attention.value_length', 'rope.dimension_count'])
    if (m.count(name, headSize) !== headSize) throw m.fail(name, `${headSize}, the size of a head`, m.get(name));
  if (m.get('attention.sliding_window') !== undefined && m.get('attention.sliding_window') !== 0)
    throw m.fail('attention.sliding_window', 'absent', m.get('attention.sliding_window'));
  if (m.get('expert_count') !== undefined && m.get('expert_count') !== 0) throw m.fail('expert_count', 'absent', m.get('expert_count'));
  const has = (name: string): boolean => file.tensors.has(`blk.0.${name}`);
  const [qkv, proj, mlp] = [has('attn_q.bias'), has('attn_output.bias'), has('ffn_up.bias')];
  const ropeTheta = m.number('rope.freq_base', 10000);
  return {
    kvHeads: m.count('attention.head_count_kv', sizes.heads),
    headSize,
    norm: 'rmsnorm',
    normBias: false,
    normEps: m.number('attention.layer_norm_rms_epsilon'),
    activation: 'swiglu',
    positions: 'rotary',
    ropeTheta,
    ropeScaling: await scalingOf(file, m, { headSize, ropeTheta }),
    bias: mlp ? qkv || 'mlp' : proj ? 'attention' : qkv && 'qkv',
    qkNorm: architecture === 'qwen3',
    scaledInit: false,
  } as const;
}

async function scalingOf(file: GGUFFile, m: Metadata, rotary: { headSize: number; ropeTheta: number }): Promise<RopeScaling | null> {
  const type = m.get('rope.scaling.type') ?? 'none';
  if (type === 'linear') return { factor: m.number('rope.scaling.factor') };
  if (type !== 'none') throw m.fail('rope.scaling.type', 'none or linear', type);
  const info = file.tensors.get('rope_freqs.weight');
  if (!info) return null;
  const wrong = (expected: string) => new FileError(file.file, `tensor "rope_freqs.weight" must be ${expected}`);
  const count = rotary.headSize / 2;
  if (info.shape.length !== 1 || info.shape[0] !== count) throw wrong(`(${count}), one for each pair, got ${show(info.shape)}`);
  const scaling = stretchOf(await file.read('rope_freqs.weight'), rotary);
  if (scaling === undefined) throw wrong("divisors of frequencies as Llama 3.1's, which pass from 1 to a factor");
  return scaling;
}

/**
 * The stretching that gives these divisors: those between 1 and the factor lie on a line over the turns, turns = low + kept (high - low). Its
 * three numbers are known up to a common factor of context, low and high; low is 1, as in Llama 3.1.
 */
function stretchOf(divisors: Float32Array, { headSize, ropeTheta }: { headSize: number; ropeTheta: number }): RopeScaling | undefined {
  const factor = divisors.reduce((most, d) => Math.max(most, d), 0);
  if (!(factor > 1) || divisors.some((d) => !(d >= 1))) return undefined;
  const between = [...divisors.entries()].filter(([, d]) => d > 1 && d < factor);
  const point = ([i, d]: readonly [number, number]) => ({
    frequency: ropeTheta ** ((-2 * i) / headSize) / (2 * Math.PI),
    kept: (1 / d - 1 / factor) / (1 - 1 / factor),
  });
  const [first, last] = [between[0], between.at(-1)];
  if (first === undefined || last === undefined || first === last) return undefined;
  const [a, b] = [point(first), point(last)];
  const slope = (a.kept - b.kept) / (a.frequency - b.frequency); // context / (high - low)
  const start = slope * a.frequency - a.kept; // low / (high - low)
  const high = Math.round((1 + 1 / start) * 1e3) / 1e3;
  const scaling: RopeScaling = { factor, context: Math.round(slope / start), low: 1, high };
  if (!(scaling.context !== undefined && scaling.context >= 1 && high > 1)) return undefined;
  const again = ropeFactors({ positions: 'rotary', headSize, ropeTheta, ropeScaling: scaling });
  return again?.every((d, i) => Math.abs(d - (divisors[i] as number)) <= 1e-3 * d) ? scaling : undefined;
}
