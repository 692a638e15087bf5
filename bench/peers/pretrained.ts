// Folders of savePretrained and saveLoRA, read by PyTorch's transformers and PEFT: equal logits, with a change, without, and merged; and a
// change that PEFT made, read by loadLoRA. Needs Python with torch, transformers and peft:
//
//   PYTHON=python3 node --import=tsx bench/peers/pretrained.ts
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noGrad } from '../../lib/autograd/index.ts';
import { loadLoRA, saveLoRA } from '../../lib/checkpoint/lora.ts';
import { savePretrained } from '../../lib/checkpoint/pretrained.ts';
import { addLoRA, GPT, type GPTConfigInput, gptConfig, mergeLoRA } from '../../lib/models/index.ts';
import { add, copyInto } from '../../lib/ops/index.ts';
import { normal, tensor } from '../../lib/tensor/create.ts';
import { scope } from '../../lib/tensor/tensor.ts';

const modern: GPTConfigInput = {
  ...{ norm: 'rmsnorm', bias: false, activation: 'swiglu', positions: 'rotary', kvHeads: 2, ffnWidth: 96, tiedHead: false },
};
const MODELS: Readonly<Record<string, GPTConfigInput>> = {
  gpt2: {},
  'openai-gpt': { normPosition: 'post' },
  llama: modern,
  'llama, biases, tied': { ...modern, bias: true, tiedHead: true },
  'llama 3.1': { ...modern, ropeTheta: 500, ropeScaling: { factor: 8, context: 32, low: 1, high: 4 } },
  mistral: { ...modern, attention: [{ window: 8 }] },
  qwen2: { ...modern, bias: 'qkv' },
  qwen3: { ...modern, qkNorm: true, headSize: 16 },
};
const IDS = Array.from({ length: 24 }, (_, i) => (i * 29 + 7) % 67);

/** Adds small numbers to parameters: norms and biases away from 1 and 0, changes away from 0. */
const stir = (model: GPT, which: (name: string) => boolean): void => {
  let seed = 11;
  for (const [name, p] of model.namedParameters()) {
    const values = normal(p.shape, 0, 0.1, { seed: seed++ });
    if (which(name)) noGrad(() => scope(() => copyInto(p, add(p, values))));
  }
};

function build(input: GPTConfigInput): GPT {
  const size = { vocabSize: 67, contextLength: 48, layers: 2, heads: 4, width: 32, initStd: 0.2 };
  const model = new GPT(gptConfig({ ...size, ...input }), { seed: 5 });
  stir(model, (name) => !/(qkv|proj|up|gate|down|tokens)\.weight$/.test(name));
  return model;
}

const logits = (model: GPT): Float32Array =>
  scope(() => model.logits(tensor(Int32Array.from(IDS), { shape: [1, IDS.length] })).dataSync<'f32'>());

/** The largest difference, of the largest value. */
function apart(a: Float32Array, b: Float32Array): number {
  let [most, size] = [a.length === b.length ? 0 : Number.NaN, 0];
  for (const [i, x] of a.entries()) {
    most = Math.max(most, Math.abs(x - (b[i] as number)));
    size = Math.max(size, Math.abs(x));
  }
  return most / size;
}

const folder = mkdtempSync(join(tmpdir(), 'heddle-pretrained-'));
const cases: { name: string; model: string; ours: Record<string, Float32Array> }[] = [];
for (const [i, [name, input]] of Object.entries(MODELS).entries()) {
  using model = build(input);
  const at = join(folder, String(i));
  await savePretrained(model, join(at, 'model'), { endOfText: 1 });
  const ours: Record<string, Float32Array> = { plain: logits(model) };
  for (const dora of [false, true]) {
    using changed = build(input);
    const kind = dora ? 'dora' : 'lora';
    addLoRA(changed, { rank: 4, alpha: 8, seed: 3, dora });
    stir(changed, (p) => /lora/.test(p) && !/magnitude/.test(p));
    await saveLoRA(changed, join(at, kind));
    ours[kind] = logits(changed);
    if (apart(ours[kind], ours.plain as Float32Array) < 0.1) throw new Error(`${name}: the change changes nothing`);
    mergeLoRA(changed);
    ours[`${kind} merged`] = logits(changed);
  }
  cases.push({ name, model: at, ours });
}
writeFileSync(join(folder, 'ids.json'), JSON.stringify(IDS));
const script = new URL('./transformers_logits.py', import.meta.url).pathname;
const run = spawnSync(process.env.PYTHON ?? 'python3', [script, folder, String(cases.length)], { stdio: ['ignore', 'inherit', 'pipe'] });
if (run.status !== 0) {
  console.error(`${run.stderr}\nskipped: Python with torch, transformers and peft is needed (PYTHON names it)`);
  process.exit(1);
}
let failed = false;
for (const [i, { name, model: at, ours }] of cases.entries()) {
  const theirs = (what: string): Float32Array => {
    const bytes = readFileSync(join(at, `${what}.f32`));
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  };
  const errors = Object.entries(ours).map(([what, x]) => [what, apart(x, theirs(what))] as const);
  using model = build(Object.values(MODELS)[i] as GPTConfigInput);
  await loadLoRA(model, join(at, 'made'));
  errors.push(['made by PEFT', apart(logits(model), theirs('made'))]);
  mergeLoRA(model);
  errors.push(['made by PEFT, merged', apart(logits(model), theirs('made'))]);
  for (const [what, error] of errors) {
    const bad = !(error < 2e-5);
    failed ||= bad;
    console.log(`${name.padEnd(20)} ${what.padEnd(20)} logits ${error.toExponential(1)} apart${bad ? '  FAILED' : ''}`);
  }
}
rmSync(folder, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
