// GGUF files back into models: round trips with our own exporter, tokenizer included, and files that say something wrong.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { openGGUF } from '../../../lib/checkpoint/gguf-read.ts';
import { decodeElements, encodeElements, GGUF_TYPES, type GGUFType } from '../../../lib/checkpoint/gguf-types.ts';
import { encodeGGUF, type GGUFTensor, type GGUFValue } from '../../../lib/checkpoint/gguf-write.ts';
import { GPT, type GPTConfigInput, loadGGUF, noGrad, openModel, saveGGUF, scope, tensor } from '../../../lib/index.ts';
import { BPETokenizer, tokenizerFromJSON } from '../../../lib/tokenizer/index.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { build, modern } from '../models/support.ts';
import { temporaryFolder } from './support.ts';

const llama: GPTConfigInput = { ...modern, qkNorm: false };
const IDS = Int32Array.from({ length: 16 }, (_, i) => (i * i) % 31);
const logits = (model: GPT): Float32Array =>
  scope(() => noGrad(() => model.logits(tensor(IDS, { shape: [2, 8], device: 'cpu' })).dataSync())) as Float32Array;

const MODELS: Readonly<Record<string, GPTConfigInput>> = {
  gpt2: {},
  'gpt2 without biases': { bias: false, normBias: false },
  llama,
  'llama, head of its own, biases': { ...llama, tiedHead: false, bias: true },
  'llama, stretched': { ...llama, headSize: 16, ropeScaling: { factor: 8, context: 24, low: 1, high: 4 } },
  'llama, linear': { ...llama, ropeScaling: { factor: 2 } },
  qwen2: { ...llama, bias: 'qkv' },
  qwen3: modern,
};

for (const [name, input] of Object.entries(MODELS))
  test(`${name}: in f32 and back, the same logits`, async (t) => {
    const file = join(temporaryFolder(t), 'm.gguf');
    using model = build(input);
    await saveGGUF(model, file, { type: 'f32' });
    using read = await loadGGUF(file, { device: 'cpu' });
    const { ropeScaling, layers, kvHeads, headSize, tiedHead, ffnWidth } = model.config;
    t.like(read.config, { layers, kvHeads, headSize, tiedHead, ffnWidth, ropeScaling });
    t.deepEqual(logits(read), logits(model));
    using pretrained = await GPT.fromPretrained(file, { device: 'cpu' });
    t.deepEqual(logits(pretrained), logits(model));
  });

for (const type of GGUF_TYPES.filter((other): other is GGUFType => other !== 'f32'))
  test(`what ${type} holds is what is read, and is written again to the same bytes`, async (t) => {
    const folder = temporaryFolder(t);
    const [first, second] = [join(folder, 'a.gguf'), join(folder, 'b.gguf')];
    using model = build(llama);
    await saveGGUF(model, first, { type });
    using read = await loadGGUF(first, { device: 'cpu' });
    await saveGGUF(read, second, { type });
    // q4_0 takes its scale from the largest value, which 4 bits round: only the other types are fixed points.
    if (type !== 'q4_0') t.true(readFileSync(first).equals(readFileSync(second)));
    for (const name of ['tokens.weight', 'blocks.1.mlp.up.weight', 'blocks.0.mlp.down.weight', 'head.weight', 'norm.weight']) {
      const [got, own] = [read, model].map((m) => m.namedParameters().get(name)?.dataSync() as Float32Array) as [
        Float32Array,
        Float32Array,
      ];
      t.deepEqual(got, name === 'norm.weight' ? own : decodeElements(type, encodeElements(type, own)), name);
    }
  });

