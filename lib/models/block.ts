import {
  type AttentionCache,
  type InitOptions,
  LayerNorm,
  Linear,
  Module,
  type NF4Matrix,
  Parameter,
  type Recompute,
  RMSNorm,
} from '../nn/index.ts';
import {
  type Activation,
  add,
  attention,
  concat,
  dropout,
  mlp,
  packedAttention,
  packedSwiglu,
  reshape,
  rope,
  slice,
} from '../ops/index.ts';
import type { RandomSource } from '../tensor/random.ts';
import { scope, type Tensor } from '../tensor/tensor.ts';
import { biasesOf, type GPTConfig } from './config.ts';

/** What a forward pass brings along besides the tokens. */
export interface ForwardOptions {
  /** Keys and values of earlier positions; ids are then the positions behind them. */
  cache?: AttentionCache | null;
  /** i32 (B, T): positions in place of the ones behind the cache. Where rows of a cache hold different numbers, `GPT` makes them. */
  positions?: Tensor | null;
  /** i32 (B, T): no attention across different ids. */
  documents?: Tensor | null;
  /** What backward computes again; default the model's own. */
  recompute?: Recompute;
  /** Draws dropout's masks; without it (or in eval mode) nothing is dropped. */
  random?: RandomSource | null;
}

export type Norm = LayerNorm | RMSNorm;

/** A block's matrix: learned, or frozen in NF4 (see `addLoRA`). */
export type BlockLinear = Linear<Parameter | NF4Matrix>;

export function makeNorm(c: GPTConfig, init: InitOptions): Norm {
  return c.norm === 'rmsnorm'
    ? new RMSNorm(c.width, { ...init, eps: c.normEps })
    : new LayerNorm(c.width, { ...init, eps: c.normEps, bias: c.normBias });
}

/** What goes into the residual stream: fused with the addition, unless dropout stands between them. */
function addTo(stream: Tensor, p: number, random: RandomSource | null, compute: (residual: Tensor | null) => Tensor): Tensor {
  if (p === 0 || !random) return compute(stream);
  return add(stream, dropout(compute(null), p, random));
}

/** The projection into the residual stream. */
function project(layer: BlockLinear, x: Tensor, stream: Tensor, p: number, random: RandomSource | null): Tensor {
  return addTo(stream, p, random, (residual) => layer.forward(x, { residual, random }));
}

/** Standard deviation of the projections into the residual stream: GPT-2 divides it by √(2L). */
function projectionStd(c: GPTConfig): number {
  return c.scaledInit ? c.initStd / Math.sqrt(2 * c.layers) : c.initStd;
}

/** Self-attention of a GPT: one packed projection to q, k, v; fused attention; a projection back. */
export class SelfAttention extends Module {
  /** Rows: q's heads, then k's, then v's. */
  readonly qkv: BlockLinear;
  readonly proj: BlockLinear;
  readonly qNorm: RMSNorm | null;
  readonly kNorm: RMSNorm | null;
  readonly #config: GPTConfig;
  readonly #layer: number;

  constructor(c: GPTConfig, layer: number, init: InitOptions) {
    super();
    const biases = biasesOf(c);
    this.qkv = new Linear(c.width, (c.heads + 2 * c.kvHeads) * c.headSize, { ...init, bias: biases.qkv, std: c.initStd });
    this.proj = new Linear(c.heads * c.headSize, c.width, { ...init, bias: biases.proj, std: projectionStd(c) });
    this.qNorm = c.qkNorm ? new RMSNorm(c.headSize, { ...init, eps: c.normEps }) : null;
    this.kNorm = c.qkNorm ? new RMSNorm(c.headSize, { ...init, eps: c.normEps }) : null;
    this.#config = c;
    this.#layer = layer;
  }

  /** x (B, T, C) normalised, stream (B, T, C) → stream + attention(x). */
  forward(x: Tensor, stream: Tensor, options: ForwardOptions): Tensor {
    const c = this.#config;
    const random = this.training ? (options.random ?? null) : null;
    const settings = {
      causal: c.causal,
      window: c.attention[this.#layer % c.attention.length]?.window ?? 0,
      documents: options.documents ?? null,
      dropout: random ? c.dropout.attention : 0,
      random,
    };
    const packed = this.qkv.forward(x, { random });
    const y = this.#plain(options) ? packedAttention(packed, c.heads, c.kvHeads, settings) : this.#separate(packed, options, settings);
    return project(this.proj, y, stream, c.dropout.residual, random);
  }

  /** q, k and v need no work of their own: attention reads them from the packed projection. */
  #plain(options: ForwardOptions): boolean {
    return !options.cache && !options.positions && !this.qNorm && this.#config.positions !== 'rotary';
  }

