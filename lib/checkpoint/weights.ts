import type { Module, Parameter } from '../nn/index.ts';
import { copyInto } from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import { sameShape, shapeText } from '../tensor/shape.ts';
import { scope } from '../tensor/tensor.ts';
import { FileError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import { openSafetensors, type SafetensorsEntry, type SafetensorsFile, writeSafetensors } from './safetensors.ts';
import { FLOAT_DTYPES, type FloatDType, isFloatDType, widen } from './weights-half.ts';

/** Little-endian bytes of f32 values. The host is little-endian, as all platforms of Node that heddle is built for. */
export function floatBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * The parameters of a module as entries of a safetensors file (F32), by their names. A parameter is read from the device when
 * its turn to be written comes.
 */
export function weightEntries(module: Module): SafetensorsEntry[] {
  return [...module.namedParameters()].map(([name, p]) => ({
    name,
    dtype: 'F32',
    shape: [...p.shape],
    bytes: async () => floatBytes((await p.data()) as Float32Array),
  }));
}

/** Writes a module's parameters as F32. The file takes its name only when it is complete. @throws FileError where the disk fails */
export async function saveWeights(file: string, module: Module): Promise<void> {
  await writeSafetensors(file, weightEntries(module), { format: 'heddle' });
}

/** The element type of a tensor. @throws FileError when it is none that is widened to f32 */
function floatType(file: SafetensorsFile, name: string): FloatDType {
  const dtype = file.tensors.get(name)?.dtype;
  if (isFloatDType(dtype)) return dtype;
  throw new FileError(file.file, `tensor ${JSON.stringify(name)}: dtype must be one of ${FLOAT_DTYPES.join(', ')}, got ${dtype}`);
}

/** One tensor of a file, which holds it, as f32. @throws FileError when its elements are of another kind than F32, F16 or BF16 */
export async function readFloats(file: SafetensorsFile, name: string): Promise<Float32Array> {
  return widen(floatType(file, name), await file.read(name));
}

/** @throws FileError naming the first tensor that is missing, of another shape or type, or unexpected */
function checkNames(file: SafetensorsFile, parameters: ReadonlyMap<string, Parameter>): void {
  for (const [name, p] of parameters) {
    const info = file.tensors.get(name);
    if (!info) {
      const near = nearest(
        name,
        [...file.tensors.keys()].filter((key) => !parameters.has(key)),
      );
      const hint = near === undefined ? {} : { hint: `The file holds ${JSON.stringify(near)}.` };
      throw new FileError(file.file, `tensor ${JSON.stringify(name)} is missing`, hint);
    }
    if (!sameShape(info.shape, p.shape))
      throw new FileError(file.file, `tensor ${JSON.stringify(name)}: shape must be ${shapeText(p.shape)}, got ${shapeText(info.shape)}`);
    floatType(file, name);
  }
  for (const name of file.tensors.keys())
    if (!parameters.has(name))
      throw new FileError(file.file, `tensor ${JSON.stringify(name)} is not expected: the model has no parameter of this name`);
}

/**
 * Reads what `saveWeights` wrote into a module of the same shape: F32, F16 or BF16, one tensor at a time, straight into the
 * parameters. Names, shapes and types are all checked before anything is overwritten.
 * @throws FileError naming the file and the tensor
 */
export async function loadWeights(file: string, module: Module): Promise<void> {
  const opened = await openSafetensors(file);
  try {
    const parameters = module.namedParameters();
    checkNames(opened, parameters);
    for (const [name, p] of parameters) {
      const values = await readFloats(opened, name);
      scope(() => copyInto(p, tensor(values, { shape: p.shape, device: p.device })));
    }
    module.refreshCompute();
  } finally {
    await opened.close();
  }
}
