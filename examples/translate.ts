// The encoder-decoder Transformer of "Attention Is All You Need" learns to translate into a small language that puts the adjective behind its
// noun and the verb at the end; what it is asked in the end it has not seen.
import { AdamW, data, metrics, RandomSource, schedule, scope, Transformer, tensor, transformerConfig } from 'heddle';

const { train, heldOut } = data.translations(1); // made by a seed: { prompt: 'The white whale sees the old ship.\n', completion: ... }

// Words are tokens here; 0 is padding.
const [begin, end] = [1, 2];
const words: string[] = ['', '', ''];
const encode = (text: string): number[] =>
  (text.match(/\p{L}+/gu) ?? []).map((word) => (words.includes(word) ? words.indexOf(word) : words.push(word) - 1));
const decode = (ids: readonly number[]): string => ids.map((id) => words[id]).join(' ');
const pairs = [...train, ...heldOut].map(({ prompt, completion }) => ({ source: encode(prompt), target: encode(completion) }));
const [seen, unseen] = [pairs.slice(0, train.length), pairs.slice(train.length)];

const size = { encoderLayers: 1, decoderLayers: 1, heads: 4, width: 64, ffnWidth: 128 };
const model = new Transformer(transformerConfig({ vocabSize: words.length, contextLength: 16, ...size }), { seed: 1 });
const optimizer = new AdamW(model, { weightDecay: 0.01 });
const steps = 220;
const learningRate = schedule({ kind: 'linear', learningRate: 4e-3, minLearningRate: 0, warmup: 20, steps, decaySteps: steps });
const random = new RandomSource(1); // for dropout

for (let step = 0; step < steps; step++) {
  const rows = Array.from({ length: 32 }, (_, i) => seen[(step * 32 + i) % seen.length] as (typeof seen)[number]);
  const b = data.pairBatch(rows, { begin, end });
  random.begin(step);
  const loss = scope(() => {
    const put = (ids: Int32Array, length: number) => tensor(ids, { shape: [b.rows, length] });
    const [source, padding] = [put(b.source, b.sourceLength), put(b.padding, b.sourceLength)];
    const [inputs, targets] = [put(b.inputs, b.targetLength), put(b.targets, b.targetLength)];
    const loss = model.loss(source, inputs, targets, { padding, random, labelSmoothing: 0.1 });
    loss.backward();
    optimizer.clipGradNorm(1);
    optimizer.step(learningRate(step));
    optimizer.zeroGrad();
    return loss;
  });
  const value = await loss.item();
  loss.dispose();
  if (step % 40 === 0) console.log(`step ${step}: loss ${value.toFixed(3)}`);
}

const said = await model.greedy(
  unseen.map(({ source }) => source),
  { begin, end, maxTokens: 8 },
);
const [texts, references] = [said.map(decode), unseen.map(({ target }) => decode(target))];
const right = texts.filter((text, i) => text === references[i]).length;
console.log(`${heldOut[0]?.prompt.trim()} -> ${texts[0]}`);
console.log(`${right} of ${unseen.length} sentences that it has not seen, BLEU ${metrics.bleu(texts, references).score.toFixed(1)}`);
