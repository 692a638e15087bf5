import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { bfloatBits } from '../../../lib/checkpoint/gguf-types.ts';
import { loadLLMC } from '../../../lib/checkpoint/llmc.ts';
import type { GPT } from '../../../lib/models/index.ts';
import type { Parameter } from '../../../lib/nn/index.ts';
import { copyInto } from '../../../lib/ops/index.ts';
import { full } from '../../../lib/tensor/create.ts';
import { scope } from '../../../lib/tensor/tensor.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { build, changed, logitsOf, someIds } from '../models/support.ts';
import { temporaryFolder } from './support.ts';

/** What llm.c writes of a model: all layers of one kind of parameter after the other. */
function bytesOf(model: GPT, version: 3 | 5, header: Record<number, number> = {}): Uint8Array {
  const c = model.config;
  const rows = model.tokens.weight.shape[0] as number;
  const words = new Int32Array(256);
  words.set([20240326, version, c.contextLength, c.vocabSize, c.layers, c.heads, c.width, rows]);
  for (const [i, value] of Object.entries(header)) words[Number(i)] = value;
  const parameters = model.namedParameters();
  const of = (name: string): Float32Array => parameters.get(name)?.dataSync<'f32'>() as Float32Array;
  const kinds = ['norm1.weight', 'norm1.bias', 'attn.qkv.weight', 'attn.qkv.bias', 'attn.proj.weight', 'attn.proj.bias'];
  kinds.push('norm2.weight', 'norm2.bias', 'mlp.up.weight', 'mlp.up.bias', 'mlp.down.weight', 'mlp.down.bias');
  const blocks = kinds.flatMap((kind) => model.blocks.map((_, i) => of(`blocks.${i}.${kind}`)));
  const floats = [of('tokens.weight'), of('positions'), ...blocks, of('norm.weight'), of('norm.bias')];
  const parts = floats.map((x) =>
    version === 3 ? new Uint8Array(x.buffer, x.byteOffset, x.byteLength) : new Uint8Array(Uint16Array.from(x, bfloatBits).buffer),
  );
  return Buffer.concat([new Uint8Array(words.buffer), ...parts]);
}

function written(t: ExecutionContext, bytes: Uint8Array): string {
  const file = join(temporaryFolder(t), 'model.bin');
  writeFileSync(file, bytes);
  return file;
}

test('models of llm.c, f32 and bf16, with a padded vocabulary or without', async (t) => {
  for (const paddedVocab of [1, 128, 7]) {
    using model = build({ paddedVocab });
    // The biases and norms begin at 0 and 1: a parameter in another's place must show.
    for (const [i, p] of model.parameters().entries()) if (p.rank === 1) scope(() => copyInto(p, full(p.shape, 0.5 + i / 64)));
    using f32 = await loadLLMC(written(t, bytesOf(model, 3)));
    t.deepEqual(f32.config, { ...model.config, initStd: 0.02, paddedVocab: paddedVocab === 7 ? 35 : paddedVocab });
    t.deepEqual(changed(logitsOf(f32, someIds(20)), logitsOf(model, someIds(20))), []);
    using bf16 = await loadLLMC(written(t, bytesOf(model, 5)));
    const [a, b] = [bf16.blocks[1]?.mlp.down.weight, model.blocks[1]?.mlp.down.weight].map((p) => (p as Parameter).dataSync<'f32'>());
    t.true((a as Float32Array).every((x, i) => Math.abs(x - ((b as Float32Array)[i] as number)) <= Math.abs(x) / 128));
  }
});

test('wrong files', async (t) => {
  using model = build();
  const fails = (header: Record<number, number>, message: RegExp, cut = 0) => {
    const bytes = bytesOf(model, 3, header);
    return t.throwsAsync(loadLLMC(written(t, bytes.subarray(0, bytes.length - cut))), { instanceOf: FileError, message });
  };
  await fails({ 0: 7 }, /magic must be 20240326, that of a model of llm\.c, got 7$/);
  await fails({ 1: 4 }, /version must be 3 \(f32\) or 5 \(bf16\), got 4$/);
  await fails({ 4: 0 }, /layers must be a positive integer, got 0$/);
  await fails({ 5: 5 }, /its model is not supported: gptConfig: width must be divisible by heads/);
  await fails({ 7: 30 }, /padded vocabulary must be at least the vocabulary \(31\), got 30$/);
  await fails({ 4: 2 ** 30 }, /must be \d+ bytes long by its header, got \d+$/);
  await fails({}, /must be \d+ bytes long by its header/, 1);
  await t.throwsAsync(loadLLMC(written(t, new Uint8Array(10))), { message: /header must be 1024 bytes, the file holds 10$/ });
});
