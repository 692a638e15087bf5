// LoRA beside matrices in NF4: what it computes, learns, keeps and merges.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  type AddLoRAOptions,
  addLoRA,
  backward,
  data,
  GPT,
  type GPTConfigInput,
  gptConfig,
  loadLoRA,
  loraConfigOf,
  lorasOf,
  memory,
  mergeLoRA,
  nn,
  noGrad,
  removeLoRA,
  saveLoRA,
  saveWeights,
  scope,
  Trainer,
  tensor,
  trainConfig,
} from '../../../lib/index.ts';
import { native } from '../../../lib/native/addon.ts';
import { copyInto, dequantizeNF4, quantizeNF4 } from '../../../lib/ops/index.ts';
import { DEVICES, isSimulated, onDevice } from '../../run/devices.ts';

const SMALL = { vocabSize: 40, contextLength: 16, layers: 2, heads: 2, width: 32 } satisfies GPTConfigInput;
const MODELS: Readonly<Record<string, (device?: string) => GPT>> = {
  gpt2: (device = 'cpu') => new GPT(gptConfig(SMALL), { seed: 1, device }),
  llama: (device = 'cpu') => new GPT(gptConfig({ ...SMALL, kvHeads: 1, ffnWidth: 48 }, 'modern'), { seed: 1, device }),
};
const IDS = Int32Array.from({ length: 24 }, (_, i) => (i * i) % 40);

const logits = (model: GPT): number[] =>
  scope(() => noGrad(() => [...model.logits(tensor(IDS, { shape: [2, 12], device: model.device })).dataSync()])) as number[];
const largest = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))));

/** Rounds the matrices that LoRA changes to NF4: what the same model computes that keeps them so. */
function roundToNF4(model: GPT, targets: readonly string[] = ['qkv', 'proj', 'up', 'down']): GPT {
  for (const [name, p] of model.namedParameters())
    if (targets.some((target) => name.endsWith(`.${target}.weight`))) scope(() => noGrad(() => copyInto(p, dequantizeNF4(quantizeNF4(p)))));
  model.refreshCompute();
  return model;
}

/** Writes something into every B, which begins at 0. */
function change(model: GPT): void {
  for (const { lora } of lorasOf(model))
    for (const b of lora.b) b.set(Float32Array.from({ length: b.size }, (_, i) => 0.1 * Math.sin(i * 1.7 + b.size)));
}

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-qlora-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function trainerOf(model: GPT, more: Parameters<typeof trainConfig>[0] = {}): Trainer {
  const tokens = new data.MemoryTokens({ tokens: Array.from({ length: 300 }, (_, i) => (i * 7) % 40), vocabSize: 40 });
  const train = trainConfig({ steps: 6, batchSize: 4, learningRate: 5e-2, warmup: 0, logEvery: 1, ...more }, 16);
  return new Trainer({ model, train, data: new data.Loader(tokens, { batch: 4, length: 16, seed: 1 }) });
}

async function lossesOf(model: GPT, more: Parameters<typeof trainConfig>[0] = {}): Promise<number[]> {
  const trainer = trainerOf(model, more);
  const losses: number[] = [];
  for await (const event of trainer) if (event.type === 'step') losses.push(event.loss);
  trainer.dispose();
  return losses;
}

for (const [name, make] of Object.entries(MODELS))
  for (const dora of [false, true]) {
    const options: AddLoRAOptions = { rank: 4, alpha: 8, dora, seed: 2 };
    const title = `${name}${dora ? ', DoRA' : ''}`;

    test(`${title}: computes and learns what LoRA does on matrices rounded to NF4, to the bit`, async (t) => {
      for (const more of [{}, { policy: { recompute: 'block' } }, { policy: { compute: 'bf16' } }] as const) {
        const [kept, rounded] = [make(), roundToNF4(make())];
        const counts = addLoRA(kept, { ...options, quantize: 'nf4' });
        t.deepEqual(addLoRA(rounded, options), counts, 'the frozen matrices are counted');
        t.is(largest(logits(kept), logits(rounded)), 0);
        t.deepEqual(await lossesOf(kept, more), await lossesOf(rounded, more));
        t.is(largest(logits(kept), logits(rounded)), 0);
        for (const model of [kept, rounded]) model.dispose();
      }
    });

    test(`${title}: PEFT's files do not depend on it, and go with either; merged into what NF4 stands for`, async (t) => {
      const [a, b] = [folder(t), folder(t)];
      const [kept, rounded] = [make(), roundToNF4(make())];
      addLoRA(kept, { ...options, quantize: 'nf4' });
      addLoRA(rounded, options);
      for (const model of [kept, rounded]) change(model);
      await saveLoRA(kept, a);
      await saveLoRA(rounded, b);
      for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
        t.true(readFileSync(join(a, file)).equals(readFileSync(join(b, file))), file);

      const [again, plain] = [make(), make()];
      await loadLoRA(again, a, { quantize: 'nf4' });
      t.is(loraConfigOf(again)?.quantize, 'nf4');
      t.is(largest(logits(again), logits(kept)), 0);
      await loadLoRA(plain, a);
      t.is(loraConfigOf(plain)?.quantize, 'none');
      t.true(largest(logits(plain), logits(kept)) > 0, 'the matrices as they were');

      const apart = logits(kept);
      mergeLoRA(kept);
      mergeLoRA(rounded);
      t.is(largest(logits(kept), logits(rounded)), 0);
      t.true(largest(logits(kept), apart) < 1e-4);
      t.deepEqual([...kept.namedParameters().keys()], [...make().namedParameters().keys()], 'a model like any other');
      t.true(kept.parameters().every((p) => p.requiresGrad));
      for (const model of [kept, rounded, again, plain]) model.dispose();
    });
  }

