import { type GPTConfig, gptConfig } from '../lib/models/index.ts';

/** A training job that heddle and its peers run alike: a plain GPT (pre-LN, learned positions, tied head), AdamW, f32. */
export interface TrainJob {
  model: GPTConfig;
  /** B. */
  batch: number;
  /** T. */
  length: number;
  /** Steps of one turn, so that a turn takes about half a second. */
  steps: number;
}

const plain = { positions: 'learned', tiedHead: true, dropout: 0 } as const;

/** The same names and sizes stand in bench/peers/torch_train.py. */
export const TRAIN_JOBS: Record<string, TrainJob> = {
  // nanoGPT's shakespeare-char on a CPU
  cpu: {
    model: gptConfig({ ...plain, layers: 4, heads: 4, width: 128, contextLength: 64, vocabSize: 65, bias: false, activation: 'gelu_erf' }),
    ...{ batch: 12, length: 64, steps: 30 },
  },
  // nanoGPT's shakespeare-char on a GPU
  char: {
    model: gptConfig({ ...plain, layers: 6, heads: 6, width: 384, contextLength: 256, vocabSize: 65, bias: false, activation: 'gelu_erf' }),
    ...{ batch: 16, length: 256, steps: 1 },
  },
  // GPT-2 124M
  gpt2: { model: gptConfig({ ...plain, contextLength: 256 }, 'gpt2'), batch: 4, length: 256, steps: 1 },
};
