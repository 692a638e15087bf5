import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadPretrained, savePretrained } from '../../../lib/checkpoint/pretrained.ts';
import { openSafetensors, type SafetensorsEntry, writeSafetensors } from '../../../lib/checkpoint/safetensors.ts';
import type { GPT, GPTConfigInput } from '../../../lib/models/index.ts';
import { COMPUTES } from '../../../lib/nn/index.ts';
import { type Device, gpuInfo, memory } from '../../../lib/tensor/device.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { computesIn, EVERY_DEVICE, isSimulated, onDevice } from '../../run/devices.ts';
import { scaledError } from '../../run/error.ts';
import { readIndex } from '../../run/fixture_files.ts';
import { runModelFixture, runModels } from '../../run/fixtures_models.ts';
import { build, changed, families, logitsOf, modern, someIds } from '../models/support.ts';
import { temporaryFolder } from './support.ts';

const FIXTURES = 'test/fixtures';

interface Stored extends SafetensorsEntry {
  readonly bytes: Uint8Array;
}

async function readStored(folder: string): Promise<Stored[]> {
  const file = await openSafetensors(join(folder, 'model.safetensors'));
  const stored: Stored[] = [];
  for (const [name, { dtype, shape }] of file.tensors) stored.push({ name, dtype, shape, bytes: await file.read(name) });
  await file.close();
  return stored;
}

/** A copy of a fixture's folder with other weights and fields of config.json; a field of undefined is left out. */
async function variant(
  t: ExecutionContext,
  model: string,
  change: { tensors?: (all: Stored[]) => Stored[]; config?: Record<string, unknown> } = {},
): Promise<string> {
  const folder = temporaryFolder(t);
  const config = JSON.parse(await readFile(join(FIXTURES, model, 'config.json'), 'utf8')) as Record<string, unknown>;
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, ...change.config }));
  const stored = await readStored(join(FIXTURES, model));
  await writeSafetensors(join(folder, 'model.safetensors'), change.tensors?.(stored) ?? stored);
  return folder;
}

const zeros = (name: string, ...shape: number[]): Stored => ({
  name,
  dtype: 'F32',
  shape,
  bytes: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)),
});
const values = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const logits = (model: GPT): Float32Array[] => logitsOf(model, someIds(12));

async function logitsIn(folder: string): Promise<Float32Array[]> {
  using model = await loadPretrained(folder);
  return logits(model);
}

/** What a simulated card computes in: half a minute of work each, so those for which its generation has kernels that the one before lacks. */
const SIMULATED: Record<number, readonly string[]> = { 75: ['f16'], 80: ['f32', 'tf32', 'bf16'], 90: ['bf16', 'f16'] };
const takes = (device: Device, compute: 'f32' | 'tf32' | 'bf16' | 'f16'): boolean =>
  isSimulated(device)
    ? (SIMULATED[gpuInfo(device)?.capability ?? 0]?.includes(compute) ?? false)
    : device === 'cpu' || compute === 'f32' || compute === 'tf32' || computesIn(device, compute);

for (const device of EVERY_DEVICE)
  for (const compute of COMPUTES)
    if (compute !== 'fp8' && takes(device, compute))
      test(`the models of the golden fixtures, in ${compute}${onDevice(device)}`, async (t) => {
        const results = await runModels(FIXTURES, { device, compute });
        t.deepEqual(
          results.filter((r) => r.outcome !== 'pass'),
          [],
        );
        t.deepEqual([...new Set(results.map((r) => r.case))], ['gpt2-tiny', 'llama-tiny']);
        t.true(results.length > 150);
      });

test('the comparison finds a model that is a little wrong', async (t) => {
  const { models } = await readIndex(FIXTURES);
  const wrong: [string, Record<string, unknown>][] = [
    ['gpt2-tiny', { activation_function: 'gelu' }],
    ['gpt2-tiny', { layer_norm_epsilon: 1e-3 }],
    ['llama-tiny', { rope_parameters: { rope_theta: 20000, rope_type: 'default' } }],
  ];
  for (const [name, config] of wrong) {
    const row = models.find((m) => m.dir === name);
    if (!row) throw new Error(`no ${name}`);
    const folder = await variant(t, name, { config });
    await writeFile(join(folder, 'golden.safetensors'), await readFile(join(FIXTURES, name, 'golden.safetensors')));
    const results = await runModelFixture(folder, { ...row, dir: '.' });
    t.is(results.find((r) => r.tensor === 'logits')?.outcome, 'fail', JSON.stringify(config));
  }
});

