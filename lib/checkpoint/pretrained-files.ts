import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError } from '../util/errors.ts';
import { parseJSON } from '../util/json_text.ts';
import { show } from '../util/show.ts';
import { naming } from './filesystem.ts';
import { isObject } from './json.ts';
import { isPlainName } from './manifest.ts';
import { openSafetensors, type SafetensorsFile } from './safetensors.ts';

const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** The tensors of a Hugging Face folder, whichever of its files they lie in. */
export interface PretrainedFiles {
  /** The file of each tensor, by the tensor's name. */
  readonly tensors: ReadonlyMap<string, SafetensorsFile>;
  close(): Promise<void>;
}

/** @throws FileError when the file cannot be read or is no JSON */
export async function readJSON(file: string): Promise<unknown> {
  return parseJSON(file, await naming(file, 'read', () => readFile(file)));
}

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

/** The shard of each tensor, as the index says. */
async function readIndex(file: string): Promise<Map<string, string>> {
  const json = await readJSON(file);
  const map = isObject(json) ? json.weight_map : undefined;
  if (!isObject(map)) throw new FileError(file, `weight_map must be an object of file names, got ${show(map)}`);
  for (const [name, shard] of Object.entries(map))
    if (typeof shard !== 'string' || !isPlainName(shard))
      throw new FileError(file, `weight_map: ${show(name)} must name a file of the folder, got ${show(shard)}`);
  return new Map(Object.entries(map) as [string, string][]);
}

/** Opens model.safetensors, or the shards that model.safetensors.index.json names. @throws FileError naming the file */
export async function openPretrained(folder: string): Promise<PretrainedFiles> {
  const [single, index] = [join(folder, WEIGHTS), join(folder, INDEX)];
  const opened: SafetensorsFile[] = [];
  const close = async (): Promise<void> => void (await Promise.all(opened.map((f) => f.close())));
  try {
    if (await exists(single)) {
      const file = await openSafetensors(single);
      opened.push(file);
      return { tensors: new Map([...file.tensors.keys()].map((name) => [name, file])), close };
    }
    if (!(await exists(index)))
      throw new FileError(folder, `must hold ${WEIGHTS} or ${INDEX}`, {
        hint: 'Weights in other formats (pytorch_model.bin) are saved anew by transformers: model.save_pretrained(folder).',
      });
    const places = await readIndex(index);
    const shards = new Map<string, SafetensorsFile>();
    for (const shard of new Set(places.values())) {
      const file = await openSafetensors(join(folder, shard));
      opened.push(file);
      shards.set(shard, file);
      for (const name of file.tensors.keys())
        if (places.get(name) !== shard)
          throw new FileError(
            index,
            `weight_map: tensor ${show(name)} lies in ${shard}, the index says ${places.get(name) ?? 'nothing of it'}`,
          );
    }
    const tensors = new Map<string, SafetensorsFile>();
    for (const [name, shard] of places) {
      const file = shards.get(shard) as SafetensorsFile;
      if (!file.tensors.has(name)) throw new FileError(file.file, `tensor ${show(name)} is missing: ${INDEX} says that it lies here`);
      tensors.set(name, file);
    }
    return { tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}
