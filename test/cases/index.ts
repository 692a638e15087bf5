// A case for every native op: an op without one does not compile. A backward op is covered by the gradients of its forward.
import type { Ops } from '../../lib/native/ops.ts';
import { attention, writePages } from './attention.ts';
import type { Case } from './case.ts';
import { binary, binaryInto, dropout, swiglu, unary, where } from './elementwise.ts';
import { embedding } from './embedding.ts';
import { fp8, fp8Linear } from './fp8.ts';
import { crossEntropy } from './loss.ts';
import { linear, matmul, matmulInto, mlp } from './matmul.ts';
import { cast, concat, copyInto, fill, gather, random, toDevice } from './movement.ts';
import { nf4 } from './nf4.ts';
import { norm } from './norm.ts';
import { gradNorm, muon, optimizerStep } from './optim.ts';
import { reduce, softmax, sumInto } from './reduce.ts';
import { rope } from './rope.ts';
import { alias, expand, permute, reshape, slice } from './views.ts';

export type OpName = keyof Ops;

export const CASES: Readonly<Record<OpName, Case>> = {
  ...{ empty: fill, emptyOnHost: fill, fill, random, cast, copyInto, toDevice, concat, gather, gatherBackward: gather },
  ...{ alias, reshape, permute, slice, expand },
  ...{ unary, unaryBackward: unary, binary, binaryInto, where, swiglu, swigluBackward: swiglu, dropout, dropoutBackward: dropout },
  ...{ reduce, sumInto, softmax, softmaxBackward: softmax },
  ...{ matmul, matmulInto, linear, linearBackward: linear, matmulDerivative: mlp },
  ...{ fp8Quantize: fp8, fp8Dequantize: fp8, fp8Linear },
  ...{ nf4Quantize: nf4, nf4Dequantize: nf4 },
  ...{ embedding, embeddingBackward: embedding, rope, ropeBackward: rope, norm, normBackward: norm },
  ...{ attention, attentionBackward: attention, splitHeads: attention, writePages, crossEntropy },
  ...{ stepBegin: gradNorm, gradNorm, optimizerStep, muonMomentum: muon, muonApply: muon },
};

/** Each case once, under the first op that has it. */
export const DISTINCT: readonly (readonly [OpName, Case])[] = [
  ...new Map(
    Object.entries(CASES)
      .reverse()
      .map(([op, c]) => [c, op as OpName] as const),
  ),
].map(([c, op]) => [op, c] as const);