test('GPT-2: keys without a prefix, mask buffers, a stored tied head', async (t) => {
  const want = await logitsIn(join(FIXTURES, 'gpt2-tiny'));
  const folder = await variant(t, 'gpt2-tiny', {
    tensors: (all) => [
      ...all.map((s) => ({ ...s, name: s.name.replace(/^transformer\./, '') })),
      zeros('h.0.attn.bias', 1, 1, 64, 64),
      zeros('h.1.attn.masked_bias'),
      { ...(all.find((s) => s.name === 'transformer.wte.weight') as Stored), name: 'lm_head.weight' },
    ],
  });
  t.deepEqual(changed(await logitsIn(folder), want), []);
});

test('F16 and BF16 files, sharded files', async (t) => {
  const want = await logitsIn(join(FIXTURES, 'llama-tiny'));
  const half = (to: (x: number) => number, dtype: 'F16' | 'BF16') => (all: Stored[]) =>
    all.map((s): Stored => ({ ...s, dtype, bytes: new Uint8Array(Uint16Array.from(values(s.bytes), to).buffer) }));
  const bits = new DataView(new ArrayBuffer(4));
  const toBF16 = (x: number): number => {
    bits.setFloat32(0, x);
    return bits.getUint16(0);
  };
  // Truncated, and normal numbers only: a weight too small for that becomes 0.
  const toF16 = (x: number): number => {
    bits.setFloat32(0, x);
    const word = bits.getUint32(0);
    const exponent = ((word >>> 23) & 0xff) - 112;
    return exponent <= 0 ? 0 : ((word >>> 16) & 0x8000) | (exponent << 10) | ((word >>> 13) & 0x3ff);
  };
  const flat = (rows: readonly Float32Array[]): number[] => rows.flatMap((r) => [...r]);
  const bf16 = flat(await logitsIn(await variant(t, 'llama-tiny', { tensors: half(toBF16, 'BF16') })));
  t.true(scaledError(bf16, flat(want)) < 0.1);
  const f16 = flat(await logitsIn(await variant(t, 'llama-tiny', { tensors: half(toF16, 'F16') })));
  t.true(scaledError(f16, flat(want)) < 0.01);

  const sharded = await shards(t);
  t.deepEqual(changed(await logitsIn(sharded), want), []);
});

/** llama-tiny in two files with an index. */
async function shards(t: ExecutionContext, change: (map: Record<string, string>) => unknown = () => undefined): Promise<string> {
  const folder = temporaryFolder(t);
  await writeFile(join(folder, 'config.json'), await readFile(join(FIXTURES, 'llama-tiny', 'config.json')));
  const all = await readStored(join(FIXTURES, 'llama-tiny'));
  const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  for (const [i, name] of names.entries())
    await writeSafetensors(
      join(folder, name),
      all.filter((_, j) => j % 2 === i),
    );
  const map = Object.fromEntries(all.map((s, j) => [s.name, names[j % 2] as string]));
  change(map);
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
  return folder;
}

test('Llama: rope_theta of older files, a tied head, biases of attention', async (t) => {
  const want = await logitsIn(join(FIXTURES, 'llama-tiny'));
  const older = await variant(t, 'llama-tiny', { config: { rope_parameters: undefined, rope_theta: 10000, head_dim: undefined } });
  t.deepEqual(changed(await logitsIn(older), want), []);

  const withoutHead = (all: Stored[]): Stored[] => all.filter((s) => s.name !== 'lm_head.weight');
  const tied = await variant(t, 'llama-tiny', { config: { tie_word_embeddings: true }, tensors: withoutHead });
  using tiedModel = await loadPretrained(tied);
  t.is(tiedModel.head, null);

  const ones = (name: string, n: number, value: number): Stored => ({
    ...zeros(name, n),
    bytes: new Uint8Array(new Float32Array(n).fill(value).buffer),
  });
  const biases = [0, 1].flatMap((i) => [
    ones(`model.layers.${i}.self_attn.q_proj.bias`, 48, 1),
    ones(`model.layers.${i}.self_attn.k_proj.bias`, 16, 2),
    ones(`model.layers.${i}.self_attn.v_proj.bias`, 16, 3),
    ones(`model.layers.${i}.self_attn.o_proj.bias`, 48, 4),
  ]);
  using biased = await loadPretrained(
    await variant(t, 'llama-tiny', { config: { attention_bias: true }, tensors: (all) => [...all, ...biases] }),
  );
  const of = (name: string): number[] => [...(biased.namedParameters().get(name)?.dataSync<'f32'>() ?? [])];
  const repeat = (n: number, x: number): number[] => Array.from({ length: n }, () => x);
  t.deepEqual(of('blocks.0.attn.qkv.bias'), [...repeat(48, 1), ...repeat(16, 2), ...repeat(16, 3)]);
  t.deepEqual(of('blocks.1.attn.proj.bias'), repeat(48, 4));
  t.deepEqual(of('blocks.1.mlp.up.bias'), []);
});

