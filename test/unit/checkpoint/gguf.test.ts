import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { saveGGUF } from '../../../lib/checkpoint/gguf.ts';
import { openGGUF } from '../../../lib/checkpoint/gguf-read.ts';
import { bfloatBits, decodeElements, encodeElements, GGUF_TYPES, halfBits } from '../../../lib/checkpoint/gguf-types.ts';
import { encodeGGUF } from '../../../lib/checkpoint/gguf-write.ts';
import { widen } from '../../../lib/checkpoint/weights-half.ts';
import type { GPT, GPTConfigInput } from '../../../lib/models/index.ts';
import { BPETokenizer, ByteTokenizer, CharTokenizer } from '../../../lib/tokenizer/index.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { build, modern } from '../models/support.ts';
import { temporaryFolder } from './support.ts';

// The scale 2 as f16; then (-16, 0) / 2 + 8 = 0 and 8, (-15, 1) / 2 + 8 = 0.5 and 8.5 rounded up.
const Q4_RAMP = [0x00, 0x40, 0x80, 0x91];
const llama: GPTConfigInput = { ...modern, qkNorm: false };

const parameter = (model: GPT, name: string): Float32Array => model.namedParameters().get(name)?.dataSync<'f32'>() as Float32Array;

test('every half and bfloat16 is itself; numbers between go to the nearest, ties to even', (t) => {
  const all = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
  for (const [type, bits] of [
    ['F16', halfBits],
    ['BF16', bfloatBits],
  ] as const) {
    const values = widen(type, new Uint8Array(all.buffer));
    const wrong = values.findIndex((x, i) => !Number.isNaN(x) && bits(x) !== i);
    t.is(wrong, -1, type);
    const between = values.findIndex((x, i) => {
      const next = values[i + 1] ?? Number.NaN;
      if (!Number.isFinite(x) || !Number.isFinite(next) || Math.sign(x) !== Math.sign(next) || (i & 0x7fff) === 0x7fff) return false;
      return (
        bits((x + next) / 2) !== (i % 2 === 0 ? i : i + 1) || bits(x + (next - x) * 0.25) !== i || bits(x + (next - x) * 0.75) !== i + 1
      );
    });
    t.is(between, -1, type);
  }
  t.deepEqual([65519.996, 65520, 1e30, -1e30, 2 ** -25, 2 ** -25 * 1.001].map(halfBits), [0x7bff, 0x7c00, 0x7c00, 0xfc00, 0, 1]);
  t.deepEqual([halfBits(Number.NaN) & 0x7c00, bfloatBits(Number.NaN) & 0x7f80], [0x7c00, 0x7f80]);
});

test('blocks of 32 come back within half a step, and as llama.cpp writes them', (t) => {
  const values = Float32Array.from({ length: 96 }, (_, i) => Math.sin(i * i) * 2 ** ((i >> 5) * 4 - 4));
  values.fill(0, 64);
  for (const [type, steps] of [
    ['q8_0', 127],
    ['q4_0', 8],
  ] as const) {
    const bytes = encodeElements(type, values);
    t.is(bytes.length, type === 'q8_0' ? 3 * 34 : 3 * 18);
    decodeElements(type, bytes).forEach((x, i) => {
      const start = i - (i % 32);
      const most = Math.max(...values.subarray(start, start + 32).map(Math.abs));
      // Q4's largest value of the other sign may lie a whole step beyond what four bits hold; scales are f16.
      t.true(Math.abs(x - (values[i] as number)) <= (most / steps) * (type === 'q8_0' ? 0.52 : 1.02), `${type} ${i}`);
    });
  }
  const ramp = Float32Array.from({ length: 32 }, (_, i) => i - 16);
  t.deepEqual([...encodeElements('q4_0', ramp).subarray(0, 4)], Q4_RAMP);
  const q8 = encodeElements(
    'q8_0',
    Float32Array.from({ length: 32 }, (_, i) => (i === 0 ? -127 : i)),
  );
  t.deepEqual([...q8.subarray(0, 5)], [0x00, 0x3c, 0x81, 1, 2]);
});

