// Compiled, not run, against the installed package's types: what a TypeScript user sees.
import { AdamW, GPT, gptConfig, type Tensor, Tokenizer, tensor } from 'heddle';

const model: GPT = new GPT(gptConfig({ vocabSize: 64, contextLength: 16, layers: 2, heads: 2, width: 32 }), { seed: 1 });
const x: Tensor = tensor([1, 2, 3, 4], { shape: [2, 2] });
const y: Tensor = x.matmul(x).add(1).gelu(); // the methods that ops add to Tensor
const steps: number = new AdamW(model, { lr: 1e-3 }).step.length;
const load = async (): Promise<[Tokenizer, GPT]> => {
  const tokenizer = await Tokenizer.fromPretrained('openai-community/gpt2');
  return [tokenizer, await GPT.fromPretrained('openai-community/gpt2', { revision: 'main', compute: 'bf16' })];
};
// @ts-expect-error: a string is no learning rate. If types were lost on the way, this would compile.
new AdamW(model, { lr: 'high' });

export { load, model, steps, y };
