// What Python's pickle and torch.save would write, for tests.

import { bfloatBits, halfBits } from '../../../lib/checkpoint/gguf-types.ts';
import type { GPT } from '../../../lib/index.ts';

const u16 = (x: number): Buffer => Buffer.from(Uint16Array.of(x).buffer);
const u32 = (x: number): Buffer => Buffer.from(Uint32Array.of(x).buffer);
const u64 = (x: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(x)).buffer);

/** A tensor as it is pickled. */
export interface Saved {
  readonly storage: string;
  readonly key: string;
  readonly elements: number;
  readonly shape: readonly number[];
}
type Value = null | boolean | number | string | readonly Value[] | Saved | { readonly [key: string]: Value };

const isSaved = (value: object): value is Saved => 'storage' in value && 'elements' in value;
const op = (code: string): Buffer => Buffer.from(code, 'latin1');

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([op('X'), u32(bytes.length), bytes]);
}

function integer(value: number): Buffer {
  if (value >= 0 && value < 256) return Buffer.concat([op('K'), Buffer.of(value)]);
  if (value >= 0 && value < 65536) return Buffer.concat([op('M'), u16(value)]);
  if (Math.abs(value) < 2 ** 31) return Buffer.concat([op('J'), Buffer.from(Int32Array.of(value).buffer)]);
  return Buffer.concat([op('\x8a\x08'), Buffer.from(BigInt64Array.of(BigInt(value)).buffer)]);
}

const tuple = (values: readonly Value[]): Buffer => Buffer.concat([op('('), ...values.map(encode), op('t')]);

function tensorOf({ storage, key, elements, shape }: Saved): Buffer {
  const stride = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1));
  const id = Buffer.concat([op('('), text('storage'), op(`ctorch\n${storage}\n`), text(key), text('cpu'), integer(elements), op('tQ')]);
  const args = [op('ctorch._utils\n_rebuild_tensor_v2\n('), id, integer(0), tuple(shape), tuple(stride), op('\x89')];
  return Buffer.concat([...args, op('ccollections\nOrderedDict\n)R'), op('tR')]);
}

function encode(value: Value): Buffer {
  if (value === null) return op('N');
  if (typeof value === 'boolean') return op(value ? '\x88' : '\x89');
  if (typeof value === 'string') return text(value);
  if (typeof value === 'number') {
    if (Number.isInteger(value)) return integer(value);
    const float = Buffer.alloc(8);
    float.writeDoubleBE(value);
    return Buffer.concat([op('G'), float]);
  }
  if (Array.isArray(value)) return Buffer.concat([op(']('), ...value.map(encode), op('e')]);
  if (isSaved(value)) return tensorOf(value);
  return Buffer.concat([op('}('), ...Object.entries(value).flatMap(([key, item]) => [text(key), encode(item as Value)]), op('u')]);
}

export const pickle = (value: Value): Buffer => Buffer.concat([op('\x80\x02'), encode(value), op('.')]);

/** Stored entries; with `large` their sizes and places are in ZIP64's fields. */
export function zip(entries: Readonly<Record<string, Uint8Array>>, large = false): Buffer {
  const [parts, directory]: [Buffer[], Buffer[]] = [[], []];
  let at = 0;
  const most = 0xffffffff;
  for (const [name, bytes] of Object.entries(entries)) {
    const sizes = large ? [most, most] : [bytes.length, bytes.length];
    const common = [u16(45), u16(0), u16(0), u32(0), u32(0), ...sizes.map(u32), u16(name.length)];
    const head = Buffer.concat([u32(0x04034b50), ...common, u16(4), Buffer.from(name), Buffer.alloc(4)]);
    const extra = large ? Buffer.concat([u16(1), u16(24), u64(bytes.length), u64(bytes.length), u64(at)]) : Buffer.alloc(0);
    const rest = [u16(extra.length), u16(0), u16(0), u16(0), u32(0), u32(large ? most : at)];
    directory.push(Buffer.concat([u32(0x02014b50), u16(45), ...common, ...rest, Buffer.from(name), extra]));
    parts.push(head, Buffer.from(bytes));
    at += head.length + bytes.length;
  }
  const all = Buffer.concat(directory);
  const count = directory.length;
  const end64 = Buffer.concat([
    u32(0x06064b50),
    u64(44),
    u16(45),
    u16(45),
    u32(0),
    u32(0),
    u64(count),
    u64(count),
    u64(all.length),
    u64(at),
  ]);
  const locator = Buffer.concat([u32(0x07064b50), u32(0), u64(at + all.length), u32(1)]);
  const [entriesField, size, offset] = large ? [0xffff, most, most] : [count, all.length, at];
  const end = [u32(0x06054b50), u16(0), u16(0), u16(entriesField), u16(entriesField), u32(size), u32(offset), u16(0)];
  return Buffer.concat([...parts, all, ...(large ? [end64, locator] : []), ...end]);
}

