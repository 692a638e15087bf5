// Pretraining on text, then finetuning on prompts and completions: the loss counts the completions only.
import { CharTokenizer, data, GPT, generate, gptConfig, Trainer, trainConfig } from 'heddle';

// The task: the letter that follows in the alphabet. One pair in five is kept for evaluation.
const letters = [...'abcdefghijklmnopqrstuvwxyz'];
const pairs = letters.slice(0, -1).flatMap((letter, i) => {
  const completion = letters[i + 1] as string;
  return ['after', 'next to', 'what follows'].map((words) => ({ prompt: `${words} ${letter}: `, completion }));
});
const held = pairs.filter((_, i) => i % 5 === 0);
const examples = pairs.filter((_, i) => i % 5 !== 0);

// Text without questions and answers, in which the alphabet is to be found.
const text = `${letters.join(' ')} after next to what follows: `.repeat(40);
const tokenizer = CharTokenizer.train([text], { specialTokens: ['<|endoftext|>'] });
const [contextLength, batch] = [32, 8];
const model = new GPT(gptConfig({ vocabSize: tokenizer.vocabSize, contextLength, layers: 2, heads: 2, width: 64 }), { seed: 1 });

async function exactMatch(): Promise<string> {
  let right = 0;
  for (const { prompt, completion } of held) {
    const [answer] = await generate(model, tokenizer, prompt, { temperature: 0, maxTokens: 2 });
    if (answer?.text === completion) right++;
  }
  return `${right} of ${held.length} held-out answers are right`;
}

async function train(name: string, source: data.Loader | data.ExamplesLoader, steps: number): Promise<void> {
  const settings = trainConfig({ steps, batchSize: batch, learningRate: 3e-3, logEvery: steps }, contextLength);
  const trainer = new Trainer({ model, train: settings, data: source, documents: true });
  for await (const event of trainer) if (event.type === 'step') console.log(`${name}: loss ${event.loss.toFixed(3)}`);
  trainer.dispose(); // the optimizer's memory; the model stays
}

const tokens = new data.MemoryTokens({ tokens: tokenizer.encode(text), vocabSize: tokenizer.vocabSize });
await train('pretraining', new data.Loader(tokens, { batch, length: contextLength }), 60);
console.log(await exactMatch());
await train('finetuning', new data.ExamplesLoader(data.encodeExamples(examples, tokenizer), { batch, length: contextLength }), 150);
console.log(await exactMatch());
