import type { Module, Parameter } from '../nn/index.ts';
import { copyInto } from '../ops/index.ts';
import { empty, tensor } from '../tensor/create.ts';
import { isDense, readFileInto } from '../tensor/file.ts';
import { sameShape, shapeText } from '../tensor/shape.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
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
  if (module.frozenCount() > 0) throw new ArgumentError('saveWeights: the module has matrices in NF4: mergeLoRA takes them out');
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

const TENSOR_TYPES = { F32: 'f32', F16: 'f16', BF16: 'bf16' } as const;

/**
 * Puts a tensor of a file, which has this shape there, into an f32 tensor of the same shape: any view of one. Where both are the
 * system's, the CPU's threads read the file straight into it, or into memory from which it is converted or transposed, without the event
 * loop; what goes wrong with that comes at the next wait.
 * @throws FileError when its elements are of another kind than F32, F16 or BF16
 */
export async function readFloatsInto(file: SafetensorsFile, name: string, to: Tensor, shape: readonly number[]): Promise<void> {
  const dtype = TENSOR_TYPES[floatType(file, name)];
  const { descriptor } = file;
  if (to.device !== 'cpu' || descriptor === undefined) {
    const values = await readFloats(file, name);
    scope(() => copyInto(to, tensor(values, { shape: [...shape], device: to.device })));
    return;
  }
  const { offset } = file.tensors.get(name) as { offset: number };
  scope(() => {
    const dense = dtype === 'f32' && isDense(to);
    const staged = dense ? to : empty([...shape], { dtype, device: 'cpu' });
    readFileInto(staged, descriptor, offset);
    if (!dense) copyInto(to, staged);
  });
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