export interface NanoGPTOptions {
  bias?: boolean;
  prefix?: string;
  type?: 'FloatStorage' | 'HalfStorage' | 'BFloat16Storage' | 'LongStorage';
  /** With the masks that nanoGPT kept among its parameters before PyTorch 2. */
  masks?: boolean;
  zip64?: boolean;
  /** In place of what the model says. */
  args?: Readonly<Record<string, number>>;
  /** Bytes that every entry lacks at its end. */
  shorten?: number;
}

const NAMES: readonly (readonly [RegExp, string])[] = [
  [/^tokens\./, 'transformer.wte.'],
  [/^positions$/, 'transformer.wpe.weight'],
  [/^norm\./, 'transformer.ln_f.'],
  [/^blocks\.(\d+)\.norm1\./, 'transformer.h.$1.ln_1.'],
  [/^blocks\.(\d+)\.norm2\./, 'transformer.h.$1.ln_2.'],
  [/^blocks\.(\d+)\.attn\.qkv\./, 'transformer.h.$1.attn.c_attn.'],
  [/^blocks\.(\d+)\.attn\.proj\./, 'transformer.h.$1.attn.c_proj.'],
  [/^blocks\.(\d+)\.mlp\.up\./, 'transformer.h.$1.mlp.c_fc.'],
  [/^blocks\.(\d+)\.mlp\.down\./, 'transformer.h.$1.mlp.c_proj.'],
];

function bytesOf(values: Float32Array, type: NonNullable<NanoGPTOptions['type']>): Uint8Array {
  if (type === 'FloatStorage') return new Uint8Array(values.slice().buffer);
  if (type === 'LongStorage') return new Uint8Array(8 * values.length);
  return new Uint8Array(Uint16Array.from(values, type === 'HalfStorage' ? halfBits : bfloatBits).buffer);
}

/** `ckpt.pt` of a model whose feed-forward part is four times as wide. */
export function nanoGPT(model: GPT, options: NanoGPTOptions = {}): Buffer {
  const { prefix = '', type = 'FloatStorage', masks = false, zip64 = false, args = {}, shorten = 0 } = options;
  const c = model.config;
  const storages: Record<string, Uint8Array> = {};
  const state: Record<string, Value> = {};
  const put = (name: string, values: Float32Array, shape: readonly number[]): void => {
    const key = String(Object.keys(storages).length);
    const bytes = bytesOf(values, type);
    storages[key] = bytes.subarray(0, bytes.length - shorten);
    state[`${prefix}${name}`] = { storage: type, key, elements: values.length, shape };
  };
  for (const [name, p] of model.namedParameters()) {
    const [pattern, theirs] = NAMES.find(([is]) => is.test(name)) as (typeof NAMES)[number];
    put(name.replace(pattern, theirs), p.dataSync() as Float32Array, p.shape);
  }
  state[`${prefix}lm_head.weight`] = state[`${prefix}transformer.wte.weight`] as Value;
  if (masks) for (let i = 0; i < c.layers; i++) put(`transformer.h.${i}.attn.bias`, new Float32Array(4), [1, 1, 2, 2]);
  const checkpoint = {
    model: state,
    optimizer: { state: {}, param_groups: [{ lr: 6e-4, betas: [0.9, 0.95], params: [0, 1] }] },
    model_args: {
      ...{
        n_layer: c.layers,
        n_head: c.heads,
        n_embd: c.width,
        block_size: c.contextLength,
        bias: c.bias === true,
        vocab_size: c.vocabSize,
      },
      ...{ dropout: 0.25, ...args },
    },
    iter_num: 70000,
    best_val_loss: 1.4697,
    config: { out_dir: 'out', compile: true, device: 'cuda', wandb_log: null },
  };
  const entries = Object.fromEntries(Object.entries(storages).map(([key, bytes]) => [`ckpt/data/${key}`, bytes]));
  return zip(
    { 'ckpt/data.pkl': pickle(checkpoint), 'ckpt/byteorder': Buffer.from('little'), ...entries, 'ckpt/version': Buffer.from('3\n') },
    zip64,
  );
}
