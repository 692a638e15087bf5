// Times decoding, batch 1, greedy, with the cache of keys and values: every token reads every weight once, so the machine's bandwidth of
// reading is the limit. Whole tokens count, sampling and all; the bandwidth is measured between them.
import { generate } from '../lib/generate/index.ts';
import { GPT, type PresetName } from '../lib/models/index.ts';
import { native } from '../lib/native/addon.ts';
import { setThreads } from '../lib/tensor/index.ts';
import { median } from './machine.ts';
import { bandwidth } from './peak.ts';

export interface DecodeBenchOptions {
  threads: number;
  rounds: number;
  /** Default gpt2, 124 M parameters. */
  preset?: PresetName;
  /** Tokens of a round. Default 32. */
  tokens?: number;
  /** Tokens of the prompt, which are read before the clock starts. Default 16. */
  prompt?: number;
}

export interface DecodeRow {
  preset: string;
  /** Read for a token: each weight matrix, the head's too where it is the embedding's, and of the embedding a row. */
  bytes: number;
  /** Medians over rounds. */
  tokensPerSecond: number;
  gbPerSecond: number;
  /** Of the bandwidth of reading the same weights, measured right before and after each round. */
  share: number;
  /** The same from the time that kernels take alone. */
  kernelShare: number;
}

/** Milliseconds and milliseconds in kernels of `tokens` more tokens: a long text less a short one, so that the prompt does not count. */
async function time(model: GPT, prompt: number[], tokens: number): Promise<{ ms: number; kernels: number }> {
  const run = async (maxTokens: number) => {
    native.timeOps('cpu');
    const start = performance.now();
    await generate(model, null, prompt, { maxTokens, temperature: 0, endOfText: null });
    const ms = performance.now() - start;
    return { ms, kernels: native.takeOpTimes('cpu').reduce((sum, op) => sum + op.ms, 0) };
  };
  const [short, long] = [await run(1), await run(1 + tokens)];
  return { ms: long.ms - short.ms, kernels: long.kernels - short.kernels };
}

export async function benchDecode(o: DecodeBenchOptions): Promise<DecodeRow> {
  const { preset = 'gpt2', tokens = 32 } = o;
  setThreads(o.threads);
  const model = GPT.fromPreset(preset, {}, { seed: 1 });
  const tables = [model.positions, model.head ? model.tokens.weight : null]; // a row each; a tied embedding is read as the head
  const weights = [...model.parameters()].filter((p) => !tables.includes(p));
  const bytes = 4 * weights.reduce((sum, p) => sum + p.size, 0);
  const prompt = Array.from({ length: o.prompt ?? 16 }, (_, i) => (i * 7919) % model.config.vocabSize);
  const probe = (): number => bandwidth(weights.map((p) => [p, null]));
  for (let i = 0; i < 2; i++) await time(model, prompt, tokens); // V8 compiles what runs often
  const seconds: number[] = [];
  const shares: number[] = [];
  const kernelShares: number[] = [];
  for (let round = 0; round < o.rounds; round++) {
    const before = probe();
    const { ms, kernels } = await time(model, prompt, tokens);
    const limit = (before + probe()) / 2;
    seconds.push(ms / 1e3 / tokens);
    shares.push((bytes * tokens) / ms / 1e6 / limit);
    kernelShares.push((bytes * tokens) / kernels / 1e6 / limit);
  }
  model.dispose();
  const second = median(seconds);
  return {
    ...{ preset, bytes, tokensPerSecond: 1 / second, gbPerSecond: bytes / second / 1e9 },
    ...{ share: median(shares), kernelShare: median(kernelShares) },
  };
}