for (const type of GGUF_TYPES)
  test(`a model written as ${type} and read again`, async (t) => {
    using model = build({ ...llama, bias: 'qkv', contextLength: 24 });
    const file = join(temporaryFolder(t), 'model.gguf');
    await saveGGUF(model, file, { type, name: 'a model' });
    const read = await openGGUF(file);
    t.is(read.metadata.get('general.architecture'), 'qwen2');
    t.is(read.metadata.get('qwen2.attention.head_count_kv'), 2);
    t.is(read.metadata.get('general.name'), 'a model');
    t.deepEqual(read.tensors.get('blk.1.ffn_down.weight')?.shape, [32, 64]);
    const qkv = parameter(model, 'blocks.1.attn.qkv.weight');
    for (const [name, from, to] of [
      ['attn_q', 0, 32],
      ['attn_k', 32, 48],
      ['attn_v', 48, 64],
    ] as const) {
      const rows = Float32Array.from(qkv.subarray(from * 32, to * 32));
      t.deepEqual(await read.read(`blk.1.${name}.weight`), decodeElements(type, encodeElements(type, rows)));
      t.deepEqual(await read.read(`blk.1.${name}.bias`), parameter(model, 'blocks.1.attn.qkv.bias').slice(from, to));
    }
    await read.close();
  });

test('GPT-2, Llama with its turned heads and stretched context, Qwen3', async (t) => {
  const folder = temporaryFolder(t);
  const write = async (input: GPTConfigInput) => {
    const model = build(input);
    await saveGGUF(model, join(folder, 'm.gguf'), { type: 'f32' });
    return { model, read: await openGGUF(join(folder, 'm.gguf')) };
  };
  const gpt2 = await write({ bias: false });
  t.is(gpt2.read.metadata.get('general.architecture'), 'gpt2');
  t.deepEqual([...(await gpt2.read.read('blk.0.attn_qkv.bias'))], [...new Float32Array(96)]);
  t.deepEqual(await gpt2.read.read('blk.0.attn_qkv.weight'), parameter(gpt2.model, 'blocks.0.attn.qkv.weight'));
  t.deepEqual(await gpt2.read.read('position_embd.weight'), parameter(gpt2.model, 'positions'));
  t.false(gpt2.read.tensors.has('output.weight'));

  const turned = await write({ ...llama, ropeScaling: { factor: 8, context: 16, low: 1, high: 4 } });
  const q = parameter(turned.model, 'blocks.0.attn.qkv.weight');
  const written = await turned.read.read('blk.0.attn_q.weight');
  const order = [0, 4, 1, 5, 2, 6, 3, 7, 8, 12];
  for (const [i, from] of order.entries())
    t.deepEqual(written.slice(i * 32, (i + 1) * 32), q.slice(from * 32, (from + 1) * 32), `row ${i}`);
  t.deepEqual(await turned.read.read('blk.0.attn_v.weight'), q.slice(48 * 32, 64 * 32));
  const factors = await turned.read.read('rope_freqs.weight');
  t.true(factors.length === 4 && (factors[0] as number) < 8 && factors[3] === 8);

  const qwen3 = await write(modern);
  t.is(qwen3.read.metadata.get('general.architecture'), 'qwen3');
  t.deepEqual(await qwen3.read.read('blk.0.attn_k_norm.weight'), parameter(qwen3.model, 'blocks.0.attn.kNorm.weight'));
  for (const { read, model } of [gpt2, turned, qwen3]) {
    await read.close();
    model.dispose();
  }
});

