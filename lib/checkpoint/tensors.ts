import { noGrad } from '../autograd/index.ts';
import { copyInto } from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import { elements, sameShape, shapeText } from '../tensor/shape.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { openSafetensors, type SafetensorsEntry } from './safetensors.ts';

/** What a tensor's elements are called in a file. */
const storedAs = (t: Tensor): 'F32' | 'U8' => (t.dtype === 'u8' ? 'U8' : 'F32');

/** f32 and u8 tensors as entries of a safetensors file; each is read from the device when its turn comes. */
export function* tensorEntries(tensors: Iterable<[string, Tensor]>): Generator<SafetensorsEntry> {
  for (const [name, t] of tensors)
    yield {
      name,
      dtype: storedAs(t),
      shape: [...t.shape],
      bytes: async () => {
        const data = await t.data();
        return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      },
    };
}

/** How many elements the tensors of a file have. @throws FileError where it is no safetensors file */
export async function countElements(file: string): Promise<number> {
  const source = await openSafetensors(file);
  await source.close();
  return [...source.tensors.values()].reduce((sum, { shape }) => sum + elements(shape), 0);
}

/**
 * Reads a file that holds just these tensors, f32 or u8, into them, one at a time.
 * @throws FileError naming the tensor that is missing, too many, of another type or another shape; then nothing was changed
 */
export async function restoreTensors(file: string, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
  const source = await openSafetensors(file);
  try {
    for (const name of source.tensors.keys())
      if (!tensors.has(name)) throw new FileError(file, `tensor ${show(name)} is not one of the model's`);
    for (const [name, t] of tensors) {
      const info = source.tensors.get(name);
      if (!info) throw new FileError(file, `tensor ${name} is missing`);
      if (info.dtype !== storedAs(t)) throw new FileError(file, `tensor ${name} must be ${storedAs(t)}, got ${info.dtype}`);
      if (!sameShape(info.shape, t.shape))
        throw new FileError(file, `tensor ${name} must be ${shapeText(t.shape)}, got ${shapeText(info.shape)}`);
    }
    for (const [name, t] of tensors) {
      const bytes = await source.read(name);
      const values = t.dtype === 'u8' ? bytes : new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
      noGrad(() => scope(() => copyInto(t, tensor(values, { shape: t.shape, dtype: t.dtype, device: t.device }))));
    }
  } finally {
    await source.close();
  }
}
