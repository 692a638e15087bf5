import { join } from 'node:path';
import { loadPretrained, savePretrained } from '../../../lib/checkpoint/pretrained.ts';
import { parsePretrainedConfig } from '../../../lib/checkpoint/pretrained-config.ts';
import { pretrainedPieces } from '../../../lib/checkpoint/pretrained-names.ts';
import { openSafetensors, type SafetensorsEntry, writeSafetensors } from '../../../lib/checkpoint/safetensors.ts';
import { type Files, type Format, filesOf } from '../format.ts';
import { mutateJSON } from '../mutate_json.ts';
import { mutateSafetensors } from './safetensors.ts';
import { filesMade, tinyModel, useModel } from './support.ts';

const INDEX = 'model.safetensors.index.json';
const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;

const mutators = {
  'config.json': { weight: 5, mutate: mutateJSON },
  'model.safetensors': { weight: 3, mutate: mutateSafetensors },
  [INDEX]: { weight: 3, mutate: mutateJSON },
  [SHARDS[0]]: { weight: 1, mutate: mutateSafetensors },
  [SHARDS[1]]: { weight: 1, mutate: mutateSafetensors },
};

async function read(folder: string): Promise<void> {
  const model = await loadPretrained(folder);
  try {
    useModel(model);
  } finally {
    model.dispose();
  }
}

const gpt2 = (tied: boolean): Promise<Files> =>
  filesMade(async (folder) => {
    const model = tinyModel({ tiedHead: tied });
    await savePretrained(model, folder, { endOfText: 1 });
    model.dispose();
  });

/** The same tensors in two files and their index. */
async function sharded(files: Files): Promise<Files> {
  const single = files.get('model.safetensors') as Uint8Array;
  const made = await filesMade(async (folder) => {
    await writeSafetensorsBytes(join(folder, 'model.safetensors'), single);
    const file = await openSafetensors(join(folder, 'model.safetensors'));
    const entries: SafetensorsEntry[] = [];
    for (const [name, { dtype, shape }] of file.tensors) entries.push({ name, dtype, shape, bytes: await file.read(name) });
    await file.close();
    const half = entries.length >> 1;
    await writeSafetensors(join(folder, SHARDS[0]), entries.slice(0, half));
    await writeSafetensors(join(folder, SHARDS[1]), entries.slice(half));
    const map = Object.fromEntries(entries.map(({ name }, i) => [name, SHARDS[i < half ? 0 : 1]]));
    await writeSafetensorsBytes(
      join(folder, INDEX),
      new TextEncoder().encode(JSON.stringify({ metadata: { total_size: 1 }, weight_map: map })),
    );
  });
  const out = new Map([...files, ...made]);
  out.delete('model.safetensors');
  return out;
}

async function writeSafetensorsBytes(file: string, bytes: Uint8Array): Promise<void> {
  const { writeFile } = await import('node:fs/promises');
  await writeFile(file, bytes);
}

async function llama(more: object): Promise<Files> {
  const config = {
    ...{ model_type: 'llama', hidden_size: 4, num_attention_heads: 2, num_hidden_layers: 1, intermediate_size: 4, vocab_size: 7 },
    ...{
      max_position_embeddings: 6,
      num_key_value_heads: 1,
      rms_norm_eps: 1e-6,
      rope_theta: 10000,
      hidden_act: 'silu',
      rope_scaling: null,
    },
    ...{ tie_word_embeddings: false, attention_bias: false, mlp_bias: false, head_dim: 2, torch_dtype: 'bfloat16', bos_token_id: 1 },
    ...more,
  };
  const parsed = parsePretrainedConfig('config.json', config);
  const entries = [...pretrainedPieces(parsed)].map(({ name: theirs, rows, columns }): SafetensorsEntry => {
    const shape = columns === undefined ? [rows] : [rows, columns];
    const name = theirs === 'lm_head.weight' ? theirs : `model.${theirs}`;
    return { name, dtype: 'BF16', shape, bytes: new Uint8Array(2 * shape.reduce((a, b) => a * b, 1)) };
  });
  const made = await filesMade((folder) => writeSafetensors(join(folder, 'model.safetensors'), entries));
  return new Map([...made, ...filesOf({ 'config.json': JSON.stringify(config) })]);
}

export const gpt2Folder: Format = { name: 'gpt2', seeds: async () => [await gpt2(true), await gpt2(false)], mutators, read };

export const llamaFolder: Format = {
  name: 'llama',
  seeds: async () => [await llama({}), await llama({ attention_bias: true, rope_parameters: { rope_theta: 5, rope_type: 'default' } })],
  mutators,
  read,
};

export const index: Format = {
  name: 'index',
  seeds: async () => [await sharded(await gpt2(true)), await sharded(await llama({}))],
  mutators,
  read,
};

export const openaiFolder: Format = {
  name: 'openai-gpt',
  seeds: async () => [
    await filesMade(async (folder) => {
      const model = tinyModel({ normPosition: 'post', ffnWidth: 16 });
      await savePretrained(model, folder, { endOfText: 1 });
      model.dispose();
    }),
  ],
  mutators,
  read,
};

/** Windows per layer, biases of q, k and v, norms of q and k, frequencies that are scaled. */
export const qwenFolder: Format = {
  name: 'qwen',
  seeds: async () => {
    const shape = { hidden_size: 4, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 2, intermediate_size: 4, vocab_size: 7 };
    const windows = { use_sliding_window: true, sliding_window: 2, max_window_layers: 1 };
    const scaled = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 4 };
    const common = { attention_bias: undefined, mlp_bias: undefined, num_hidden_layers: 2, ...shape, ...windows };
    return [
      await llama({ ...common, model_type: 'qwen2', layer_types: ['full_attention', 'sliding_attention'] }),
      await llama({ ...common, model_type: 'qwen3', rope_scaling: { ...scaled, rope_theta: 10000 } }),
    ];
  },
  mutators,
  read,
};
