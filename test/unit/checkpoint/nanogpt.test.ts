// nanoGPT's checkpoints, written byte by byte as torch.save writes them: a ZIP of stored entries, one of them a pickle.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { GPT, gptConfig, loadNanoGPT, noGrad, openModel, scope, tensor } from '../../../lib/index.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { type NanoGPTOptions, nanoGPT, pickle, zip } from './nanogpt_support.ts';
import { temporaryFolder } from './support.ts';

const CONFIG = { vocabSize: 40, contextLength: 16, layers: 2, heads: 2, width: 32, activation: 'gelu_erf' } as const;
const IDS = Int32Array.from({ length: 24 }, (_, i) => (i * i) % 40);
const logits = (model: GPT): Float32Array =>
  scope(() => noGrad(() => model.logits(tensor(IDS, { shape: [2, 12], device: 'cpu' })).dataSync())) as Float32Array;
const make = (bias = true): GPT => new GPT(gptConfig({ ...CONFIG, bias, normBias: bias }), { seed: 3, device: 'cpu' });

for (const [what, options] of Object.entries({
  'as it is': {},
  'of a compiled model': { prefix: '_orig_mod.' },
  'without biases, in bf16': { bias: false, type: 'BFloat16Storage' },
  'in f16, with the masks of older versions': { type: 'HalfStorage', masks: true },
  'with ZIP64': { zip64: true },
} satisfies Record<string, NanoGPTOptions>))
  test(`a checkpoint ${what} computes what the model did`, async (t) => {
    const { bias = true, type = 'FloatStorage' } = options as NanoGPTOptions;
    const file = join(temporaryFolder(t), 'ckpt.pt');
    using model = make(bias);
    writeFileSync(file, nanoGPT(model, options));
    using read = await loadNanoGPT(file, { device: 'cpu' });
    t.like(read.config, { ...CONFIG, bias, normBias: bias, dropout: { attention: 0.25 } });
    const [got, want] = [logits(read), logits(model)];
    if (type === 'FloatStorage') t.deepEqual(got, want);
    else t.true(got.every((x, i) => Math.abs(x - (want[i] as number)) < 0.05));
    using opened = (await openModel(file, { device: 'cpu' })).model;
    t.deepEqual(logits(opened), got);
    using pretrained = await GPT.fromPretrained(file, { device: 'cpu' });
    t.deepEqual(logits(pretrained), got);
  });

test("a checkpoint that PyTorch wrote, the optimizer's state in it: the logits are PyTorch's", async (t) => {
  const folder = 'test/fixtures/nanogpt';
  const golden = JSON.parse(readFileSync(`${folder}/golden.json`, 'utf8')) as { ids: number[][]; logits: number[] };
  using model = await loadNanoGPT(`${folder}/ckpt.pt`, { device: 'cpu' });
  t.like(model.config, { vocabSize: 33, contextLength: 16, layers: 2, heads: 2, width: 16, bias: false, dropout: { attention: 0.1 } });
  const got = scope(() => noGrad(() => model.logits(tensor(golden.ids, { dtype: 'i32', device: 'cpu' })).dataSync())) as Float32Array;
  t.is(got.length, golden.logits.length);
  t.true(got.every((x, i) => Math.abs(x - (golden.logits[i] as number)) < 1e-5));
});

test('hostile files: the error names file and field, and nothing is executed', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'ckpt.pt');
  using model = make();
  const fails = async (bytes: Uint8Array, said: RegExp): Promise<void> => {
    writeFileSync(file, bytes);
    const error = await t.throwsAsync(() => loadNanoGPT(file, { device: 'cpu' }), { instanceOf: FileError });
    t.true(error?.message.startsWith(file), error?.message);
    t.regex(error?.message ?? '', said);
  };
  const of = (value: Parameters<typeof pickle>[0]): Uint8Array => zip({ 'ckpt/data.pkl': pickle(value) });
  await fails(new Uint8Array(3), /must be a ZIP file of at least 22 bytes, got 3/);
  await fails(new Uint8Array(100), /must end with a ZIP directory/);
  await fails(zip({ 'ckpt/other': new Uint8Array(1) }), /must hold the entry data\.pkl/);
  await fails(of([1, 2]), /the checkpoint must be a dict, got \[1,2\]/);
  await fails(of({ model: {} }), /model_args must be a dict, got nothing/);
  await fails(
    of({ model: {}, model_args: { n_layer: -1, block_size: 8, vocab_size: 4 } }),
    /model_args\.n_layer must be a positive integer, got -1/,
  );
  // os.system('true'), as an attack would have it: GLOBAL, an argument, REDUCE.
  const attack = Buffer.from('\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.', 'latin1');
  await fails(zip({ 'ckpt/data.pkl': attack }), /data\.pkl: must hold tensors and plain values alone, got os\.system, at byte 13/);
  await fails(zip({ 'ckpt/data.pkl': Buffer.from('\x80\x02}', 'latin1') }), /data\.pkl: must have 1 more bytes, got 0/);
  await fails(zip({ 'ckpt/data.pkl': Buffer.from('\x80\x02h\x05.', 'latin1') }), /must remember value 5/);
  await fails(nanoGPT(model, { args: { n_layer: 3 } }), /model: tensor "transformer\.h\.2\.ln_1\.weight" is missing/);
  await fails(nanoGPT(model, { args: { n_layer: 1 } }), /model: tensor "transformer\.h\.1\..*" is not expected/);
  await fails(
    nanoGPT(model, { args: { n_embd: 34 } }),
    /tensor "transformer\.wte\.weight" must be \(40, 34\) by model_args, got \(40, 32\)/,
  );
  await fails(nanoGPT(model, { args: { block_size: 2 ** 40 } }), /transformer\.wpe\.weight" must be \(1099511627776, 32\)/);
  await fails(nanoGPT(model, { args: { n_head: 5 } }), /its model is not supported/);
  await fails(nanoGPT(model, { type: 'LongStorage' }), /must be of FloatStorage, HalfStorage, BFloat16Storage, got LongStorage/);
  await fails(nanoGPT(model, { shorten: 1 }), /must end within the \d+ bytes of its entry/);
});
