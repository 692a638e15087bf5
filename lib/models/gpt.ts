import { noGrad, recompute } from '../autograd/index.ts';
import {
  type AttentionCache,
  type Compute,
  computeType,
  Embedding,
  type InitOptions,
  KVCache,
  KVPages,
  Linear,
  Module,
  normalParameter,
  type Parameter,
  type Recompute,
  seedsFrom,
} from '../nn/index.ts';
import {
  add,
  cast,
  dropout,
  embedding,
  type LinearCrossEntropyOptions,
  linear,
  linearCrossEntropy,
  slice,
  toDevice,
} from '../ops/index.ts';
import { tensor } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import { shapeText } from '../tensor/shape.ts';
import { allOrNone, scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';
import { Block, type ForwardOptions, makeNorm, type Norm } from './block.ts';
import { type GPTConfig, type GPTConfigInput, gptConfig, paddedVocabSize } from './config.ts';
import type { PresetName } from './presets.ts';

export type { ForwardOptions } from './block.ts';

export interface GPTOptions {
  device?: Device;
  /** The same seed gives the same initial weights. Default: the sequence that `manualSeed` starts. */
  seed?: number;
  /** What it computes with: see `computeIn`. Default f32. */
  compute?: Compute;
  /** Leaves the parameters undefined: whoever makes the model writes all of them. Default false. */
  undefinedContents?: boolean;
}

/** PE[pos, 2i] = sin(pos / 10000^(2i/C)), PE[pos, 2i+1] = cos of the same (Vaswani et al. 2017): (T, C). */
export function sinusoidalPositions(T: number, C: number): Float32Array {
  const table = new Float32Array(T * C);
  for (let pos = 0; pos < T; pos++)
    for (let i = 0; i < C; i++) {
      const angle = pos / 10000 ** ((i - (i % 2)) / C);
      table[pos * C + i] = i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  return table;
}

function positionTable(c: GPTConfig, device: Device | undefined): Tensor {
  const shape = [c.contextLength, c.width];
  return tensor(sinusoidalPositions(c.contextLength, c.width), { shape, ...(device && { device }) })
    .keep()
    .holdAs('parameters');
}

/** A decoder-only Transformer: GPT-1, GPT-2, GPT-3 or a modern variant, as its configuration says. */
export class GPT extends Module {
  readonly config: GPTConfig;
  /** (padded V, C). */
  readonly tokens: Embedding;
  /** (T, C), learned; null for other kinds of positions. */
  readonly positions: Parameter | null;
  readonly blocks: readonly Block[];
  readonly norm: Norm | null;
  /** (padded V, C); null: the token embedding serves. */
  readonly head: Linear | null;
  /** What backward computes again. */
  recompute: Recompute = 'none';
  /** Rows of logits that exist at a time in `loss`; 0: all. */
  headRows = 0;
  /** (T, C), computed; null for other kinds of positions. */
  #table: Tensor | null;
  /** The same in bf16 or f16, where the model computes in it. */
  #tableCopy: Tensor | null = null;

  constructor(config: GPTConfig, options: GPTOptions = {}) {
    super();
    const c = config;
    const { undefinedContents = false } = options;
    const init: InitOptions = { seeds: seedsFrom(options.seed), undefinedContents, ...(options.device && { device: options.device }) };
    const V = paddedVocabSize(c);
    const parts = allOrNone(() => ({
      tokens: new Embedding(V, c.width, { ...init, std: c.initStd }),
      positions: c.positions === 'learned' ? normalParameter([c.contextLength, c.width], c.initStd, init) : null,
      blocks: Array.from({ length: c.layers }, (_, i) => new Block(c, i, init)),
      norm: c.finalNorm ? makeNorm(c, init) : null,
      head: c.tiedHead ? null : new Linear(c.width, V, { ...init, bias: false, std: c.initStd }),
      table: c.positions === 'sinusoidal' ? positionTable(c, options.device) : null,
    }));
    this.config = c;
    this.tokens = parts.tokens;
    this.positions = parts.positions;
    this.blocks = parts.blocks;
    this.norm = parts.norm;
    this.head = parts.head;
    this.#table = parts.table;
    if (options.compute) this.computeIn(options.compute);
  }

  /** A model of a preset, some fields changed: `GPT.fromPreset('gpt2', { vocabSize: 8192 })`. */
  static fromPreset(preset: PresetName, input: GPTConfigInput = {}, options: GPTOptions = {}): GPT {
    return new GPT(gptConfig(input, preset), options);
  }

  get device(): Device {
    return this.tokens.weight.device;
  }

  /** The matrix that turns hidden states into logits: (padded V, C). */
  get headWeight(): Parameter {
    return this.head?.weight ?? this.tokens.weight;
  }

  /** Token ids i32 (B, T) → hidden states (B, T, C), after the final norm. */
  forward(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const c = this.config;
    const first = options.cache?.length ?? 0;
    const T = ids.shape[1] ?? 0;
    if (ids.rank !== 2 || T === 0) throw new ArgumentError(`GPT: ids must be (B, T) with T of at least 1, got ${shapeText(ids.shape)}`);
    if (first + T > c.contextLength) throw new ArgumentError(`GPT: at most ${c.contextLength} positions fit the context, got ${first + T}`);
    const random = this.training ? (options.random ?? null) : null;
    const own = {
      ...options,
      positions: options.positions ?? this.#unevenPositions(options.cache ?? null, T),
      recompute: options.recompute ?? this.recompute,
    };
    let x = this.#embed(ids, first, own.positions);
    if (random) x = dropout(x, c.dropout.embedding, random);
    for (const block of this.blocks) {
      const before = x;
      x =
        own.recompute === 'block'
          ? recompute((h) => block.forward(h, own), x, { parameters: block.parameters().map((p) => p.compute), draws: random })
          : block.forward(x, own);
      before.dispose(); // the graph holds what it needs
    }
    options.cache?.advance(T);
    if (!this.norm) return x;
    const y = this.norm.forward(x);
    x.dispose();
    return y;
  }

  /** i32 (B, T): positions behind the cache, where its rows hold different numbers of them; else null. */
  #unevenPositions(cache: AttentionCache | null, T: number): Tensor | null {
    const lengths = cache?.lengths ?? [];
    if (lengths.every((length) => length === lengths[0])) return null;
    const all = lengths.flatMap((length) => Array.from({ length: T }, (_, t) => length + t));
    return tensor(Int32Array.from(all), { shape: [lengths.length, T], device: this.device });
  }

  /** Rows of the tokens with those of their positions added: first, first + 1, ..., or the given ones. */
  #embed(ids: Tensor, first: number, positions: Tensor | null): Tensor {
    const table = this.positions?.compute ?? this.#tableCopy ?? this.#table;
    if (!positions || !table) return this.tokens.forward(ids, { positions: table, first });
    return add(this.tokens.forward(ids), embedding(table, positions));
  }

  /** Logits (B, T, V) of all positions. */
  logits(ids: Tensor, options: ForwardOptions = {}): Tensor {
    return scope(() => this.project(this.forward(ids, options)));
  }

  /** Logits (B, 1, V) of the last position: what generation needs. */
  lastLogits(ids: Tensor, options: ForwardOptions = {}): Tensor {
    return scope(() => {
      const x = this.forward(ids, options);
      return this.project(slice(x, 1, -1));
    });
  }

  /** Hidden states (..., C) as `forward` gives them → logits (..., V). */
  project(x: Tensor): Tensor {
    const y = linear(x, this.headWeight.compute, { precision: this.precision });
    return y.shape.at(-1) === this.config.vocabSize ? y : slice(y, -1, 0, this.config.vocabSize);
  }

  /**
   * Cross-entropy of predicting `targets` i32 (B, T) from `ids` i32 (B, T); the head and the loss are one op, so logits are
   * never kept beside their gradient.
   */
  loss(ids: Tensor, targets: Tensor, options: ForwardOptions & LinearCrossEntropyOptions = {}): Tensor {
    const { vocabSize } = this.config;
    const rows = this.headRows > 0 ? { chunkRows: this.headRows } : {};
    const settings = { validColumns: vocabSize, precision: this.precision, ...rows, ...options };
    return scope(() => linearCrossEntropy(this.forward(ids, options), this.headWeight.compute, targets, settings));
  }

  /** An empty cache for decoding `batch` sequences of up to `capacity` positions. */
  cache(batch: number, capacity: number = this.config.contextLength): KVCache {
    const { layers, kvHeads, headSize } = this.config;
    return noGrad(
      () => new KVCache({ layers, batch, capacity, kvHeads, headSize, device: this.device, dtype: computeType(this.compute, this.device) }),
    );
  }

  /**
   * A pool of `pages` pages of `pageSize` positions (a power of two of at least 16, default 16) for decoding sequences of any lengths:
   * a sequence of T positions has ⌈T / pageSize⌉ of them, and shares those that it has in common with others. Whoever makes it disposes of it.
   */
  pages(pages: number, pageSize?: number): KVPages {
    const { layers, kvHeads, headSize } = this.config;
    const dtype = computeType(this.compute, this.device);
    return new KVPages({ layers, pages, kvHeads, headSize, device: this.device, dtype, ...(pageSize !== undefined && { pageSize }) });
  }

  override computeIn(compute: Compute): this {
    const [table, type] = [this.#table, computeType(compute, this.device)];
    const copy =
      table && type !== 'f32'
        ? noGrad(() => cast(table, type))
            .keep()
            .holdAs('parameters')
        : null;
    try {
      super.computeIn(compute);
    } catch (error) {
      copy?.dispose();
      throw error;
    }
    this.#tableCopy?.dispose();
    this.#tableCopy = copy;
    return this;
  }

  override to(device: Device): this {
    super.to(device);
    const table = this.#table;
    if (!table) return this;
    this.#table = noGrad(() => toDevice(table, device)).keep();
    table.dispose();
    return this.computeIn(this.compute);
  }

  override dispose(): void {
    super.dispose();
    this.#table?.dispose();
    this.#tableCopy?.dispose();
  }
}
