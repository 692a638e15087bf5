import type { GPTConfigInput } from './config.ts';

// GPT-2 pads its vocabulary in storage only: 50,257 tokens, 50,304 rows. Dropout is a choice of the run, not of the
// architecture: 0.1 stands here only where the published recipe trained with it (GPT-1 and GPT-2).
const gpt2 = (layers: number, width: number, heads: number): GPTConfigInput => ({
  vocabSize: 50257,
  paddedVocab: 128,
  contextLength: 1024,
  layers,
  heads,
  width,
  headSize: width / heads,
  dropout: 0.1,
});

// Dense and locally banded layers alternate. The paper does not name the width of the band; 256 is ours.
// Its 13B has width 5140, which its head size does not divide: 5120, as everyone else does.
const gpt3 = (layers: number, width: number, heads: number): GPTConfigInput => ({
  vocabSize: 50257,
  paddedVocab: 128,
  contextLength: 2048,
  layers,
  heads,
  width,
  headSize: width / heads,
  attention: [{}, { window: 256 }],
});

// What Llama, Mistral and Qwen have in common.
const llamaStyle: GPTConfigInput = {
  norm: 'rmsnorm',
  normEps: 1e-6,
  bias: false,
  activation: 'swiglu',
  positions: 'rotary',
  ropeTheta: 1e6,
  qkNorm: true,
  tiedHead: true,
  scaledInit: false,
};

// nanoGPT: no biases anywhere and the exact GELU.
const nano: GPTConfigInput = { bias: false, activation: 'gelu_erf' };

/** Named architectures. `vocabSize` is the published one; a run replaces it by that of its tokenizer. */
export const presets = {
  gpt1: {
    vocabSize: 40478,
    contextLength: 512,
    layers: 12,
    heads: 12,
    width: 768,
    headSize: 64,
    normPosition: 'post',
    finalNorm: false,
    scaledInit: false,
    dropout: 0.1,
  },
  gpt2: gpt2(12, 768, 12),
  'gpt2-medium': gpt2(24, 1024, 16),
  'gpt2-large': gpt2(36, 1280, 20),
  'gpt2-xl': gpt2(48, 1600, 25),
  'gpt3-125m': gpt3(12, 768, 12),
  'gpt3-350m': gpt3(24, 1024, 16),
  'gpt3-760m': gpt3(24, 1536, 16),
  'gpt3-1.3b': gpt3(24, 2048, 16),
  'gpt3-2.7b': gpt3(32, 2560, 32),
  'gpt3-6.7b': gpt3(32, 4096, 32),
  'gpt3-13b': gpt3(40, 5120, 40),
  'gpt3-175b': gpt3(96, 12288, 96),
  // GPT-2's size with today's parts.
  modern: {
    ...llamaStyle,
    vocabSize: 50257,
    paddedVocab: 128,
    contextLength: 1024,
    layers: 12,
    heads: 12,
    kvHeads: 4,
    width: 768,
    headSize: 64,
    ffnWidth: 2048,
  },
  // Qwen3-0.6B, 596,049,920 parameters.
  'qwen3-0.6b': {
    ...llamaStyle,
    vocabSize: 151936,
    contextLength: 32768,
    layers: 28,
    heads: 16,
    kvHeads: 8,
    width: 1024,
    headSize: 128,
    ffnWidth: 3072,
  },
  // nanoGPT's character-level runs; 65 characters are those of Tiny Shakespeare.
  'char-cpu': { ...nano, vocabSize: 65, contextLength: 64, layers: 4, heads: 4, width: 128, headSize: 32 },
  'char-gpu': { ...nano, vocabSize: 65, contextLength: 256, layers: 6, heads: 6, width: 384, headSize: 64, dropout: 0.2 },
  // 2.0 million parameters: trains in minutes on two cores.
  quickstart: { ...nano, vocabSize: 1024, contextLength: 128, layers: 4, heads: 5, width: 160, headSize: 32 },
} as const satisfies Record<string, GPTConfigInput>;

export type PresetName = keyof typeof presets;

export const presetNames = Object.keys(presets) as readonly PresetName[];
