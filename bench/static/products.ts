// The products of a training step of GPT-2 124M, at 65,536 tokens: every linear layer, and its gradients.

/** X W^T, dY W and dY^T X. */
export type Kind = 'forward' | 'dX' | 'dW';
export const KINDS: readonly Kind[] = ['forward', 'dX', 'dW'];

export interface Product {
  kind: Kind;
  name: string;
  M: number;
  N: number;
  K: number;
}

const ROWS = 65536;
const LAYERS: readonly [name: string, inputs: number, outputs: number][] = [
  ['qkv', 768, 2304],
  ['proj', 768, 768],
  ['up', 768, 3072],
  ['down', 3072, 768],
  ['head', 768, 50304],
];
const SIZES: Record<Kind, (inputs: number, outputs: number) => Pick<Product, 'M' | 'N' | 'K'>> = {
  forward: (inputs, outputs) => ({ M: ROWS, N: outputs, K: inputs }),
  dX: (inputs, outputs) => ({ M: ROWS, N: inputs, K: outputs }),
  dW: (inputs, outputs) => ({ M: outputs, N: inputs, K: ROWS }),
};

export const GPT2_PRODUCTS: readonly Product[] = KINDS.flatMap((kind) =>
  LAYERS.map(([name, inputs, outputs]) => ({ kind, name, ...SIZES[kind](inputs, outputs) })),
);
