// Which files of a repository make a model, and which a tokenizer.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError } from '../util/errors.ts';
import { namingAsync as naming } from '../util/files.ts';
import { parseJSON } from '../util/json_text.ts';
import { show } from '../util/show.ts';
import { HubError } from './error.ts';
import { isSafePath, meansHub } from './names.ts';
import type { HubOptions } from './settings.ts';
import { openSnapshot, type Snapshot } from './snapshot.ts';

const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const TOKENIZER_EXTRAS = ['tokenizer_config.json', 'special_tokens_map.json', 'chat_template.jinja', 'chat_template.json'];

async function present(snapshot: Snapshot, names: readonly string[]): Promise<string[]> {
  const has = await Promise.all(names.map((name) => snapshot.has(name)));
  return names.filter((_, i) => has[i]);
}

/** Empty where the repository has no tokenizer that is read here. */
async function tokenizerFiles(snapshot: Snapshot): Promise<string[]> {
  const pair = ['vocab.json', 'merges.txt'];
  const main = (await snapshot.has('tokenizer.json')) ? ['tokenizer.json'] : await present(snapshot, pair);
  if (main.length === 0 || (main[0] !== 'tokenizer.json' && main.length < pair.length)) return [];
  return [...main, ...(await present(snapshot, TOKENIZER_EXTRAS))];
}

/** The shards that an index names. @throws FileError for one outside the folder */
async function shardsOf(file: string): Promise<string[]> {
  const json = parseJSON(file, await naming(file, 'read', () => readFile(file)));
  const map = typeof json === 'object' && json !== null && 'weight_map' in json ? json.weight_map : undefined;
  if (typeof map !== 'object' || map === null) throw new FileError(file, `weight_map must be an object of file names, got ${show(map)}`);
  const shards = new Set<string>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !isSafePath(shard) || shard.includes('/'))
      throw new FileError(file, `weight_map: ${show(tensor)} must name a file of the folder, got ${show(shard)}`);
    shards.add(shard);
  }
  return [...shards];
}

/**
 * Brings a model into the cache: configuration, tokenizer and safetensors. Gives the folder, which `loadPretrained` reads.
 * @throws HubError, FileError
 */
export async function fetchModel(id: string, options: HubOptions = {}): Promise<string> {
  const snapshot = await openSnapshot(id, options);
  const [single, index] = [await snapshot.has(WEIGHTS), await snapshot.has(INDEX)];
  if (!single && !index && !snapshot.cached && (await snapshot.has('config.json')))
    throw new HubError(`${id}: the model must have ${WEIGHTS} or ${INDEX}, got neither`, {
      hint: 'Weights in other formats (pytorch_model.bin) are saved anew by transformers: model.save_pretrained(folder).',
    });
  const small = ['config.json', ...(await present(snapshot, ['generation_config.json'])), ...(await tokenizerFiles(snapshot))];
  await snapshot.fetch(index && !single ? [...small, INDEX] : small);
  await snapshot.fetch(index && !single ? await shardsOf(join(snapshot.folder, INDEX)) : [WEIGHTS]);
  await snapshot.done();
  return snapshot.folder;
}

/** Brings the tokenizer of a model into the cache; gives the folder, which `loadTokenizer` reads. @throws HubError, FileError */
export async function fetchTokenizer(id: string, options: HubOptions = {}): Promise<string> {
  const snapshot = await openSnapshot(id, options);
  const files = await tokenizerFiles(snapshot);
  if (files.length === 0 && snapshot.cached) await snapshot.fetch(['tokenizer.json']); // says why not
  if (files.length === 0) throw new HubError(`${id}: the model must have tokenizer.json, or vocab.json and merges.txt, got neither`);
  await snapshot.fetch(files);
  await snapshot.done();
  return snapshot.folder;
}

/** The folder that a name means: of a model of the hub, fetched into the cache; otherwise the name itself. */
export async function modelFolder(idOrFolder: string, options: HubOptions = {}): Promise<string> {
  return meansHub(idOrFolder) ? fetchModel(idOrFolder, options) : idOrFolder;
}

/** The same for a tokenizer alone: a folder, a file, or the model of the hub that it belongs to. */
export async function tokenizerFolder(idOrPath: string, options: HubOptions = {}): Promise<string> {
  return meansHub(idOrPath) ? fetchTokenizer(idOrPath, options) : idOrPath;
}
