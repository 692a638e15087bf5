// How fast a card should train GPT-2 124M: for heddle doctor, which must not need the native binary.
import { gptConfig } from '../models/config.ts';
import { flopsPerToken } from '../models/size.ts';
import type { CardPeak } from '../util/cards.ts';

const T = 1024;

/** What a good implementation reaches of the two peaks. */
export const [OF_TENSOR, OF_MEMORY] = [0.7, 0.8];

/** Bytes that kernels without products move for a token, in bf16: docs/performance.md's step of 524,288 tokens. */
const BYTES = 271e9 / 524_288;

/** Tokens a second of training GPT-2 124M in bf16: products at their share of the tensor peak, then all else at its share of memory's. */
export const expectedTokensPerSecond = ({ tensor, memory }: CardPeak): number =>
  1 / (flopsPerToken(gptConfig({}, 'gpt2'), T) / (OF_TENSOR * tensor) + BYTES / (OF_MEMORY * memory));
