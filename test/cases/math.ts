/** The error function in float64: its series near 0, a continued fraction of its complement elsewhere. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 2) {
    let fraction = 0;
    for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
    return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
  }
  let [term, sum] = [x, x];
  for (let n = 1; n < 60; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** The unary functions, by the names of the native op. */
export const UNARY = {
  neg: (x: number) => -x,
  abs: Math.abs,
  sign: Math.sign,
  square: (x: number) => x * x,
  sqrt: Math.sqrt,
  rsqrt: (x: number) => 1 / Math.sqrt(x),
  reciprocal: (x: number) => 1 / x,
  exp: Math.exp,
  log: Math.log,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid,
  relu: (x: number) => Math.max(x, 0),
  relu2: (x: number) => Math.max(x, 0) ** 2,
  silu: (x: number) => x * sigmoid(x),
  geluTanh: (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  geluErf: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
} as const;

/** The binary functions, by the names of the native op; comparisons give 1 and 0. */
export const BINARY = {
  add: (a: number, b: number) => a + b,
  sub: (a: number, b: number) => a - b,
  mul: (a: number, b: number) => a * b,
  div: (a: number, b: number) => a / b,
  maximum: Math.max,
  minimum: Math.min,
  pow: (a: number, b: number) => a ** b,
  eq: (a: number, b: number) => Number(a === b),
  ne: (a: number, b: number) => Number(a !== b),
  lt: (a: number, b: number) => Number(a < b),
  le: (a: number, b: number) => Number(a <= b),
  gt: (a: number, b: number) => Number(a > b),
  ge: (a: number, b: number) => Number(a >= b),
} as const;

/** The activations of linear, by the names of the native op. */
export const ACTIVATIONS = {
  none: (x: number) => x,
  geluTanh: UNARY.geluTanh,
  geluErf: UNARY.geluErf,
  relu: UNARY.relu,
  relu2: UNARY.relu2,
  silu: UNARY.silu,
} as const;