test('options: dropout and padding of the vocabulary', async (t) => {
  using model = await loadPretrained(join(FIXTURES, 'gpt2-tiny'), { dropout: 0.3, paddedVocab: 64 });
  t.deepEqual(model.config.dropout, { embedding: 0.3, attention: 0.3, residual: 0.3 });
  t.is(model.tokens.weight.shape[0], 320);
  t.deepEqual(changed(logits(model), await logitsIn(join(FIXTURES, 'gpt2-tiny'))), []);
});

const gpt2: [string, Record<string, unknown>, RegExp][] = [
  [
    'model_type',
    { model_type: 'bert' },
    /config\.json: model_type must be one of gpt2, openai-gpt, llama, mistral, qwen2, qwen3, got "bert"$/,
  ],
  ['no model_type', { model_type: undefined }, /model_type must be one of gpt2, .*, qwen3, got nothing$/],
  ['inherited name', { model_type: 'toString' }, /model_type must be one of/],
  ['activation', { activation_function: 'mish' }, /activation_function must be one of gelu_new, .*, got "mish"$/],
  ['no width', { n_embd: undefined }, /n_embd must be a positive integer, got nothing$/],
  ['layers', { n_layer: 'two' }, /n_layer must be a positive integer, got "two"$/],
  ['heads', { n_head: 5 }, /config\.json: its model is not supported: gptConfig: width must be divisible by heads/],
  [
    'scaling',
    { scale_attn_by_inverse_layer_idx: true },
    /scale_attn_by_inverse_layer_idx must be false, the only value that is supported, got true$/,
  ],
  ['quantized', { quantization_config: { bits: 4 } }, /quantization_config must be null: quantized weights are not supported/],
  [
    'vocabulary',
    { vocab_size: 300 },
    /model\.safetensors: tensor "transformer\.wte\.weight": shape must be \(300, 64\) by config\.json, got \(257, 64\)$/,
  ],
  [
    'inner width',
    { n_inner: 100 },
    /tensor "transformer\.h\.0\.mlp\.c_fc\.weight": shape must be \(64, 100\) by config\.json, got \(64, 256\)$/,
  ],
  ['more layers', { n_layer: 3 }, /tensor "h\.2\.ln_1\.weight" is missing in its weights$/],
  ['fewer layers', { n_layer: 1 }, /tensor "transformer\.h\.1\.[^"]*" is not expected in a model of type gpt2/],
  ['unknown field', { attn_logit_softcapping: 50 }, /field "attn_logit_softcapping" is not known for model_type gpt2: it may change what/],
  ['own code', { auto_map: { AutoModel: 'x.py' } }, /auto_map must be null: models that bring code of their own are not supported/],
  ['cross-attention', { add_cross_attention: true }, /add_cross_attention must be false, the only value/],
  ['untied', { tie_word_embeddings: false }, /tensor "lm_head\.weight" is missing/],
];
const llama: typeof gpt2 = [
  [
    'rope_scaling',
    { rope_scaling: { type: 'dynamic', factor: 2 } },
    /rope_scaling\.type must be one of default, linear, llama3, got "dynamic"$/,
  ],
  [
    'rope_type',
    { rope_parameters: { rope_type: 'yarn', rope_theta: 1 } },
    /rope_parameters\.rope_type must be one of default, linear, llama3, got "yarn"$/,
  ],
  ['activation', { hidden_act: 'gelu' }, /hidden_act must be one of silu, swish, got "gelu"$/],
  ['biases', { attention_bias: true }, /tensor "layers\.0\.self_attn\.q_proj\.bias" is missing/],
  ['kv heads', { num_key_value_heads: 4 }, /num_key_value_heads|kvHeads must be a divisor of heads/],
];
for (const [model, cases] of [
  ['gpt2-tiny', gpt2],
  ['llama-tiny', llama],
] as const)
  for (const [what, config, message] of cases)
    test(`${model}, wrong: ${what}`, async (t) => {
      const error = await t.throwsAsync(loadPretrained(await variant(t, model, { config })), { instanceOf: FileError, message });
      t.is(error?.code, 'ERR_HEDDLE_FILE');
    });