test('the tokenizer of a GGUF file', async (t) => {
  const tokenizer = BPETokenizer.train(['the whale the sea the ship '.repeat(3)], { vocabSize: 264 });
  using model = build({ ...llama, vocabSize: 270 });
  const file = join(temporaryFolder(t), 'm.gguf');
  await saveGGUF(model, file, { tokenizer });
  const { metadata, close } = await openGGUF(file);
  t.is(metadata.get('tokenizer.ggml.pre'), 'gpt-2');
  t.is(metadata.get('tokenizer.ggml.eos_token_id'), tokenizer.endOfText);
  const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
  const types = metadata.get('tokenizer.ggml.token_type') as number[];
  t.is(tokens.length, 270);
  t.deepEqual([tokens[tokenizer.endOfText as number], types[tokenizer.endOfText as number]], ['<|endoftext|>', 3]);
  t.deepEqual([tokens[269], types[269]], ['[PAD269]', 5]);
  t.is((metadata.get('tokenizer.ggml.merges') as string[]).length, 264 - 257);
  await close();
  await t.throwsAsync(saveGGUF(model, file, { tokenizer: CharTokenizer.train(['abc']) }), {
    message: /^saveGGUF: tokenizer must be a byte-level BPE/,
  });
  using small = build(llama);
  await t.throwsAsync(saveGGUF(small, file, { tokenizer }), { message: /tokenizer must be within the model's 31 tokens, got/ });
  await saveGGUF(model, file, { tokenizer: new ByteTokenizer() });
});

test('what llama.cpp has no place for', async (t) => {
  const file = join(temporaryFolder(t), 'm.gguf');
  const fails = async (input: GPTConfigInput, message: RegExp, type: 'f32' | 'q8_0' = 'f32') => {
    using model = build(input);
    await t.throwsAsync(saveGGUF(model, file, { type }), { code: 'ERR_HEDDLE_ARGUMENT', message });
  };
  await fails({ normPosition: 'post' }, /^saveGGUF: normPosition must be pre for llama\.cpp's openai-gpt, got "post"$/);
  await fails({ activation: 'gelu_erf' }, /activation must be gelu_tanh/);
  await fails({ ...llama, attention: [{ window: 4 }] }, /attention must be without windows/);
  await fails({ ...modern, bias: 'attention' }, /bias must be false/);
  await fails({ width: 40, heads: 4 }, /type q8_0 needs rows of a multiple of 32, got 40 in token_embd\.weight/, 'q8_0');
  using model = build();
  await t.throwsAsync(saveGGUF(model, file, { type: 'q5_1' as 'f32' }), {
    message: /type must be one of f32, f16, bf16, q8_0, q4_0, got "q5_1"/,
  });
});

test('damaged files: the field is named', async (t) => {
  const file = join(temporaryFolder(t), 'm.gguf');
  const chunks: Uint8Array[] = [];
  const zeros = async () => new Uint8Array(64);
  const tensors = [{ name: 'w', type: 'f32' as const, shape: [4, 4], bytes: zeros }];
  for await (const chunk of encodeGGUF(new Map([['k', { type: 'string' as const, value: 'v' }]]), tensors)) chunks.push(chunk);
  const good = Buffer.concat(chunks);
  const fails = async (message: RegExp, change: (bytes: Buffer) => Buffer | undefined) => {
    const bytes = Buffer.from(good);
    writeFileSync(file, change(bytes) ?? bytes);
    await t.throwsAsync(openGGUF(file), { instanceOf: FileError, message });
  };
  await fails(/magic must be "GGUF", got/, (b) => void b.writeUInt32LE(7, 0));
  await fails(/version must be 2 or 3, got 9/, (b) => void b.writeUInt32LE(9, 4));
  await fails(/number of tensors must be at most the file's/, (b) => void b.writeBigUInt64LE(2n ** 60n, 8));
  await fails(/length of key 0 must be at most the file's/, (b) => void b.writeBigUInt64LE(2n ** 40n, 24));
  await fails(/type of "k" must be from 0 to 12, got 99/, (b) => void b.writeUInt32LE(99, 33));
  await fails(/tensor "w" must end within the file's/, (b) => b.subarray(0, b.length - 1));
  await fails(/the file has \d+ left/, (b) => b.subarray(0, 30));
});
