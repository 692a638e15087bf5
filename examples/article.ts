// The article's program: a published GPT-2, a Chinese text, compile and fit. Give it the id of a model of the hub or a folder:
//   npx tsx article.ts openai-community/gpt2
import { GPT, Tokenizer } from 'heddle';

const name = process.argv[2] ?? 'openai-community/gpt2';
const tokenizer = await Tokenizer.fromPretrained(name);
const model = await GPT.fromPretrained(name);

const text = '人工智能科学家';
const inputIds = tokenizer.encode(text);
console.log(`${text}: ${[...text].length} characters are ${inputIds.length} tokens`);

model.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
const before = await model.evaluate(inputIds);
await model.fit(inputIds, { epochs: 1 });
const after = await model.evaluate(inputIds);
console.log(`loss: ${before.loss.toFixed(3)} before, loss: ${after.loss.toFixed(3)} after one epoch`);
