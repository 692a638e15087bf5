// Checkpoints of nanoGPT (`ckpt.pt`): a file of torch.save with the parameters under `model` and what the model is under `model_args`.
import { noGrad } from '../autograd/index.ts';
import { GPT, type GPTConfig, gptConfig } from '../models/index.ts';
import type { Compute, Parameter } from '../nn/index.ts';
import { copyInto } from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import { elements, sameShape, shapeText } from '../tensor/shape.ts';
import { scope } from '../tensor/tensor.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { type FileSystem, naming, nodeFileSystem, type OpenFile, readFully } from './filesystem.ts';
import { type Pickled, type PickledTensor, readPickle } from './pickle.ts';
import { type FloatDType, widen } from './weights-half.ts';
import { type ZipEntry, zipEntries } from './zip.ts';

export interface LoadNanoGPTOptions {
  device?: Device;
  /** What the model computes with: see `Module.computeIn`. Default f32. */
  compute?: Compute;
  /** In place of the one in the file. */
  dropout?: number;
  /** nanoGPT has the exact GELU since June 2023; checkpoints from before want `gelu_tanh`, which the file does not tell. */
  activation?: 'gelu_erf' | 'gelu_tanh';
}

const STORAGES: Readonly<Record<string, { dtype: FloatDType; bytes: number }>> = {
  FloatStorage: { dtype: 'F32', bytes: 4 },
  HalfStorage: { dtype: 'F16', bytes: 2 },
  BFloat16Storage: { dtype: 'BF16', bytes: 2 },
};

/** The pickled part holds names and shapes, no numbers. */
const MOST_PICKLE = 8 << 20;

/** What `torch.compile` puts before each name. */
const COMPILED = '_orig_mod.';

function dictOf(file: string, value: Pickled | undefined, name: string): Map<Pickled, Pickled> {
  if (value instanceof Map) return value;
  throw new FileError(file, `${name} must be a dict, got ${show(value)}`);
}

function configOf(file: string, args: Map<Pickled, Pickled>, { dropout, activation = 'gelu_erf' }: LoadNanoGPTOptions): GPTConfig {
  const field = <T>(name: string, expected: string, is: (x: unknown) => x is T): T => {
    const value = args.get(name);
    if (is(value)) return value;
    throw new FileError(file, `model_args.${name} must be ${expected}, got ${show(value)}`);
  };
  const count = (name: string): number =>
    field(name, 'a positive integer', (x): x is number => Number.isSafeInteger(x) && (x as number) >= 1);
  const bias = args.has('bias') ? field('bias', 'true or false', (x): x is boolean => typeof x === 'boolean') : true;
  const kept = args.has('dropout')
    ? field('dropout', 'at least 0 and below 1', (x): x is number => typeof x === 'number' && x >= 0 && x < 1)
    : 0;
  try {
    return gptConfig({
      ...{ vocabSize: count('vocab_size'), contextLength: count('block_size'), layers: count('n_layer'), heads: count('n_head') },
      ...{ width: count('n_embd'), activation, bias, normBias: bias, dropout: dropout ?? kept },
    });
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new FileError(file, `its model is not supported: ${error.message}`, { cause: error });
  }
}

/** nanoGPT's names of our parameters; its matrices are (out, in), as ours. */
function* namesOf(c: GPTConfig): Generator<{ name: string; parameter: string }> {
  function* both(name: string, parameter: string): Generator<{ name: string; parameter: string }> {
    yield { name: `${name}.weight`, parameter: `${parameter}.weight` };
    if (c.bias) yield { name: `${name}.bias`, parameter: `${parameter}.bias` };
  }
  yield { name: 'transformer.wte.weight', parameter: 'tokens.weight' };
  yield { name: 'transformer.wpe.weight', parameter: 'positions' };
  for (let i = 0; i < c.layers; i++) {
    const [theirs, ours] = [`transformer.h.${i}`, `blocks.${i}`];
    yield* both(`${theirs}.ln_1`, `${ours}.norm1`);
    yield* both(`${theirs}.attn.c_attn`, `${ours}.attn.qkv`);
    yield* both(`${theirs}.attn.c_proj`, `${ours}.attn.proj`);
    yield* both(`${theirs}.ln_2`, `${ours}.norm2`);
    yield* both(`${theirs}.mlp.c_fc`, `${ours}.mlp.up`);
    yield* both(`${theirs}.mlp.c_proj`, `${ours}.mlp.down`);
  }
  yield* both('transformer.ln_f', 'norm');
}

/** The shape of a parameter without making the model: a file may claim any size. */
function shapeOf(c: GPTConfig, name: string): number[] {
  const [C, kind] = [c.width, name.replace(/^transformer\.(h\.\d+\.)?/, '')];
  if (kind === 'wte.weight') return [c.vocabSize, C];
  if (kind === 'wpe.weight') return [c.contextLength, C];
  const rows = { 'attn.c_attn': 3 * C, 'mlp.c_fc': 4 * C }[kind.replace(/\.(weight|bias)$/, '')] ?? C;
  if (kind.endsWith('.bias') || kind.startsWith('ln_')) return [rows];
  return [rows, kind.startsWith('mlp.c_proj') ? 4 * C : C];
}

