// The encoder-decoder Transformer of Vaswani et al., "Attention Is All You Need", 2017: an encoder reads the source, a decoder writes the target and
// looks at all of what the encoder made of the source. One table of tokens serves source, target and output.
import { noGrad } from '../autograd/index.ts';
import { Embedding, type InitOptions, LayerNorm, Linear, Module, seedsFrom } from '../nn/index.ts';
import { add, attention, dropout, type LinearCrossEntropyOptions, linear, linearCrossEntropy, mul, reshape, slice } from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import type { RandomSource } from '../tensor/random.ts';
import { shapeText } from '../tensor/shape.ts';
import { allOrNone, scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import { sinusoidalPositions } from './gpt.ts';

export interface TransformerConfig {
  readonly vocabSize: number;
  /** Most tokens of a source, and of a target. Default 512. */
  readonly contextLength: number;
  /** Default 6. */
  readonly encoderLayers: number;
  /** Default 6. */
  readonly decoderLayers: number;
  /** Default 8. */
  readonly heads: number;
  /** C; a multiple of the heads. Default 512. */
  readonly width: number;
  /** Default 4 C. */
  readonly ffnWidth: number;
  /** Where the norms stand: behind each sum as in the paper (`post`, the default), or before each part (`pre`), which trains without a warm-up. */
  readonly normPosition: 'post' | 'pre';
  /** Of each part's output, and of embeddings with their positions. Default 0.1. */
  readonly dropout: number;
}

/** Fills in the paper's base model. @throws ArgumentError for what does not go together */
export function transformerConfig(input: Partial<TransformerConfig> & Pick<TransformerConfig, 'vocabSize'>): TransformerConfig {
  const width = input.width ?? 512;
  const base = { contextLength: 512, encoderLayers: 6, decoderLayers: 6, heads: 8, width, ffnWidth: 4 * width };
  const c: TransformerConfig = { ...base, normPosition: 'post', dropout: 0.1, ...input };
  for (const field of ['vocabSize', 'contextLength', 'encoderLayers', 'decoderLayers', 'heads', 'width', 'ffnWidth'] as const)
    if (!(Number.isSafeInteger(c[field]) && c[field] >= 1))
      throw new ArgumentError(`transformerConfig: ${field} must be a positive integer, got ${c[field]}`);
  if (c.width % c.heads !== 0) throw new ArgumentError(`transformerConfig: width must be a multiple of heads (${c.heads}), got ${c.width}`);
  if (!(c.dropout >= 0 && c.dropout < 1))
    throw new ArgumentError(`transformerConfig: dropout must be at least 0 and below 1, got ${c.dropout}`);
  if (c.normPosition !== 'post' && c.normPosition !== 'pre')
    throw new ArgumentError(`transformerConfig: normPosition must be post or pre, got ${c.normPosition}`);
  return c;
}

/** Standard deviation of a matrix's initial weights: √(2 / (in + out)) (Glorot and Bengio 2010). */
const glorot = (inFeatures: number, outFeatures: number): number => Math.sqrt(2 / (inFeatures + outFeatures));

const matrix = (inFeatures: number, outFeatures: number, init: InitOptions): Linear =>
  new Linear(inFeatures, outFeatures, { ...init, std: glorot(inFeatures, outFeatures) });

/** Queries of one sequence, keys and values of another, or the same. */
export class CrossAttention extends Module {
  readonly q: Linear;
  /** Rows: keys, then values. */
  readonly kv: Linear;
  readonly proj: Linear;
  readonly #heads: number;

  constructor({ width: C, heads }: TransformerConfig, init: InitOptions) {
    super();
    this.q = matrix(C, C, init);
    this.kv = new Linear(C, 2 * C, { ...init, std: glorot(C, C) });
    this.proj = matrix(C, C, init);
    this.#heads = heads;
  }

  /**
   * x (B, Tq, C), memory (B, Tk, C) → (B, Tq, C). `causal`: a query sees keys up to its own place. `documents` i32 (B, Tq) and (B, Tk): a
   * query sees keys of its own number.
   */
  forward(x: Tensor, memory: Tensor, options: { causal?: boolean; documents?: readonly [Tensor, Tensor] | null } = {}): Tensor {
    const [B, Tq, C] = x.shape as [number, number, number];
    const Tk = memory.shape[1] as number;
    const [H, D] = [this.#heads, C / this.#heads];
    return scope(() => {
      const q = reshape(this.q.forward(x), B, Tq, H, D);
      const kv = reshape(this.kv.forward(memory), B, Tk, 2 * H, D);
      const y = attention(q, slice(kv, 2, 0, H), slice(kv, 2, H, 2 * H), options);
      return this.proj.forward(reshape(y, B, Tq, C));
    });
  }
}

/** Up to `ffnWidth`, ReLU, back down. */
class TransformerFeedForward extends Module {
  readonly up: Linear;
  readonly down: Linear;

  constructor(c: TransformerConfig, init: InitOptions) {
    super();
    this.up = matrix(c.width, c.ffnWidth, init);
    this.down = matrix(c.ffnWidth, c.width, init);
  }

  forward(x: Tensor): Tensor {
    return scope(() => this.down.forward(this.up.forward(x, { activation: 'relu' })));
  }
}

/** What a forward pass brings along. */
interface Pass {
  readonly random: RandomSource | null;
  readonly causal: boolean;
  /** Which tokens are padding: of the sequence itself. */
  readonly own: readonly [Tensor, Tensor] | null;
  /** What the encoder made of the source, and which of its tokens are padding. */
  readonly memory: Tensor | null;
  readonly across: readonly [Tensor, Tensor] | null;
}

/** A layer of the encoder, or with `across` of the decoder. */
class TransformerLayer extends Module {
  readonly norm1: LayerNorm;
  readonly attn: CrossAttention;
  readonly normAcross: LayerNorm | null;
  readonly across: CrossAttention | null;
  readonly norm2: LayerNorm;
  readonly mlp: TransformerFeedForward;
  readonly #config: TransformerConfig;

  constructor(c: TransformerConfig, decodes: boolean, init: InitOptions) {
    super();
    this.norm1 = new LayerNorm(c.width, init);
    this.attn = new CrossAttention(c, init);
    this.normAcross = decodes ? new LayerNorm(c.width, init) : null;
    this.across = decodes ? new CrossAttention(c, init) : null;
    this.norm2 = new LayerNorm(c.width, init);
    this.mlp = new TransformerFeedForward(c, init);
    this.#config = c;
  }

  forward(x: Tensor, pass: Pass): Tensor {
    const { normPosition, dropout: p } = this.#config;
    const part = (stream: Tensor, norm: LayerNorm, run: (y: Tensor) => Tensor): Tensor => {
      const y = run(normPosition === 'pre' ? norm.forward(stream) : stream);
      const sum = add(stream, pass.random ? dropout(y, p, pass.random) : y);
      return normPosition === 'pre' ? sum : norm.forward(sum);
    };
    return scope(() => {
      let y = part(x, this.norm1, (s) => this.attn.forward(s, s, { causal: pass.causal, documents: pass.own }));
      const [norm, across, memory] = [this.normAcross, this.across, pass.memory];
      if (norm && across && memory) y = part(y, norm, (s) => across.forward(s, memory, { documents: pass.across }));
      return part(y, this.norm2, (s) => this.mlp.forward(s));
    });
  }
}

export interface TransformerOptions {
  device?: Device;
  /** The same seed gives the same initial weights. Default: the sequence that `manualSeed` starts. */
  seed?: number;
}

/** What goes into the Transformer besides tokens. */
export interface TransformerForward {
  /** i32 (B, Ts): 0 for tokens of the source, 1 for the padding behind them, which nothing sees. */
  padding?: Tensor | null;
  /** Draws dropout's masks; without it (or in eval mode) nothing is dropped. */
  random?: RandomSource | null;
}

export class Transformer extends Module {
  readonly config: TransformerConfig;
  /** (V, C), of source, target and output. */
  readonly tokens: Embedding;
  readonly encoder: readonly TransformerLayer[];
  readonly decoder: readonly TransformerLayer[];
  /** Of what leaves the encoder and the decoder, where the norms stand before the parts. */
  readonly encoderNorm: LayerNorm | null;
  readonly decoderNorm: LayerNorm | null;
  /** (T, C), computed. */
  #positions: Tensor;

  constructor(config: TransformerConfig, { seed, device }: TransformerOptions = {}) {
    super();
    const c = transformerConfig(config);
    const init: InitOptions = { seeds: seedsFrom(seed), ...(device && { device }) };
    const layers = (count: number, decodes: boolean) => Array.from({ length: count }, () => new TransformerLayer(c, decodes, init));
    const parts = allOrNone(() => ({
      tokens: new Embedding(c.vocabSize, c.width, { ...init, std: c.width ** -0.5 }),
      encoder: layers(c.encoderLayers, false),
      decoder: layers(c.decoderLayers, true),
      encoderNorm: c.normPosition === 'pre' ? new LayerNorm(c.width, init) : null,
      decoderNorm: c.normPosition === 'pre' ? new LayerNorm(c.width, init) : null,
      positions: tensor(sinusoidalPositions(c.contextLength, c.width), {
        shape: [c.contextLength, c.width],
        ...(device && { device }),
      }).keep(),
    }));
    this.config = c;
    this.tokens = parts.tokens;
    this.encoder = parts.encoder;
    this.decoder = parts.decoder;
    this.encoderNorm = parts.encoderNorm;
    this.decoderNorm = parts.decoderNorm;
    this.#positions = parts.positions;
  }

  get device(): Device {
    return this.tokens.weight.device;
  }

  /** Rows of the table times √C, with their positions: ids i32 (B, T) → (B, T, C). */
  #embed(ids: Tensor, random: RandomSource | null): Tensor {
    const { contextLength, width, dropout: p } = this.config;
    const T = ids.shape[1] ?? 0;
    if (ids.rank !== 2 || T === 0 || T > contextLength)
      throw new ArgumentError(`Transformer: ids must be (B, T) with T from 1 to ${contextLength}, got ${shapeText(ids.shape)}`);
    const x = add(mul(this.tokens.forward(ids), Math.sqrt(width)), slice(this.#positions, 0, 0, T));
    return random ? dropout(x, p, random) : x;
  }

  #random({ random = null }: TransformerForward): RandomSource | null {
    return this.training ? random : null;
  }

  /** Source ids i32 (B, Ts) → what the encoder makes of them, (B, Ts, C). */
  encode(source: Tensor, options: TransformerForward = {}): Tensor {
    const { padding = null } = options;
    const random = this.#random(options);
    return scope(() => {
      let x = this.#embed(source, random);
      const pass: Pass = { random, causal: false, own: padding && [padding, padding], memory: null, across: null };
      for (const layer of this.encoder) x = layer.forward(x, pass);
      return this.encoderNorm ? this.encoderNorm.forward(x) : x;
    });
  }

  /** Target ids i32 (B, Tt) and the encoder's (B, Ts, C) → hidden states (B, Tt, C), each of the target up to its place. */
  decode(target: Tensor, memory: Tensor, options: TransformerForward = {}): Tensor {
    const { padding = null } = options;
    const random = this.#random(options);
    return scope(() => {
      let x = this.#embed(target, random);
      const none = padding && tensor(new Int32Array(target.size), { shape: [...target.shape], device: this.device });
      const pass: Pass = { random, causal: true, own: null, memory, across: none && padding ? [none, padding] : null };
      for (const layer of this.decoder) x = layer.forward(x, pass);
      return this.decoderNorm ? this.decoderNorm.forward(x) : x;
    });
  }

  /** Logits (B, Tt, V) of what follows each place of the target. */
  logits(source: Tensor, target: Tensor, options: TransformerForward = {}): Tensor {
    return scope(() => linear(this.decode(target, this.encode(source, options), options), this.tokens.weight.compute));
  }

  /** Cross-entropy of predicting `targets` i32 (B, Tt) from the source and the `inputs` i32 (B, Tt) before them; -100 counts nothing. */
  loss(source: Tensor, inputs: Tensor, targets: Tensor, options: TransformerForward & LinearCrossEntropyOptions = {}): Tensor {
    const { padding, random, ...settings } = options;
    const pass = { padding: padding ?? null, random: random ?? null };
    return scope(() =>
      linearCrossEntropy(this.decode(inputs, this.encode(source, pass), pass), this.tokens.weight.compute, targets, settings),
    );
  }

  /**
   * The likeliest token after the other, from `begin` until `end` or `maxTokens`: token ids of each source, without both. The source is encoded
   * once; the target is read again for each token.
   */
  async greedy(
    sources: readonly ArrayLike<number>[],
    { begin, end, maxTokens = this.config.contextLength }: { begin: number; end: number; maxTokens?: number },
  ): Promise<number[][]> {
    const V = this.config.vocabSize;
    const training = this.training;
    this.eval();
    const { source, padding } = padded(sources, this.device);
    const memory = noGrad(() => this.encode(source, { padding }).keep());
    const rows = sources.map(() => [begin]);
    const finished = sources.map(() => false);
    try {
      for (let t = 1; t <= Math.min(maxTokens, this.config.contextLength) && finished.includes(false); t++) {
        const logits = noGrad(() =>
          scope(() => {
            const target = tensor(Int32Array.from(rows.flat()), { shape: [rows.length, t], device: this.device });
            return linear(slice(this.decode(target, memory, { padding }), 1, t - 1, t), this.tokens.weight.compute).keep();
          }),
        );
        const values = (await logits.data()) as Float32Array;
        logits.dispose();
        for (const [i, row] of rows.entries()) {
          const own = values.subarray(i * V, (i + 1) * V);
          const best = own.indexOf(Math.max(...own));
          row.push(best);
          if (best === end) finished[i] = true;
        }
      }
    } finally {
      for (const x of [source, padding, memory]) x.dispose();
      this.train(training);
    }
    return rows.map((row) => {
      const at = row.indexOf(end, 1);
      return row.slice(1, at < 0 ? row.length : at);
    });
  }

  override to(device: Device): this {
    const moved = tensor(sinusoidalPositions(this.config.contextLength, this.config.width), {
      shape: [...this.#positions.shape],
      device,
    }).keep();
    this.#positions.dispose();
    this.#positions = moved;
    return super.to(device);
  }

  override dispose(): void {
    super.dispose();
    this.#positions.dispose();
  }
}

/** Sources as one i32 tensor (B, Ts), and which of its places are padding; both are kept. */
function padded(sources: readonly ArrayLike<number>[], device: Device): { source: Tensor; padding: Tensor } {
  const length = Math.max(...sources.map((s) => s.length));
  const shape = [sources.length, length];
  const [ids, pad] = [new Int32Array(sources.length * length), new Int32Array(sources.length * length).fill(1)];
  for (const [i, source] of sources.entries()) {
    ids.set(Array.from(source), i * length);
    pad.fill(0, i * length, i * length + source.length);
  }
  return { source: tensor(ids, { shape, device }).keep(), padding: tensor(pad, { shape, device }).keep() };
}
