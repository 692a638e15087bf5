// A GPT with a linear head in the place of its vocabulary, as GPT-1 was finetuned (Radford et al., "Improving Language Understanding by
// Generative Pre-Training", 2018): it reads the hidden state of a text's last token.
import { type Compute, type Frozen, type InitOptions, Linear, Module, type Parameter, seedsFrom } from '../nn/index.ts';
import { dropout, embedding, reshape } from '../ops/index.ts';
import type { Device } from '../tensor/device.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import type { ForwardOptions } from './block.ts';
import type { GPT } from './gpt.ts';

export interface HeadOptions {
  /** Of the head's weights, drawn from N(0, 0.02²) as GPT-1's. Default: the sequence that `manualSeed` starts. */
  seed?: number;
  /** Share of the hidden state that is dropped before the head while training. Default 0.1, GPT-1's. */
  dropout?: number;
}

/** What makes a head again, but for its weights. */
export type HeadConfig =
  | { readonly kind: 'classification'; readonly labels: readonly string[]; readonly dropout: number }
  | { readonly kind: 'choice'; readonly dropout: number };

/** Seeds of a head begin here: neither with those of the model nor with those of its changes. */
const FIRST_SEED = 0xc000;

/** What both heads share. The parameters are the GPT's, under its names, and `score.weight`. */
export abstract class ScoredGPT extends Module {
  readonly gpt: GPT;
  /** (outputs, C). */
  readonly score: Linear;
  readonly dropout: number;
  abstract readonly head: HeadConfig;

  /** Takes the model over: it is disposed of with the head. */
  constructor(gpt: GPT, outputs: number, { seed, dropout: p = 0.1 }: HeadOptions = {}) {
    super();
    if (!(p >= 0 && p < 1)) throw new ArgumentError(`head: dropout must be at least 0 and below 1, got ${p}`);
    const init: InitOptions = { seeds: seedsFrom(seed, FIRST_SEED), device: gpt.device };
    this.gpt = gpt;
    this.score = new Linear(gpt.config.width, outputs, { ...init, bias: false, std: 0.02, layer: false }).computeIn(gpt.compute);
    this.dropout = p;
  }

  get device(): Device {
    return this.gpt.device;
  }

  /** Hidden states (B, T, C) → scores (N, outputs) of those at `ends` i32 (N), places among all B · T. */
  scores(hidden: Tensor, ends: Tensor, options: ForwardOptions = {}): Tensor {
    const [B, T, C] = hidden.shape as [number, number, number];
    return scope(() => {
      const last = embedding(reshape(hidden, B * T, C), ends);
      const random = this.training ? options.random : null;
      return this.score.forward(random ? dropout(last, this.dropout, random) : last);
    });
  }

  override namedTensors(): Map<string, Parameter | Frozen> {
    return new Map([...this.gpt.namedTensors(), ['score.weight', this.score.weight]]);
  }

  override computeIn(compute: Compute): this {
    this.gpt.computeIn(compute);
    return super.computeIn(compute);
  }

  override to(device: Device): this {
    this.gpt.to(device);
    return super.to(device);
  }

  override dispose(): void {
    this.gpt.dispose();
    this.score.dispose();
  }
}

/** Classes of texts: scores (N, classes) are logits. */
export class GPTForSequenceClassification extends ScoredGPT {
  readonly labels: readonly string[];

  constructor(gpt: GPT, labels: readonly string[], options: HeadOptions = {}) {
    if (labels.length < 2 || new Set(labels).size !== labels.length)
      throw new ArgumentError(`GPTForSequenceClassification: labels must be at least two different ones, got ${JSON.stringify(labels)}`);
    super(gpt, labels.length, options);
    this.labels = labels;
  }

  get head(): HeadConfig {
    return { kind: 'classification', labels: this.labels, dropout: this.dropout };
  }
}

/** One score for each answer to a prompt; softmax over the answers of a prompt makes probabilities of them. */
export class GPTForMultipleChoice extends ScoredGPT {
  constructor(gpt: GPT, options: HeadOptions = {}) {
    super(gpt, 1, options);
  }

  get head(): HeadConfig {
    return { kind: 'choice', dropout: this.dropout };
  }
}

/** The head that a configuration tells of. */
export function makeHead(gpt: GPT, head: HeadConfig, seed?: number): ScoredGPT {
  const options = { dropout: head.dropout, ...(seed !== undefined && { seed }) };
  return head.kind === 'choice' ? new GPTForMultipleChoice(gpt, options) : new GPTForSequenceClassification(gpt, head.labels, options);
}

/** Numbers that a head consists of. */
export function countHead(width: number, head: HeadConfig): number {
  return width * (head.kind === 'choice' ? 1 : head.labels.length);
}
