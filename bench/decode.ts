// Times decoding, batch 1, greedy, with the cache of keys and values: every token reads every weight once, so the machine's bandwidth of
// reading is the limit. Whole tokens count, sampling and all; the bandwidth is measured between them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { saveGGUF } from '../lib/checkpoint/gguf.ts';
import { generate } from '../lib/generate/index.ts';
import { GPT, type PresetName } from '../lib/models/index.ts';
import { native } from '../lib/native/addon.ts';
import { setThreads } from '../lib/tensor/index.ts';
import { BPETokenizer } from '../lib/tokenizer/index.ts';
import { median } from './machine.ts';
import { bandwidth } from './peak.ts';
import { openLlama, PLAIN_CACHE } from './peers/llama.ts';

export interface DecodeBenchOptions {
  threads: number;
  rounds: number;
  /** Default gpt2, 124 M parameters. */
  preset?: PresetName;
  /** Tokens of a round. Default 32. */
  tokens?: number;
  /** Tokens of the prompt, which are read before the clock starts. Default 16. */
  prompt?: number;
  /** Beside llama.cpp, where it is installed and has such a model. Default true. */
  peer?: boolean;
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
  /** llama.cpp's tokens per second with the same weights in f32, where node-llama-cpp is installed; heddle's speed beside it. */
  peer?: { tokensPerSecond: number; ratio: number };
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

interface Peer {
  /** Milliseconds of so many tokens behind the first. */
  time(tokens: number): Promise<number>;
  end(): Promise<void>;
}

/** llama.cpp on the model's weights in f32; undefined where it is not installed. */
async function openPeer(model: GPT, prompt: readonly number[], tokens: number, threads: number): Promise<Peer | undefined> {
  const llama = await openLlama(threads);
  if (!llama) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'heddle-decode-'));
  const file = join(folder, 'model.gguf');
  // It wants a vocabulary; these are tokens that no text is made of.
  await saveGGUF(model, file, { type: 'f32', tokenizer: BPETokenizer.train(['the whale '], { vocabSize: 258 }) });
  const theirs = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
  const contextSize = prompt.length + tokens + 8;
  const sequence = (await theirs.createContext({ contextSize, threads, batchSize: contextSize, ...PLAIN_CACHE })).getSequence();
  return {
    async time(count) {
      await sequence.clearHistory();
      let [start, at] = [0, 0];
      for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        if (at === 0) start = performance.now();
        if (at++ === count) break;
      }
      return performance.now() - start;
    },
    async end() {
      await theirs.dispose();
      rmSync(folder, { recursive: true });
    },
  };
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
  const peer = (o.peer ?? true) ? await openPeer(model, prompt, tokens, o.threads) : undefined;
  await peer?.time(tokens);
  const peerSeconds: number[] = [];
  for (let round = 0; round < o.rounds; round++) {
    const before = probe();
    const { ms, kernels } = await time(model, prompt, tokens);
    const limit = (before + probe()) / 2;
    seconds.push(ms / 1e3 / tokens);
    shares.push((bytes * tokens) / ms / 1e6 / limit);
    kernelShares.push((bytes * tokens) / kernels / 1e6 / limit);
    if (peer) peerSeconds.push((await peer.time(tokens)) / 1e3 / tokens);
  }
  await peer?.end();
  model.dispose();
  const second = median(seconds);
  return {
    ...{ preset, bytes, tokensPerSecond: 1 / second, gbPerSecond: bytes / second / 1e9 },
    ...{ share: median(shares), kernelShare: median(kernelShares) },
    ...(peer && {
      peer: {
        tokensPerSecond: 1 / median(peerSeconds),
        ratio: median(peerSeconds.map((theirs, round) => theirs / (seconds[round] as number))),
      },
    }),
  };
}
