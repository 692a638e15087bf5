import { record, type Sink, tracks } from '../autograd/index.ts';
import { atomically, type Handle, native } from '../native/addon.ts';
import type { RandomSource } from '../tensor/random.ts';
import { shapeText } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

export interface AttentionOptions {
  /** A query sees keys up to its own position; with fewer queries than keys the queries are the last ones. Default false. */
  causal?: boolean;
  /** Factor on q·k; default 1 / sqrt(D). */
  scale?: number;
  /** A query sees itself and the `window - 1` keys before it (and after it, when not causal). 0: no limit. */
  window?: number;
  /** i32 (B, T) ids: nothing is seen across a boundary. One tensor for both sides, or `[queries, keys]`. */
  documents?: Tensor | readonly [Tensor, Tensor] | null;
  /** Probability of dropping an attention weight; needs `random`. */
  dropout?: number;
  random?: RandomSource | null;
  /** Keys and values lie in pages: for decoding, without documents, dropout and gradients. */
  pages?: AttentionPages | null;
}

/**
 * Keys and values in pages of a pool: k and v are (pages, S, Hkv, D) with S positions a page, a power of two of at least 16. Key j of row b is
 * position j % S of page `table[b][j / S]`. The bits are those of the same keys side by side.
 */
export interface AttentionPages {
  /** i32 (B, n). */
  readonly table: Tensor;
  /** How many keys every row has: at most n · S. */
  readonly keys: number;
}

/**
 * Writes rows x (B, T, H, D) to positions of pages (P, S, H, D), in place and outside the graph: to position `places` i32 (B, T), which is page · S
 * plus the position in the page. No two places may be the same.
 */
export function writePages(pages: Tensor, x: Tensor, places: Tensor): void {
  native.writePages(pages.handle, x.handle, places.handle);
}

interface Settings {
  scale: number;
  causal: boolean;
  window: number;
  dropout: number;
  stream: number;
}

function settingsOf(D: number, options: AttentionOptions): Settings {
  const { dropout = 0, random = null } = options;
  if (dropout > 0 && !random) throw new ArgumentError('attention: dropout needs random, a RandomSource');
  return {
    scale: options.scale ?? 1 / Math.sqrt(D),
    causal: options.causal ?? false,
    window: options.window ?? 0,
    dropout,
    stream: dropout > 0 ? (random as RandomSource).nextStream() : 0,
  };
}

interface Extras {
  qDocuments: Handle | null;
  kDocuments: Handle | null;
  random: Handle | null;
}

function extrasOf(options: AttentionOptions): { tensors: Tensor[]; documents: boolean } {
  const { documents = null, dropout = 0, random = null } = options;
  const pair = documents === null ? [] : 'handle' in documents ? [documents, documents] : [...documents];
  return { tensors: [...pair, ...(dropout > 0 && random ? [random.state] : [])], documents: pair.length > 0 };
}

function unpack(list: readonly Handle[], documents: boolean): Extras {
  const rest = [...list];
  const qDocuments = documents ? (rest.shift() as Handle) : null;
  const kDocuments = documents ? (rest.shift() as Handle) : null;
  return { qDocuments, kDocuments, random: rest.shift() ?? null };
}

function forward(q: Handle, k: Handle, v: Handle, s: Settings, e: Extras, pages: AttentionPages | null = null): [Handle, Handle] {
  return native.attention(
    ...([q, k, v, s.scale, s.causal, s.window, e.qDocuments, e.kDocuments, s.dropout, e.random, s.stream] as const),
    ...([pages?.table.handle ?? null, pages?.keys ?? 0] as const),
  );
}

type Target = [out: Handle, accumulate: boolean];

function backward(
  inputs: readonly Handle[],
  o: Handle,
  lse: Handle,
  dO: Handle,
  s: Settings,
  e: Extras,
  dq: Target,
  dk: Target,
  dv: Target,
): void {
  const [q, k, v] = inputs as [Handle, Handle, Handle];
  native.attentionBackward(
    ...([q, k, v, o, lse, dO, s.scale, s.causal, s.window] as const),
    ...([e.qDocuments, e.kDocuments, s.dropout, e.random, s.stream, ...dq, ...dk, ...dv] as const),
  );
}