  #separate(packed: Tensor, { cache = null, positions = null }: ForwardOptions, settings: Parameters<typeof attention>[3]): Tensor {
    const c = this.#config;
    const [B, T] = packed.shape as [number, number];
    const heads = reshape(packed, B, T, c.heads + 2 * c.kvHeads, c.headSize);
    let q = slice(heads, 2, 0, c.heads);
    let k = slice(heads, 2, c.heads, c.heads + c.kvHeads);
    const v = slice(heads, 2, c.heads + c.kvHeads);
    if (this.qNorm && this.kNorm) {
      q = this.qNorm.forward(q);
      k = this.kNorm.forward(k);
    }
    if (c.positions === 'rotary') {
      const turn = {
        theta: c.ropeTheta,
        first: cache?.length ?? 0,
        positions,
        rotary: c.headSize * c.rotaryFraction,
        interleaved: c.ropeInterleaved,
        scaling: c.ropeScaling,
      };
      q = rope(q, turn);
      k = rope(k, turn);
    }
    const runs = cache ? cache.append(this.#layer, k, v) : [{ from: 0, to: B, k, v }];
    // Each run is computed as it would be alone, to the same bits.
    const parts = runs.map((run) =>
      attention(runs.length === 1 ? q : slice(q, 0, run.from, run.to), run.k, run.v, { ...settings, pages: run.pages ?? null }),
    );
    return reshape(parts.length === 1 ? (parts[0] as Tensor) : concat(parts, 0), B, T, c.heads * c.headSize);
  }
}

const KERNEL_ACTIVATIONS = {
  gelu_tanh: 'geluTanh',
  gelu_erf: 'geluErf',
  relu: 'relu',
  relu2: 'relu2',
  silu: 'silu',
} as const satisfies Record<Exclude<GPTConfig['activation'], 'swiglu'>, Activation>;

/** The feed-forward part: up to `ffnWidth`, activation, back down. */
export class FeedForward extends Module {
  /** With SwiGLU the gate's rows, then the value's. */
  readonly up: BlockLinear;
  readonly down: BlockLinear;
  readonly #config: GPTConfig;

  constructor(c: GPTConfig, init: InitOptions) {
    super();
    const bias = biasesOf(c).mlp;
    this.up = new Linear(c.width, c.activation === 'swiglu' ? 2 * c.ffnWidth : c.ffnWidth, { ...init, bias, std: c.initStd });
    this.down = new Linear(c.ffnWidth, c.width, { ...init, bias, std: projectionStd(c) });
    this.#config = c;
  }

  /** x (B, T, C) normalised, stream (B, T, C) → stream + f(x). */
  forward(x: Tensor, stream: Tensor, options: ForwardOptions): Tensor {
    const { up, down } = this;
    const { activation, dropout: p } = this.#config;
    const random = this.training ? (options.random ?? null) : null;
    if (activation === 'swiglu') return project(down, packedSwiglu(up.forward(x, { random })), stream, p.residual, random);
    const name = KERNEL_ACTIVATIONS[activation];
    const [wUp, wDown] = [up.weight, down.weight];
    if (up.lora || down.lora || !(wUp instanceof Parameter && wDown instanceof Parameter))
      return project(down, up.forward(x, { activation: name, random }), stream, p.residual, random);
    const biases = { upBias: up.bias?.compute ?? null, downBias: down.bias?.compute ?? null };
    const settings = { activation: name, ...biases, precision: this.layerPrecision, recompute: options.recompute === 'activation' };
    return addTo(stream, p.residual, random, (residual) => mlp(x, wUp.compute, wDown.compute, { ...settings, residual }));
  }
}

/** One layer: x + attention(norm(x)), then x + mlp(norm(x)); post-norm (GPT-1) normalises the sums instead. */
export class Block extends Module {
  readonly norm1: Norm;
  readonly attn: SelfAttention;
  readonly norm2: Norm;
  readonly mlp: FeedForward;
  readonly #post: boolean;

  constructor(c: GPTConfig, layer: number, init: InitOptions) {
    super();
    this.norm1 = makeNorm(c, init);
    this.attn = new SelfAttention(c, layer, init);
    this.norm2 = makeNorm(c, init);
    this.mlp = new FeedForward(c, init);
    this.#post = c.normPosition === 'post';
  }

  /** (B, T, C) → (B, T, C). What backward does not need is freed on the way out. */
  forward(x: Tensor, options: ForwardOptions = {}): Tensor {
    return scope(() => {
      if (this.#post) {
        const n = this.norm1.forward(this.attn.forward(x, x, options));
        return this.norm2.forward(this.mlp.forward(n, n, options));
      }
      const h = this.attn.forward(this.norm1.forward(x), x, options);
      return this.mlp.forward(this.norm2.forward(h), h, options);
    });
  }
}
