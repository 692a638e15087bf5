// Trains a small GPT on a text and lets it write: npx tsx quick.ts FILE
import { readFileSync } from 'node:fs';
import { BPETokenizer, data, GPT, generate, gptConfig, Trainer, trainConfig } from 'heddle';

const text = readFileSync(process.argv[2] ?? 'README.md', 'utf8');
const tokenizer = BPETokenizer.train([text], { vocabSize: 512 });
const tokens = new data.MemoryTokens({ tokens: tokenizer.encode(text), vocabSize: tokenizer.vocabSize });

const [contextLength, batch] = [64, 8];
const model = new GPT(gptConfig({ vocabSize: tokenizer.vocabSize, contextLength, layers: 2, heads: 2, width: 64 }), { seed: 1 });
const train = trainConfig({ steps: 100, batchSize: batch, learningRate: 3e-3, logEvery: 20 }, contextLength);
const trainer = new Trainer({ model, train, data: new data.Loader(tokens, { batch, length: contextLength, seed: 1 }) });

for await (const event of trainer) {
  if (event.type === 'step') console.log(`step ${event.step}: loss ${event.loss.toFixed(3)}`);
}
const [sample] = await generate(model, tokenizer, 'The ', { maxTokens: 40, temperature: 0.8, topK: 20, seed: 1 });
console.log(`The ${sample?.text}`);