test('a part of the matrices; taken away again it stays rounded', async (t) => {
  const [model, rounded] = [MODELS.gpt2?.() as GPT, roundToNF4(MODELS.gpt2?.() as GPT, ['up'])];
  addLoRA(model, { rank: 2, targets: ['up'], quantize: 'nf4', seed: 1 });
  t.true(model.blocks[0]?.mlp.up.weight instanceof nn.NF4Matrix);
  t.true(model.blocks[0]?.attn.qkv.weight instanceof nn.Parameter);
  addLoRA(rounded, { rank: 2, targets: ['up'], seed: 1 });
  t.deepEqual(await lossesOf(model), await lossesOf(rounded));
  removeLoRA(model);
  removeLoRA(rounded);
  t.is(largest(logits(model), logits(rounded)), 0);
  for (const m of [model, rounded]) m.dispose();
});

test.serial('the model is as before where it fails, and memory is given back', async (t) => {
  const make = MODELS.gpt2 as () => GPT;
  const before = memory('cpu').used;
  const model = make();
  const [held, own] = [memory('cpu').used, logits(model)];
  t.throws(() => addLoRA(model, { rank: 2, quantize: 'int8' as never }), {
    message: 'addLoRA: quantize must be one of none, nf4, got "int8"',
  });
  t.is(memory('cpu').used, held);
  for (let n = 1; n <= 6; n++) {
    native.failAt('cpu', 'allocation', n);
    t.throws(() => addLoRA(model, { rank: 2, quantize: 'nf4' }), { message: /out of memory/ });
    native.failAt('cpu', 'allocation', 0);
    t.is(memory('cpu').used, held);
    t.is(largest(logits(model), own), 0);
  }
  addLoRA(model, { rank: 1, quantize: 'nf4' });
  t.true(memory('cpu').used < held, `${memory('cpu').used} of ${held}`);
  await t.throwsAsync(saveWeights('unused.safetensors', model), { message: /^saveWeights: the module has matrices in NF4/ });
  removeLoRA(model);
  t.is(memory('cpu').used, held);
  t.true(largest(logits(model), own) > 0);
  addLoRA(model, { rank: 1, quantize: 'nf4' });
  model.dispose();
  t.is(memory('cpu').used, before);
});

for (const device of DEVICES.filter((d) => d !== 'cpu'))
  test(`a model moves with its matrices in NF4${onDevice(device)}`, (t) => {
    const [moved, there] = [MODELS.gpt2?.() as GPT, MODELS.gpt2?.(device) as GPT];
    for (const model of [moved, there]) addLoRA(model, { rank: 2, seed: 1, quantize: 'nf4' });
    moved.to(device);
    t.is(moved.device, device);
    const ids = tensor(IDS.slice(0, 8), { shape: [2, 4], device });
    const [a, b] = [moved, there].map((model) => scope(() => noGrad(() => model.logits(ids).dataSync())) as Float32Array);
    t.deepEqual(a, b);
    for (const model of [moved, there]) model.dispose();
  });

for (const device of DEVICES.filter((d) => d !== 'cpu'))
  test(`on a card: the same forward and gradients as on matrices rounded to NF4${onDevice(device)}`, (t) => {
    const [kept, rounded] = [MODELS.gpt2?.(device) as GPT, roundToNF4(MODELS.gpt2?.(device) as GPT)];
    const gradients = [kept, rounded].map((model, i) => {
      addLoRA(model, { rank: 2, seed: 1, quantize: i === 0 ? 'nf4' : 'none' });
      const T = isSimulated(device) ? 4 : 12;
      const ids = tensor(IDS.slice(0, 2 * T), { shape: [2, T], device });
      scope(() => backward(model.loss(ids, ids)));
      return [...lorasOf(model)].map(({ lora }) => lora.b[0]?.grad?.dataSync());
    });
    t.deepEqual(gradients[0], gradients[1]);
    for (const model of [kept, rounded]) model.dispose();
  });
