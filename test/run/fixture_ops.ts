// The op families of the golden fixtures, each as a call of the library. A family gives y from the inputs by their names.
import * as ops from '../../lib/ops/index.ts';
import { tensor } from '../../lib/tensor/create.ts';
import type { Tensor } from '../../lib/tensor/tensor.ts';
import type { Attributes } from './fixture_files.ts';

export type Inputs = Readonly<Record<string, Tensor | undefined>>;
export type Family = (inputs: Inputs, attrs: Attributes) => Tensor;

function need(inputs: Inputs, name: string): Tensor {
  const t = inputs[name];
  if (!t) throw new Error(`this case has no input ${name}`);
  return t;
}

function number(attrs: Attributes, name: string): number | undefined {
  const value = attrs[name];
  return typeof value === 'number' ? value : undefined;
}

const activations: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  gelu_tanh: (x) => ops.gelu(x, 'tanh'),
  gelu_exact: (x) => ops.gelu(x, 'erf'),
  silu: ops.silu,
  relu: ops.relu,
  sigmoid: ops.sigmoid,
  tanh: ops.tanh,
};

/** Lengths of documents, as the id of each of T positions in B rows. */
function documentIds(lengths: readonly number[], B: number, device: string): Tensor {
  const row = lengths.flatMap((n, id) => Array.from({ length: n }, () => id));
  return tensor(Int32Array.from(Array.from({ length: B }, () => row).flat()), { shape: [B, row.length], device });
}

/** The fixtures' (B, H, T, D) as the library's (B, T, H, D), without moving data. */
const headsInside = (x: Tensor): Tensor => ops.transpose(x, 1, 2);

function attention(inputs: Inputs, attrs: Attributes): Tensor {
  let [q, k] = [headsInside(need(inputs, 'q')), headsInside(need(inputs, 'k'))];
  const v = headsInside(need(inputs, 'v'));
  const theta = number(attrs, 'rope_theta');
  if (theta !== undefined) {
    q = ops.rope(q, { theta, first: (k.shape[1] as number) - (q.shape[1] as number) });
    k = ops.rope(k, { theta });
  }
  const documents = attrs.documents ? documentIds(attrs.documents as number[], q.shape[0] as number, q.device) : null;
  return headsInside(ops.attention(q, k, v, { causal: attrs.causal === true, window: number(attrs, 'window') ?? 0, documents }));
}

export const families: Readonly<Record<string, Family>> = {
  matmul: (i, a) => ops.matmul(need(i, 'a'), need(i, 'b'), { transA: a.transA === true, transB: a.transB === true }),
  linear: (i, a) => ops.linear(need(i, 'x'), need(i, 'w'), { bias: i.b ?? null, conv1d: a.conv1d === true }),
  layernorm: (i, a) => ops.layerNorm(need(i, 'x'), { weight: need(i, 'w'), bias: i.b ?? null, eps: number(a, 'eps') ?? 1e-5 }),
  rmsnorm: (i, a) => ops.rmsNorm(need(i, 'x'), { weight: need(i, 'w'), eps: number(a, 'eps') ?? 1e-5 }),
  activation: (i, a) => {
    const fn = activations[String(a.fn)];
    if (!fn) throw new Error(`no activation is called ${a.fn}`);
    return fn(need(i, 'x'));
  },
  swiglu: (i) => ops.swiglu(need(i, 'gate'), need(i, 'up')),
  softmax: (i, a) => (a.fn === 'log_softmax' ? ops.logSoftmax : ops.softmax)(need(i, 'x')),
  attention,
  rope: (i, a) => {
    const x = ops.unsqueeze(need(i, 'x'), 2); // (B, T, D) as one head
    const turned = ops.rope(x, {
      theta: number(a, 'theta') ?? 10000,
      first: number(a, 'first_pos') ?? 0,
      interleaved: a.style === 'interleaved',
    });
    return ops.squeeze(turned, 2);
  },
  cross_entropy: (i, a) =>
    ops.crossEntropy(need(i, 'logits'), need(i, 'targets'), {
      ignoreIndex: number(a, 'ignore_index') ?? -100,
      labelSmoothing: number(a, 'label_smoothing') ?? 0,
      reduction: a.reduction === 'sum' ? 'sum' : 'mean',
    }),
  embedding: (i) => ops.embedding(need(i, 'w'), need(i, 'ids')),
};