/**
 * softmax(scale · q kᵀ + mask) v without ever holding Tq × Tk (Dao et al. 2022): q (B, Tq, H, D), k and v (B, Tk, Hkv, D) with
 * Hkv dividing H (grouped queries), any strides; result (B, Tq, H, D). A query that sees nothing gives 0.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const { pages = null } = options;
  if (pages && tracks(q, k, v)) throw new ArgumentError('attention: pages must be without gradients (noGrad), got an input that wants one');
  const s = settingsOf(q.shape.at(-1) ?? 1, options);
  const { tensors, documents } = extrasOf(options);
  const [o, lse] = forward(
    q.handle,
    k.handle,
    v.handle,
    s,
    unpack(
      tensors.map((t) => t.handle),
      documents,
    ),
    pages,
  );
  const save = [q, k, v, native.alias(o), lse, ...tensors];
  return record('attention', [o], [q, k, v], save, ([dy], sinks, saved) => {
    if (!dy) return;
    const [q1, k1, v1, o1, lse1, ...rest] = saved as [Handle, Handle, Handle, Handle, Handle, ...Handle[]];
    const beside: { sink: Sink | null | undefined; gradient: Handle }[] = [];
    const taken = new Set<Sink>();
    // The kernel writes all three at a time: one that nobody wants, or that a tensor has in several roles, is written beside.
    const target = (sink: Sink | null | undefined, like: Handle, use: (t: Target) => void): void => {
      if (sink && !taken.has(sink)) {
        taken.add(sink);
        sink.into((out, accumulate) => use([out, accumulate]));
        return;
      }
      const gradient = native.empty(native.device(like), native.dtype(dy.handle), native.shape(like));
      beside.push({ sink, gradient });
      use([gradient, false]);
    };
    target(sinks[0], q1, (dq) =>
      target(sinks[1], k1, (dk) =>
        target(sinks[2], v1, (dv) => backward([q1, k1, v1], o1, lse1, dy.handle, s, unpack(rest, documents), dq, dk, dv)),
      ),
    );
    for (const { sink, gradient } of beside) {
      if (sink) sink.give(gradient);
      else native.dispose(gradient);
    }
  })[0] as Tensor;
}

/**
 * Attention on a packed projection qkv (B, T, (H + 2 Hkv) · D), q's heads first, then k's, then v's: views, no copies, and
 * the gradient is packed the same way. Result (B, T, H · D).
 */
export function packedAttention(qkv: Tensor, heads: number, kvHeads: number, options: Omit<AttentionOptions, 'pages'> = {}): Tensor {
  const C = qkv.shape.at(-1) ?? 0;
  const D = C / (heads + 2 * kvHeads);
  if (qkv.rank !== 3 || !Number.isInteger(D))
    throw new ArgumentError(`packedAttention: qkv must be (B, T, (${heads} + 2 * ${kvHeads}) * D), got ${shapeText(qkv.shape)}`);
  // Not what may be rolled back: a source of random numbers makes its state when it is first asked, and keeps it.
  const [settings, extras] = [settingsOf(D, options), extrasOf(options)];
  return atomically(() => packed(qkv, heads, kvHeads, D, settings, extras));
}

type GivenExtras = ReturnType<typeof extrasOf>;

function packed(qkv: Tensor, heads: number, kvHeads: number, D: number, s: Settings, { tensors, documents }: GivenExtras): Tensor {
  const views = native.splitHeads(qkv.handle, heads, kvHeads);
  const [o, lse] = forward(
    ...views,
    s,
    unpack(
      tensors.map((t) => t.handle),
      documents,
    ),
  );
  for (const h of views) native.dispose(h);
  const [B, T] = qkv.shape as [number, number];
  const y = native.reshape(o, [B, T, heads * D]);
  return record('packedAttention', [y], [qkv], [qkv, o, lse, ...tensors], ([dy], [sink], saved) => {
    if (!dy || !sink) return;
    const [input, o1, lse1, ...rest] = saved as [Handle, Handle, Handle, ...Handle[]];
    sink.into((out, accumulate) => {
      const inputs = native.splitHeads(input, heads, kvHeads);
      const outputs = native.splitHeads(out, heads, kvHeads);
      const dO = native.reshape(dy.handle, [B, T, heads, D]);
      const [dq, dk, dv] = outputs.map((h): Target => [h, accumulate]) as [Target, Target, Target];
      backward(inputs, o1, lse1, dO, s, unpack(rest, documents), dq, dk, dv);
      for (const h of [...inputs, ...outputs, dO]) native.dispose(h);
    });
  })[0] as Tensor;
}