test('the tokenizer comes back, special tokens and ways to split too; a file without one has none', async (t) => {
  const file = join(temporaryFolder(t), 'm.gguf');
  const text = 'the whale, the sea\n\nand 12345 ships don’t <|endoftext|> sink  twice';
  const plain = BPETokenizer.train(['the whale the sea the ship '.repeat(3)], { vocabSize: 264 });
  const split = (name: 'llama-bpe' | 'qwen2') => {
    const json = plain.toJSON() as Record<string, never>;
    const digits = name === 'llama-bpe' ? '\\p{N}{1,3}' : '\\p{N}';
    const Regex = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
    const pretokenizers = [
      { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    ];
    return tokenizerFromJSON({ ...json, pre_tokenizer: { type: 'Sequence', pretokenizers } });
  };
  for (const tokenizer of [plain, split('llama-bpe'), split('qwen2')]) {
    using model = build({ ...llama, vocabSize: 270 });
    await saveGGUF(model, file, { tokenizer });
    const opened = await openModel(file, { device: 'cpu' });
    const again = opened.tokenizer;
    for (const options of [{}, { allowedSpecial: 'all' }] as const)
      t.deepEqual(again?.encode(text, options), tokenizer.encode(text, options));
    t.is(again?.endOfText, tokenizer.endOfText);
    t.is(again?.decode(tokenizer.encode(text)), text);
    t.is(opened.checkpoint, file);
    opened.model.dispose();
  }
  using bare = build(llama);
  await saveGGUF(bare, file);
  const opened = await openModel(file, { device: 'cpu' });
  t.is(opened.tokenizer, null);
  opened.model.dispose();
});

test('wrong files: the error names file and key or tensor', async (t) => {
  const file = join(temporaryFolder(t), 'm.gguf');
  using model = build({ ...llama, ropeScaling: { factor: 8, context: 24, low: 1, high: 4 }, headSize: 16 });
  await saveGGUF(model, file, { type: 'f32' });
  const source = await openGGUF(file);
  const values = new Map<string, Float32Array>();
  for (const name of source.tensors.keys()) values.set(name, await source.read(name));
  await source.close();
  const typed = (value: unknown): GGUFValue =>
    (typeof value === 'string' ? { type: 'string', value } : { type: Number.isInteger(value) ? 'u32' : 'f32', value }) as GGUFValue;

  const fails = async (change: { metadata?: Record<string, unknown>; tensors?: Record<string, number[] | null> }, said: RegExp) => {
    const metadata = new Map([...source.metadata].map(([key, value]) => [key, typed(value)]));
    metadata.set('llama.rope.freq_base', { type: 'f32', value: 10000 });
    for (const [key, value] of Object.entries(change.metadata ?? {}))
      if (value === null) metadata.delete(key);
      else metadata.set(key, typed(value));
    const tensors = [...source.tensors].flatMap(([name, { shape }]): GGUFTensor[] => {
      const other = change.tensors?.[name];
      if (other === null) return [];
      const own = other ?? [...shape];
      const bytes = Float32Array.from({ length: own.reduce((a, b) => a * b, 1) }, (_, i) => values.get(name)?.[i] ?? 0);
      return [{ name, type: 'f32', shape: own, bytes: async () => new Uint8Array(bytes.buffer) }];
    });
    const chunks: Uint8Array[] = [];
    for await (const chunk of encodeGGUF(metadata, tensors)) chunks.push(chunk.slice());
    writeFileSync(file, Buffer.concat(chunks));
    const error = await t.throwsAsync(() => loadGGUF(file, { device: 'cpu' }), { instanceOf: FileError });
    t.true(error?.message.startsWith(file));
    t.regex(error?.message ?? '', said);
  };
  await fails(
    { metadata: { 'general.architecture': 'mamba' } },
    /general\.architecture must be one of gpt2, llama, qwen2, qwen3, got "?mamba/,
  );
  await fails({ metadata: { 'llama.block_count': null } }, /llama\.block_count must be a positive integer, got nothing/);
  await fails({ metadata: { 'llama.block_count': 4_000_000_000 } }, /tensor "blk\.\d+\.attn_norm\.weight" is missing/);
  await fails({ metadata: { 'llama.attention.head_count': 3 } }, /its model is not supported|attention/);
  await fails({ metadata: { 'llama.expert_count': 8 } }, /llama\.expert_count must be absent, got 8/);
  await fails({ metadata: { 'llama.rope.scaling.type': 'yarn' } }, /llama\.rope\.scaling\.type must be none or linear, got "?yarn/);
  await fails({ tensors: { 'token_embd.weight': null } }, /tensor "token_embd\.weight" must be there/);
  await fails(
    { tensors: { 'blk.1.ffn_up.weight': [8, 4] } },
    /tensor "blk\.1\.ffn_up\.weight": shape must be \(\d+, \d+\) by its metadata, got \(8, 4\)/,
  );
  await fails({ tensors: { 'blk.0.ffn_down.weight': null } }, /tensor "blk\.0\.ffn_down\.weight" is missing/);
  values.set('rope_freqs.weight', Float32Array.of(1, 5, 2, 8, 8, 3, 1, 8));
  await fails({}, /tensor "rope_freqs\.weight" must be divisors of frequencies/);
});
