// Each family of models: what transformers computes (test/fixtures/families), saved and read again, and what is refused.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadPretrained, savePretrained } from '../../../lib/checkpoint/pretrained.ts';
import { GPT } from '../../../lib/models/index.ts';
import '../../../lib/checkpoint/from_pretrained.ts';
import { openSafetensors } from '../../../lib/checkpoint/safetensors.ts';
import { ByteTokenizer, Tokenizer } from '../../../lib/tokenizer/index.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { EVERY_DEVICE, onDevice } from '../../run/devices.ts';
import { readIndex } from '../../run/fixture_files.ts';
import { runModelFixture } from '../../run/fixtures_models.ts';
import { changed, logitsOf, someIds } from '../models/support.ts';
import { temporaryFolder } from './support.ts';

const FIXTURES = 'test/fixtures/families';
const { models } = await readIndex(FIXTURES);
const names = models.map((row) => row.dir);

for (const device of EVERY_DEVICE)
  test(`what transformers computes of each family${onDevice(device)}`, async (t) => {
    // A simulated card is slow, and the kernels know no families: two models that use all of the kernels' options.
    const rows = device === 'cpu' ? models : models.filter((row) => ['qwen2-tiny', 'llama3-tiny'].includes(row.dir));
    const results = (await Promise.all(rows.map((row) => runModelFixture(FIXTURES, row, { device })))).flat();
    t.deepEqual(
      results.filter((r) => r.outcome !== 'pass'),
      [],
    );
    t.deepEqual(
      [...new Set(results.map((r) => r.case))],
      rows.map((row) => row.dir),
    );
  });

const json = (folder: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;

async function tensorsOf(folder: string): Promise<Map<string, Uint8Array>> {
  const file = await openSafetensors(join(folder, 'model.safetensors'));
  const tensors = new Map<string, Uint8Array>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.read(name));
  await file.close();
  return tensors;
}

for (const name of names)
  test(`${name} is saved as the family that it is, tensor for tensor`, async (t) => {
    const source = join(FIXTURES, name);
    using model = await GPT.fromPretrained(source);
    const folder = temporaryFolder(t);
    await savePretrained(model, folder, { endOfText: 1 });
    t.is(json(folder).model_type, json(source).model_type);
    const [saved, original] = [await tensorsOf(folder), await tensorsOf(source)];
    if (name === 'openai-gpt-tiny') original.delete('lm_head.weight');
    t.deepEqual([...saved.keys()].sort(), [...original.keys()].sort());
    for (const [tensor, bytes] of original) t.is(Buffer.compare(bytes, saved.get(tensor) as Uint8Array), 0, tensor);
    using again = await loadPretrained(folder);
    t.deepEqual(again.config, model.config);
    t.deepEqual(changed(logitsOf(again, someIds(20)), logitsOf(model, someIds(20))), []);
  });

test('a tokenizer goes into the folder, and its end of text into config.json', async (t) => {
  using model = await loadPretrained('test/fixtures/gpt2-tiny');
  const folder = temporaryFolder(t);
  await savePretrained(model, folder, { tokenizer: new ByteTokenizer() });
  const tokenizer = await Tokenizer.fromPretrained(folder);
  t.deepEqual([...tokenizer.encode('AB')], [65, 66]);
  t.is(json(folder).eos_token_id, tokenizer.endOfText);
});

/** A fixture's folder with other fields of config.json; undefined leaves one out. */
function variant(t: ExecutionContext, name: string, fields: Record<string, unknown>): string {
  const folder = temporaryFolder(t);
  cpSync(join(FIXTURES, name, 'model.safetensors'), join(folder, 'model.safetensors'));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...json(join(FIXTURES, name)), ...fields }));
  return folder;
}

const refused: [string, Record<string, unknown>, RegExp][] = [
  ['openai-gpt-tiny', { afn: 'gelu_new' }, /afn must be one of gelu, relu, silu, swish, got "gelu_new"$/],
  ['openai-gpt-tiny', { n_head: 5 }, /its model is not supported: gptConfig: width must be divisible by heads/],
  ['qwen2-tiny', { layer_types: ['full_attention'] }, /layer_types must be a list of 2, each one of full_attention, sliding_attention/],
  ['qwen2-tiny', { layer_types: ['full_attention', 'chunked_attention'] }, /layer_types must be a list of 2/],
  ['qwen2-tiny', { use_sliding_window: false }, /layer_types must be without sliding_attention, since there is no sliding_window in use/],
  ['qwen2-tiny', { use_mrope: true }, /use_mrope must be false, the only value/],
  [
    'qwen2-tiny',
    { attention_bias: false },
    /field "attention_bias" is not known for model_type qwen2: it may change what the model computes\n {2}.*ignoreConfig/,
  ],
  ['qwen3-tiny', { head_dim: undefined }, /q_proj\.weight": shape must be \(512, 32\) by config\.json, got \(64, 32\)$/],
  ['qwen3-tiny', { attention_bias: true }, /self_attn\.q_proj\.bias" is missing/],
  ['mistral-tiny', { sliding_window: -1 }, /sliding_window must be a positive integer, got -1$/],
  ['mistral-tiny', { rope_parameters: { rope_type: 'yarn', rope_theta: 1, factor: 2 } }, /rope_parameters\.rope_type must be/],
  ['mistral-tiny', { rope_parameters: { rope_theta: 1000, mscale: 2 } }, /field "rope_parameters\.mscale" is not known/],
  ['mistral-tiny', { attn_logit_softcapping: 30 }, /field "attn_logit_softcapping" is not known for model_type mistral/],
  ['mistral-tiny', { num_hidden_layers: 1 }, /tensor "model\.layers\.1\.[^"]*" is not expected in a model of type mistral/],
];
for (const [name, fields, message] of refused)
  test(`${name}, refused: ${JSON.stringify(fields)}`, async (t) => {
    await t.throwsAsync(loadPretrained(variant(t, name, fields)), { instanceOf: FileError, message });
  });

test('defaults are those of the classes of transformers; unknown fields may be named as harmless', async (t) => {
  const config = async (name: string, fields: Record<string, unknown>, ignoreConfig: string[] = []) => {
    using model = await loadPretrained(variant(t, name, fields), { ignoreConfig });
    return model.config;
  };
  t.deepEqual((await config('mistral-tiny', { sliding_window: undefined })).attention, [{ window: 4096 }]);
  t.deepEqual((await config('mistral-tiny', { sliding_window: null })).attention, [{}]);
  t.deepEqual((await config('qwen2-tiny', {})).attention, [{}, { window: 8 }]);
  t.deepEqual((await config('qwen2-tiny', { layer_types: undefined })).attention, [{}, { window: 8 }]);
  t.deepEqual((await config('qwen2-tiny', { layer_types: undefined, max_window_layers: 0 })).attention, [{ window: 8 }]);
  t.deepEqual((await config('qwen2-tiny', { layer_types: undefined, use_sliding_window: undefined })).attention, [{}]);
  t.is((await config('qwen3-tiny', {})).headSize, 16);
  t.is((await config('mistral-tiny', { logit_scale: 1 }, ['logit_scale'])).layers, 2);
  for (const harmless of [{ _name_or_path: 'x', torch_dtype: 'bfloat16', pad_token_id: 3 }, { temperature: 0.6 }, { id2label: {} }])
    t.is((await config('mistral-tiny', harmless)).layers, 2);
});
