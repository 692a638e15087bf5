// Reading a folder of golden fixtures: index.json and the safetensors files that it names (test/fixtures/README.md).
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { openSafetensors } from '../../lib/checkpoint/safetensors.ts';

export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** What a case says beside its tensors: formulas and settings, by name. */
export type Attributes = Readonly<Record<string, unknown>>;

export interface FixtureCase {
  readonly file: string;
  readonly case: string;
  readonly op: string;
  readonly attrs: Attributes;
  readonly inputs: readonly string[];
  readonly consts?: readonly string[];
  readonly outputs: readonly string[];
  readonly tol: Readonly<Record<string, number>>;
  readonly bf16_err?: Readonly<Record<string, number>>;
}

export interface FixtureModel {
  readonly dir: string;
  readonly model_type: string;
  readonly optimizer: Attributes;
  readonly loss: number;
  readonly train_loss: readonly number[];
  readonly train_grad_norm: readonly number[];
  readonly final_param_l2: Readonly<Record<string, number>>;
  readonly tol: Readonly<Record<string, number>>;
}

export interface FixtureIndex {
  readonly meta: Attributes;
  readonly cases: readonly FixtureCase[];
  readonly models: readonly FixtureModel[];
}

export async function readIndex(folder: string): Promise<FixtureIndex> {
  return JSON.parse(await readFile(path.join(folder, 'index.json'), 'utf8')) as FixtureIndex;
}

/** All tensors of a safetensors file, by name; f32 and i32 only, which is all that fixtures hold. */
export async function readTensors(file: string): Promise<Map<string, HostTensor>> {
  const opened = await openSafetensors(file);
  try {
    const tensors = new Map<string, HostTensor>();
    for (const [name, { dtype, shape }] of opened.tensors) {
      const { buffer } = Uint8Array.from(await opened.read(name));
      if (dtype !== 'F32' && dtype !== 'I32') throw new Error(`${file}: tensor ${name} must be F32 or I32, got ${dtype}`);
      const Type = dtype === 'F32' ? Float32Array : Int32Array;
      tensors.set(name, { shape, data: new Type(buffer) });
    }
    return tensors;
  } finally {
    await opened.close();
  }
}