/** The head, which is the token embedding once more, and masks that older versions keep among the parameters. */
const isCopy = (name: string): boolean => name === 'lm_head.weight' || /\.attn\.(bias|masked_bias)$/.test(name);

interface Found {
  readonly parameter: string;
  readonly name: string;
  readonly entry: ZipEntry;
  readonly dtype: FloatDType;
  readonly offset: number;
  readonly byteLength: number;
}

/** Where each parameter lies in the file. */
function findTensors(file: string, state: Map<Pickled, Pickled>, c: GPTConfig, entryOf: (key: string) => ZipEntry | undefined): Found[] {
  const tensors = new Map<string, Pickled>();
  for (const [key, value] of state) {
    if (typeof key !== 'string') throw new FileError(file, `model: its names must be texts, got ${show(key)}`);
    tensors.set(key.startsWith(COMPILED) ? key.slice(COMPILED.length) : key, value);
  }
  const found: Found[] = [];
  for (const { name, parameter } of namesOf(c)) {
    const value = tensors.get(name);
    const wrong = (what: string) => new FileError(file, `model: tensor ${show(name)} ${what}`);
    if (value === undefined) throw wrong('is missing');
    if (typeof value !== 'object' || value === null || !('kind' in value) || value.kind !== 'tensor') throw wrong('must be a tensor');
    const { storage, offset, shape, stride } = value as PickledTensor;
    const wanted = shapeOf(c, name);
    if (!sameShape(shape, wanted)) throw wrong(`must be ${shapeText(wanted)} by model_args, got ${shapeText(shape)}`);
    const dense = shape.map((_, d) => elements(shape.slice(d + 1)));
    if (!shape.every((size, d) => size === 1 || stride[d] === dense[d])) throw wrong(`must lie in rows, got strides ${shapeText(stride)}`);
    const stored = STORAGES[storage.type];
    if (!stored) throw wrong(`must be of ${Object.keys(STORAGES).join(', ')}, got ${storage.type}`);
    const entry = entryOf(storage.key);
    if (!entry) throw wrong(`must lie in an entry of the file, got data/${show(storage.key)}`);
    const [from, byteLength] = [offset * stored.bytes, elements(shape) * stored.bytes];
    if (!(from + byteLength <= entry.byteLength))
      throw wrong(`must end within the ${entry.byteLength} bytes of its entry, got ${from + byteLength}`);
    found.push({ parameter, name, entry, dtype: stored.dtype, offset: from, byteLength });
    tensors.delete(name);
  }
  const other = [...tensors.keys()].find((name) => !isCopy(name));
  if (other !== undefined) throw new FileError(file, `model: tensor ${show(other)} is not expected in a model with these model_args`);
  return found;
}

async function modelOf(source: OpenFile, file: string, options: LoadNanoGPTOptions): Promise<GPT> {
  const entries = await zipEntries(source, file);
  const pickled = [...entries].find(([name]) => /^[^/]+\/data\.pkl$/.test(name));
  if (!pickled) throw new FileError(file, 'must hold the entry data.pkl: no file of torch.save');
  const [name, { offset, byteLength }] = pickled;
  if (byteLength > MOST_PICKLE) throw new FileError(file, `data.pkl must be at most ${MOST_PICKLE} bytes, got ${byteLength}`);
  const folder = name.slice(0, -'data.pkl'.length);
  const order = entries.get(`${folder}byteorder`);
  if (order && order.byteLength < 16) {
    const text = new TextDecoder().decode(await readFully(source, file, 'byteorder', order.offset, order.byteLength));
    if (text !== 'little') throw new FileError(file, `byteorder must be little, got ${show(text)}`);
  }
  const checkpoint = dictOf(file, readPickle(file, await readFully(source, file, 'data.pkl', offset, byteLength)), 'the checkpoint');
  const config = configOf(file, dictOf(file, checkpoint.get('model_args'), 'model_args'), options);
  const found = findTensors(file, dictOf(file, checkpoint.get('model'), 'model'), config, (key) => entries.get(`${folder}data/${key}`));
  const { device, compute = 'f32' } = options;
  const model = new GPT(config, { seed: 0, ...(device !== undefined && { device }) });
  try {
    const parameters = model.namedParameters();
    for (const { parameter, name: theirs, entry, dtype, offset: from, byteLength: length } of found) {
      const to = parameters.get(parameter) as Parameter;
      const values = widen(dtype, await readFully(source, file, `tensor ${show(theirs)}`, entry.offset + from, length));
      scope(() => noGrad(() => copyInto(to, tensor(values, { shape: to.shape, device: to.device }))));
    }
    return model.computeIn(compute);
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * The model of nanoGPT's `ckpt.pt`. The optimizer's state is left out, and so is the tokenizer: the file has none. Its pickle is read, not
 * run: names other than those of tensors are errors.
 * @throws FileError naming the entry, field or tensor that is missing, misshapen or not supported
 */
export async function loadNanoGPT(file: string, options: LoadNanoGPTOptions = {}, fs: FileSystem = nodeFileSystem): Promise<GPT> {
  const source = await naming(file, 'open', () => fs.open(file, 'r'));
  try {
    return await modelOf(source, file, options);
  } finally {
    await source.close();
  }
}
