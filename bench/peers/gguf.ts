// GGUF files of random small models, answered by llama.cpp: equal greedy tokens in f32, and in every type the perplexity of one text
// beside our own with the same weights decoded. Needs node-llama-cpp, which is no dependency:
//
//   npm install --prefix bench/peers --no-save node-llama-cpp
//   node --import=tsx bench/peers/gguf.ts
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noGrad } from '../../lib/autograd/index.ts';
import { saveGGUF } from '../../lib/checkpoint/gguf.ts';
import { decodeElements, encodeElements, GGUF_TYPES, type GGUFType } from '../../lib/checkpoint/gguf-types.ts';
import { generateRows } from '../../lib/generate/index.ts';
import { GPT, type GPTConfigInput, gptConfig } from '../../lib/models/index.ts';
import { add, copyInto } from '../../lib/ops/index.ts';
import { normal, tensor } from '../../lib/tensor/create.ts';
import { scope } from '../../lib/tensor/tensor.ts';
import { BPETokenizer } from '../../lib/tokenizer/index.ts';
import { type Llama, openLlama, PLAIN_CACHE, type Sequence } from './llama.ts';

const modern: GPTConfigInput = {
  ...{ norm: 'rmsnorm', bias: false, activation: 'swiglu', positions: 'rotary', kvHeads: 2, ffnWidth: 384, tiedHead: false },
};
const MODELS: Readonly<Record<string, GPTConfigInput>> = {
  gpt2: {},
  llama: modern,
  'llama, biases, tied': { ...modern, bias: true, tiedHead: true },
  'llama 3.1': { ...modern, ropeTheta: 500, ropeScaling: { factor: 8, context: 32, low: 1, high: 4 } },
  qwen2: { ...modern, bias: 'qkv' },
  qwen3: { ...modern, qkNorm: true, headSize: 64 },
};
const PROMPT = [5, 17, 260, 33, 120, 9, 88, 261];
const tokenizer = BPETokenizer.train(['the whale the sea the ship '.repeat(3)], { vocabSize: 264 });

/** Norms and biases away from 1 and 0, so that one in the place of another shows. */
function build(input: GPTConfigInput): GPT {
  const model = new GPT(gptConfig({ vocabSize: 264, contextLength: 256, layers: 2, heads: 4, width: 128, initStd: 0.1, ...input }), {
    seed: 5,
  });
  for (const [i, p] of model.parameters().entries())
    if (p.rank === 1) noGrad(() => scope(() => copyInto(p, add(p, normal(p.shape, 0, 0.1, { seed: i })))));
  return model;
}

/** The model with its matrices as a file of this type holds them. */
function decoded(input: GPTConfigInput, type: GGUFType): GPT {
  const model = build(input);
  for (const [name, p] of model.namedParameters()) {
    if (p.rank !== 2 || name === 'positions') continue;
    const values = decodeElements(type, encodeElements(type, p.dataSync<'f32'>()));
    noGrad(() => scope(() => copyInto(p, tensor(values, { shape: p.shape }))));
  }
  return model;
}

function perplexity(model: GPT, ids: readonly number[]): number {
  const row = (part: readonly number[]) => tensor(Int32Array.from(part), { shape: [1, part.length] });
  return noGrad(() => scope(() => Math.exp(model.loss(row(ids.slice(0, -1)), row(ids.slice(1))).itemSync())));
}

/** Steps until the first token that llama.cpp chooses otherwise. */
async function greedySteps(sequence: Sequence, tokens: readonly number[]): Promise<number> {
  let at = 0;
  for await (const token of sequence.evaluate(PROMPT, { temperature: 0, yieldEogToken: true })) {
    if (token !== tokens[at]) return at;
    if (++at === tokens.length) break;
  }
  return at;
}

const llama = await openLlama();
const folder = mkdtempSync(join(tmpdir(), 'heddle-gguf-'));
let failed = false;
for (const [name, input] of llama ? Object.entries(MODELS) : []) {
  using model = build(input);
  const [greedy] = await generateRows(model, [PROMPT], { temperature: 0, maxTokens: 64 });
  const [text] = await generateRows(model, [[5]], { temperature: 1, maxTokens: 250, seed: 3 });
  const ids = [5, ...(text?.tokens ?? [])];
  for (const type of GGUF_TYPES) {
    const file = join(folder, 'model.gguf');
    await saveGGUF(model, file, { type, tokenizer });
    const theirs = await (llama as Llama).loadModel({ modelPath: file, gpuLayers: 0 });
    const sequence = async (): Promise<Sequence> => {
      return (await theirs.createContext({ contextSize: 256, threads: 1, batchSize: 256, ...PLAIN_CACHE })).getSequence();
    };
    const answers = await (await sequence()).controlledEvaluate(
      ids.slice(0, -1).map((id) => [id, { generateNext: { probabilities: true } }]),
    );
    const logs = answers.map((answer, i) => Math.log(answer?.next?.probabilities?.get(ids[i + 1] as number) ?? 0));
    const found = Math.exp(-logs.reduce((a, b) => a + b, 0) / logs.length);
    using own = decoded(input, type);
    const ratio = found / perplexity(own, ids) - 1;
    const steps = type === 'f32' ? await greedySteps(await sequence(), greedy?.tokens ?? []) : undefined;
    const bad = !(Math.abs(ratio) < 0.005) || (steps !== undefined && steps < 64);
    failed ||= bad;
    console.log(
      `${name.padEnd(20)} ${type.padEnd(5)} perplexity ${found.toFixed(4)}, beside ours ${(100 * ratio).toFixed(3)} %${steps === undefined ? '' : `, ${steps} of 64 greedy tokens equal`}${bad ? '  FAILED' : ''}`,
    );
    await theirs.dispose();
  }
}
rmSync(folder, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