test('wrong folders', async (t) => {
  const fails = (folder: string, message: RegExp) => t.throwsAsync(loadPretrained(folder), { instanceOf: FileError, message });
  await fails('/nowhere/at/all', /config\.json: cannot read: ENOENT/);
  const empty = temporaryFolder(t);
  await writeFile(join(empty, 'config.json'), '{');
  await fails(empty, /config\.json: must be JSON/);
  await writeFile(join(empty, 'config.json'), '[]');
  await fails(empty, /config\.json: must hold a JSON object/);
  await writeFile(join(empty, 'config.json'), await readFile(join(FIXTURES, 'gpt2-tiny', 'config.json')));
  await fails(empty, /must hold model\.safetensors or model\.safetensors\.index\.json\n {2}Weights in other formats/);
  await fails(
    await shards(t, (map) => delete map['lm_head.weight']),
    /index\.json: weight_map: tensor "lm_head\.weight" lies in model-0000/,
  );
  await fails(
    await shards(t, (map) => Object.assign(map, { 'one.more': 'model-00001-of-00002.safetensors' })),
    /00001-of-00002\.safetensors: tensor "one\.more" is missing/,
  );
  await fails(
    await shards(t, (map) => Object.assign(map, { 'lm_head.weight': '../elsewhere' })),
    /weight_map: "lm_head\.weight" must name a file of the folder/,
  );
  const integers = await variant(t, 'gpt2-tiny', { tensors: (all) => all.map((s) => ({ ...s, dtype: 'I32' as const })) });
  await fails(integers, /dtype must be one of F32, F16, BF16, got I32$/);
});

test.serial('an error leaves nothing in memory', async (t) => {
  const folder = await variant(t, 'gpt2-tiny', { config: { n_layer: 1 } });
  const { used } = memory();
  await t.throwsAsync(loadPretrained(folder));
  t.is(memory().used, used);
});

test('a GPT-2 that was saved is the same when loaded, biases or not', async (t) => {
  const fitting: GPTConfigInput[] = [
    { dropout: 0.1 },
    { bias: false, activation: 'gelu_erf', ffnWidth: 100 },
    { tiedHead: false, paddedVocab: 16, activation: 'relu', attention: [{ window: 24 }] },
  ];
  for (const input of fitting) {
    using model = build(input);
    const folder = join(temporaryFolder(t), 'new', 'folder');
    await savePretrained(model, folder, { endOfText: 3 });
    using loaded = await loadPretrained(folder);
    t.deepEqual(changed(logits(loaded), logits(model)), []);
    t.deepEqual(
      { ...loaded.config, dropout: {} },
      { ...model.config, dropout: {}, bias: true, normBias: true, paddedVocab: 1, attention: [{}] },
    );
    t.deepEqual(loaded.config.dropout, model.config.dropout);
    const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
    t.is(json.eos_token_id, 3);
    t.true((await readStored(folder)).every((s) => s.name === 'lm_head.weight' || s.name.startsWith('transformer.')));
  }
});

test('a model that no family has a place for is not written', async (t) => {
  const folder = temporaryFolder(t);
  const fails = async (input: GPTConfigInput, message: RegExp): Promise<void> => {
    using model = build(input);
    await t.throwsAsync(savePretrained(model, folder), { code: 'ERR_HEDDLE_ARGUMENT', message });
  };
  await fails({ ...modern, positions: 'learned' }, /^savePretrained: positions must be rotary to be written as qwen3, got "learned"$/);
  await fails({ ...modern, bias: true }, /bias must be false or attention to be written as qwen3, got true$/);
  await fails({ ...modern, qkNorm: false, rotaryFraction: 0.5 }, /rotaryFraction must be 1 to be written as llama/);
  await fails(
    { ...modern, qkNorm: false, attention: [{}, { window: 3 }] },
    /attention must be one window for all layers to be written as mistral/,
  );
  await fails({ ...(families.gpt1 ?? {}), ffnWidth: 100 }, /ffnWidth must be 128, four times the width, to be written as openai-gpt/);
  await fails({ norm: 'layernorm', finalNorm: false }, /finalNorm must be true to be written as gpt2/);
  await fails({ attention: [{}, { window: 3 }] }, /attention must be without windows/);
  await fails({ positions: 'rotary' }, /positions must be learned/);
  await fails({ activation: 'swiglu' }, /activation must be one of .*gelu_tanh.*, got "swiglu"/);
  await fails({ kvHeads: 2 }, /kvHeads must be 4/);
  await fails({ headSize: 24 }, /headSize must be 8/);
  await fails({ causal: false }, /causal must be true/);
  using model = build();
  await t.throwsAsync(savePretrained(model, folder, { endOfText: 31 }), { message: /endOfText must be a token id below 31, got 31/ });
});
