import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  type AddLoRAOptions,
  addLoRA,
  backward,
  countLoRA,
  data,
  GPT,
  type GPTConfigInput,
  gptConfig,
  LORA_TARGETS,
  loadLoRA,
  lorasOf,
  memory,
  mergeLoRA,
  type nn,
  noGrad,
  RandomSource,
  removeLoRA,
  saveGGUF,
  saveLoRA,
  savePretrained,
  scope,
  Trainer,
  tensor,
  trainConfig,
} from '../../../lib/index.ts';

const SMALL = { vocabSize: 40, contextLength: 16, layers: 2, heads: 2, width: 32 } satisfies GPTConfigInput;
const MODELS: Readonly<Record<string, () => GPT>> = {
  gpt2: () => new GPT(gptConfig(SMALL), { seed: 1 }),
  llama: () => new GPT(gptConfig({ ...SMALL, kvHeads: 1, ffnWidth: 48 }, 'modern'), { seed: 1 }),
};
const IDS = Int32Array.from({ length: 24 }, (_, i) => (i * i) % 40);

const logits = (model: GPT): number[] =>
  scope(() => noGrad(() => [...model.logits(tensor(IDS, { shape: [2, 12], device: model.device })).dataSync()])) as number[];

const largest = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))));

/** Writes something into every B, which begins at 0. */
function change(model: GPT): void {
  let seed = 1;
  for (const { lora } of lorasOf(model))
    for (const b of lora.b)
      b.set(
        Float32Array.from({ length: b.size }, () => {
          seed = (seed * 1664525 + 1013904223) >>> 0;
          return (seed / 2 ** 32 - 0.5) * 0.2;
        }),
      );
}

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-lora-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

for (const [name, make] of Object.entries(MODELS)) {
  test(`${name}: nothing is changed at first; merged it computes the same as apart`, (t) => {
    const model = make();
    const before = logits(model);
    const { learned, all } = addLoRA(model, { rank: 4, alpha: 8 });
    t.true(learned < all / 3);
    t.is(largest(logits(model), before), 0);
    change(model);
    const apart = logits(model);
    t.true(largest(apart, before) > 0.01);
    mergeLoRA(model);
    t.true(largest(logits(model), apart) < 1e-5, `${largest(logits(model), apart)}`);
    t.is([...lorasOf(model)].length, 0);
    t.true(model.parameters().every((p) => p.requiresGrad));
    model.dispose();
  });

  test(`${name}: training changes the changes alone`, async (t) => {
    const model = make();
    addLoRA(model, { rank: 4, targets: ['qkv', 'down'] });
    const own = [...model.namedParameters()].filter(([key]) => !key.includes('.lora.'));
    const before = own.map(([, p]) => [...p.dataSync()]);
    const tokens = new data.MemoryTokens({ tokens: Array.from({ length: 300 }, (_, i) => (i * 7) % 40), vocabSize: 40 });
    const train = trainConfig({ steps: 120, batchSize: 4, learningRate: 5e-2, warmup: 0 }, 16);
    const trainer = new Trainer({ model, train, data: new data.Loader(tokens, { batch: 4, length: 16, seed: 1 }) });
    const losses: number[] = [];
    for await (const event of trainer) if (event.type === 'step') losses.push(event.loss);
    t.true((losses.at(-1) as number) < 0.93 * (losses[0] as number), `${losses[0]} to ${losses.at(-1)}`);
    trainer.dispose();
    own.forEach(([key, p], i) => {
      t.deepEqual([...p.dataSync()], before[i] as number[], key);
    });
    model.dispose();
  });

  test(`${name}: in PEFT's files and back`, async (t) => {
    const [path, model] = [folder(t), make()];
    addLoRA(model, { rank: 3, alpha: 6 });
    change(model);
    await saveLoRA(model, path, { base: 'some/model' });
    const again = make();
    await loadLoRA(again, path);
    t.is(largest(logits(again), logits(model)), 0);
    t.like(JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8')), {
      ...{ peft_type: 'LORA', r: 3, lora_alpha: 6, base_model_name_or_path: 'some/model', fan_in_fan_out: name === 'gpt2' },
      target_modules:
        name === 'gpt2'
          ? ['attn.c_attn', 'attn.c_proj', 'mlp.c_fc', 'mlp.c_proj']
          : ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    });
  });
}

