// Ways to let a model write: npx tsx generate.ts [RUN, CHECKPOINT OR HUGGING FACE FOLDER]
import { CharTokenizer, data, GPT, generate, gptConfig, openModel, streamText, type Tokenizer, Trainer, trainConfig } from 'heddle';

/** A model that has learned a rhyme by heart, for when no folder is named. */
async function rhyme(): Promise<{ model: GPT; tokenizer: Tokenizer }> {
  const text = 'Row, row, row your boat, gently down the stream.\nMerrily, merrily, merrily, merrily, life is but a dream.\n';
  const tokenizer = CharTokenizer.train([text]);
  const tokens = new data.MemoryTokens({ tokens: tokenizer.encode(text.repeat(10)), vocabSize: tokenizer.vocabSize });
  const model = new GPT(gptConfig({ vocabSize: tokenizer.vocabSize, contextLength: 64, layers: 2, heads: 2, width: 64 }), { seed: 1 });
  const train = trainConfig({ steps: 150, batchSize: 4, learningRate: 5e-3 }, 64);
  const trainer = new Trainer({ model, train, data: new data.Loader(tokens, { batch: 4, length: 64 }) });
  await trainer.run();
  trainer.dispose();
  return { model, tokenizer };
}

const folder = process.argv[2];
const { model, tokenizer } = folder === undefined ? await rhyme() : await openModel(folder);
if (!tokenizer) throw new Error(`${folder} holds no tokenizer`);
const prompt = 'Row, row, ';

// Piece by piece, as the model writes; a piece never ends within a character.
process.stdout.write(prompt);
for await (const piece of streamText(model, tokenizer, prompt, { temperature: 0, maxTokens: 60, stop: '\n' })) process.stdout.write(piece);
process.stdout.write('\n');

// Several continuations at once, as one batch. A seed gives the same texts again, each as if it had been alone.
const samples = await generate(model, tokenizer, prompt, { samples: 3, maxTokens: 30, temperature: 1.2, topP: 0.95, seed: 7 });
for (const { text, finishReason } of samples) console.log(JSON.stringify(text), finishReason);