for (const [name, make] of Object.entries(MODELS))
  test(`${name}: DoRA begins without a change, is trained, merged and saved as PEFT does`, async (t) => {
    const path = folder(t);
    const model = make();
    const before = logits(model);
    const gradientOf = (dora: boolean): Float32Array => {
      const fresh = make();
      addLoRA(fresh, { rank: 3, alpha: 6, seed: 1, dora });
      scope(() => backward(fresh.loss(tensor(IDS, { shape: [2, 12] }), tensor(IDS, { shape: [2, 12] }))));
      const [first] = lorasOf(fresh);
      const gradient = first?.lora.b[0]?.grad?.dataSync() as Float32Array;
      fresh.dispose();
      return gradient;
    };
    t.true(largest([...gradientOf(true)], [...gradientOf(false)]) < 1e-5, 'where the lengths are those of the matrix, B learns as without');

    const { learned } = addLoRA(model, { rank: 3, alpha: 6, seed: 1, dora: true });
    t.is(learned, countLoRA(model.config, { rank: 3, targets: LORA_TARGETS, dora: true }));
    t.true(largest(logits(model), before) < 1e-5);
    change(model);
    const [{ linear, lora } = t.fail() as never] = lorasOf(model);
    const magnitude = lora.magnitude as NonNullable<typeof lora.magnitude>;
    const lengths = magnitude.dataSync() as Float32Array;
    magnitude.set(lengths.map((m, i) => m * (1 + 0.3 * Math.sin(i))));

    // W' = m (W + s B A) / ‖W + s B A‖, row by row, in doubles.
    const x = Float32Array.from({ length: 32 }, (_, i) => Math.cos(i));
    const [w, y] = [
      (linear.weight as nn.Parameter).dataSync() as Float32Array,
      scope(() => noGrad(() => linear.forward(tensor(x, { shape: [1, 32] })).dataSync())),
    ];
    const [a, b] = [lora.a[0]?.dataSync() as Float32Array, lora.b[0]?.dataSync() as Float32Array];
    const own = magnitude.dataSync() as Float32Array;
    for (const row of [0, 5, 31]) {
      const changed = Array.from({ length: 32 }, (_, i) => {
        const delta = [0, 1, 2].reduce((sum, r) => sum + (b[row * 3 + r] as number) * (a[r * 32 + i] as number), 0);
        return (w[row * 32 + i] as number) + 2 * delta;
      });
      const length = Math.sqrt(changed.reduce((sum, v) => sum + v * v, 0));
      const product = changed.reduce((sum, v, i) => sum + v * (x[i] as number), 0);
      t.true(Math.abs((y[row] as number) - ((own[row] as number) / length) * product) < 1e-5, `row ${row}`);
    }

    // The gradient of a length is that of central differences.
    const loss = () => model.loss(tensor(IDS, { shape: [2, 12] }), tensor(IDS.toReversed(), { shape: [2, 12] }));
    const value = (): number => noGrad(() => scope(() => loss().dataSync()[0] as number));
    scope(() => backward(loss()));
    const gradient = magnitude.grad?.dataSync() as Float32Array;
    const most = Math.max(...gradient.map(Math.abs));
    for (const place of [0, 3, 17]) {
      const at = (h: number): number => {
        magnitude.set(own.map((m, i) => (i === place ? m + h : m)));
        return value();
      };
      const numeric = (at(0.01) - at(-0.01)) / 0.02;
      t.true(Math.abs(numeric - (gradient[place] as number)) < 0.03 * most + 1e-5, `${numeric} ${gradient[place]}`);
    }
    magnitude.set(own);

    const apart = logits(model);
    await saveLoRA(model, path);
    t.is(JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8')).use_dora, true);
    const again = make();
    await loadLoRA(again, path);
    t.is(largest(logits(again), apart), 0);
    mergeLoRA(model);
    t.true(largest(logits(model), apart) < 1e-5 && largest(apart, before) > 0.01);
    for (const m of [model, again]) m.dispose();
  });

test('dropout of the changes: while training alone, of the part (1 - p) kept and scaled, the base untouched', (t) => {
  const model = (MODELS.gpt2 as () => GPT)();
  addLoRA(model, { rank: 4, dropout: 0.5, seed: 3 });
  const random = new RandomSource(1);
  const drawn = (): number[] =>
    scope(() => noGrad(() => [...model.logits(tensor(IDS, { shape: [2, 12] }), { random }).dataSync()])) as number[];
  const base = drawn();
  t.is(largest(base, logits(model)), 0, 'B is 0');
  change(model);
  const plain = logits(model);
  random.begin(1);
  const first = drawn();
  random.begin(2);
  t.true(largest(first, plain) > 1e-3 && largest(first, drawn()) > 1e-3);
  random.begin(1);
  t.is(largest(first, drawn()), 0, 'the same step draws the same');
  model.eval();
  t.is(largest(plain, drawn()), 0);
  model.train();
  const { linear } = [...lorasOf(model)][0] as { linear: nn.Linear };
  const x = tensor(
    Float32Array.from({ length: 32 }, (_, i) => Math.sin(i)),
    { shape: [1, 32] },
  );
  const output = (o: { random?: RandomSource }): number[] => scope(() => noGrad(() => [...linear.forward(x, o).dataSync()])) as number[];
  const [draws, exact] = [1000, output({})];
  const mean = exact.map(() => 0);
  for (let i = 0; i < draws; i++) {
    random.begin(10 + i);
    output({ random }).forEach((v, j) => {
      mean[j] = (mean[j] as number) + v / draws;
    });
  }
  random.begin(1);
  const once = largest(output({ random }), exact);
  t.true(once > 0 && largest(mean, exact) < once / 5, `${largest(mean, exact)} of ${once}`);
  model.dispose();
});

test('a part of the matrices; others stay without a change', async (t) => {
  const [path, model] = [folder(t), (MODELS.llama as () => GPT)()];
  addLoRA(model, { rank: 2, targets: ['up'] });
  t.deepEqual(
    [...lorasOf(model)].map(({ block, target }) => `${block} ${target}`),
    ['0 up', '1 up'],
  );
  change(model);
  await saveLoRA(model, path);
  const again = (MODELS.llama as () => GPT)();
  await loadLoRA(again, path);
  t.deepEqual(
    [...lorasOf(again)].map(({ target }) => target),
    ['up', 'up'],
  );
  removeLoRA(again);
  t.is(largest(logits(again), logits((MODELS.llama as () => GPT)())), 0);
});

test.serial('what a frozen matrix was multiplied by is not kept for backward', (t) => {
  const kept = (targets?: readonly ('qkv' | 'proj')[]): number => {
    using model = new GPT(gptConfig(SMALL), { seed: 1, device: 'cpu' });
    if (targets) addLoRA(model, { rank: 1, targets });
    const ids = tensor(IDS, { shape: [2, 12], device: 'cpu' });
    const before = memory('cpu').used;
    const loss = model.loss(ids, ids);
    const bytes = memory('cpu').used - before;
    scope(() => backward(loss));
    for (const x of [loss, ids]) x.dispose();
    return bytes;
  };
  const hidden = 2 * 4 * 24 * 128; // of two layers, (B, T, 4 C)
  const [all, attention] = [kept(), kept(['qkv', 'proj'])];
  t.true(attention < all - 0.8 * hidden, `${attention} of ${all}, ${hidden} in hidden layers`);
});

test('what is wrong is named, and leaves the model as it was', async (t) => {
  const model = (MODELS.gpt2 as () => GPT)();
  const wrong = (options: AddLoRAOptions): string | undefined =>
    t.throws(() => addLoRA(model, options), { code: 'ERR_HEDDLE_ARGUMENT' })?.message;
  t.is(wrong({ rank: 0 }), 'LoRA: rank must be a positive integer, got 0');
  t.is(wrong({ rank: 2, alpha: -1 }), 'LoRA: alpha must be a positive number, got -1');
  t.is(wrong({ rank: 2, targets: ['head' as never] }), 'addLoRA: targets must be of qkv, proj, up, down, got "head"');
  t.is(wrong({ rank: 2, targets: [] }), 'addLoRA: targets must name at least one matrix, got none');
  t.true(model.parameters().every((p) => p.requiresGrad));
  await t.throwsAsync(() => saveLoRA(model, folder(t)), { message: 'saveLoRA: the model has no changes: addLoRA makes them' });
  addLoRA(model, { rank: 2 });
  t.regex(wrong({ rank: 2 }) ?? '', /^addLoRA: the model has changes already/);
  await t.throwsAsync(() => savePretrained(model, folder(t)), { message: /^savePretrained: the model has changes \(LoRA\)/ });
  await t.throwsAsync(() => saveGGUF(model, join(folder(t), 'a.gguf')), { message: /^saveGGUF: the model has changes \(LoRA\)/ });

  const path = folder(t);
  await saveLoRA(model, path);
  const file = join(path, 'adapter_config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  const again = (MODELS.gpt2 as () => GPT)();
  for (const [field, value, said] of [
    ['peft_type', 'IA3', 'peft_type must be "LORA", got "IA3"'],
    ['r', 0, 'r must be a positive integer, got 0'],
    ['lora_alpha', 'x', 'lora_alpha must be a positive number, got "x"'],
    ['use_dora', 'yes', 'use_dora must be true or false, got "yes"'],
    ['use_dora', true, /lora_magnitude_vector" is missing$/],
    ['rank_pattern', { c_attn: 4 }, 'rank_pattern must be null, got {"c_attn":4}: heddle has no such changes'],
    ['r', 5, /lora_A\.weight": shape must be \(5, 32\), got \(2, 32\)/],
  ] as const) {
    writeFileSync(file, JSON.stringify({ ...config, [field]: value }));
    const { message = '' } = (await t.throwsAsync(() => loadLoRA(again, path), { code: 'ERR_HEDDLE_FILE' })) ?? {};
    if (typeof said === 'string') t.is(message, `${file}: ${said}`);
    else t.regex(message, said);
    t.is([...lorasOf(again)].length, 0);
  }
  writeFileSync(file, JSON.stringify(config));
  await t.throwsAsync(() => loadLoRA((MODELS.llama as () => GPT)(), path), {
    message: /tensor ".*c_attn.*" is no change of a matrix of this model/,
  });
});
