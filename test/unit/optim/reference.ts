// The optimizers in float64 on plain arrays, as their papers write them.
export const kinds = ['adamw', 'adam', 'sgd', 'lion'] as const;

export interface Settings {
  kind: (typeof kinds)[number];
  lr: number;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  momentum: number;
  nesterov: boolean;
  dampening: number;
  clip: number;
}

export const defaults: Settings = {
  ...{ kind: 'adamw', lr: 0.01, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1, momentum: 0, nesterov: false, dampening: 0, clip: 0 },
};

/** Numbers in [0, 1) that are always the same. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A matrix with decay and a bias without. */
export class Reference {
  readonly matrix: number[];
  readonly bias: number[];
  readonly #s: Settings;
  readonly #m: number[];
  readonly #v: number[];
  #t = 0;

  constructor(settings: Settings, matrix: readonly number[], bias: readonly number[]) {
    this.#s = settings;
    this.matrix = [...matrix];
    this.bias = [...bias];
    this.#m = Array<number>(matrix.length + bias.length).fill(0);
    this.#v = [...this.#m];
  }

  #clipped(gradient: readonly number[]): number[] {
    const norm = Math.hypot(...gradient);
    const factor = this.#s.clip > 0 ? Math.min(1, this.#s.clip / (norm + 1e-6)) : 1;
    return gradient.map((g) => g * factor);
  }

  /** Lion: whether the sign of some direction hangs on rounding. */
  undecided(matrix: readonly number[], bias: readonly number[]): boolean {
    const beta = this.#s.betas[0];
    return this.#clipped([...matrix, ...bias]).some((g, i) => {
      const direction = beta * (this.#m[i] as number) + (1 - beta) * g;
      return direction !== 0 && Math.abs(direction) < 1e-5;
    });
  }

  step(matrix: readonly number[], bias: readonly number[]): void {
    this.#t++;
    this.#clipped([...matrix, ...bias]).forEach((g, i) => {
      const [list, at] = i < this.matrix.length ? [this.matrix, i] : [this.bias, i - this.matrix.length];
      list[at] = this.#update(i, list[at] as number, g, i < this.matrix.length ? this.#s.weightDecay : 0);
    });
  }

  #update(i: number, p0: number, g0: number, decay: number): number {
    const { kind, lr, betas, eps, momentum, nesterov, dampening } = this.#s;
    const [b1, b2] = betas;
    const m = this.#m;
    const v = this.#v;
    const old = m[i] as number;
    if (kind === 'lion') {
      m[i] = b2 * old + (1 - b2) * g0;
      return p0 * (1 - lr * decay) - lr * Math.sign(b1 * old + (1 - b1) * g0);
    }
    if (kind === 'sgd') {
      const g = g0 + decay * p0;
      if (momentum === 0) return p0 - lr * g;
      const now = this.#t === 1 ? g : momentum * old + (1 - dampening) * g;
      m[i] = now;
      return p0 - lr * (nesterov ? g + momentum * now : now);
    }
    const g = kind === 'adam' ? g0 + decay * p0 : g0;
    const p = kind === 'adamw' ? p0 * (1 - lr * decay) : p0;
    m[i] = b1 * old + (1 - b1) * g;
    v[i] = b2 * (v[i] as number) + (1 - b2) * g * g;
    const root = Math.sqrt((v[i] as number) / (1 - b2 ** this.#t));
    return p - (lr * ((m[i] as number) / (1 - b1 ** this.#t))) / (root + eps);
  }
}

type Matrix = number[][];
const times = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => (b[0] as number[]).map((_, j) => row.reduce((sum, x, k) => sum + x * ((b[k] as number[])[j] as number), 0)));
const transposed = (a: Matrix): Matrix => (a[0] as number[]).map((_, j) => a.map((row) => row[j] as number));

/** Muon on one matrix (Jordan et al. 2024). */
export class MuonReference {
  matrix: number[];
  readonly #o: {
    lr: number;
    momentum: number;
    nesterov: boolean;
    iterations: number;
    weightDecay: number;
    adjust: 'original' | 'matchAdamW';
  };
  readonly #rows: number;
  readonly #cols: number;
  readonly #m: number[];

  constructor(options: MuonReference['options'], matrix: readonly number[], rows: number, cols: number) {
    this.#o = options;
    this.matrix = [...matrix];
    this.#rows = rows;
    this.#cols = cols;
    this.#m = matrix.map(() => 0);
  }

  get options() {
    return this.#o;
  }

  step(gradient: readonly number[]): void {
    const { lr, momentum, nesterov, iterations, weightDecay, adjust } = this.#o;
    const [rows, cols, m] = [this.#rows, this.#cols, this.#m];
    const direction = gradient.map((g, i) => {
      m[i] = momentum * (m[i] as number) + (1 - momentum) * g;
      return nesterov ? (1 - momentum) * g + momentum * (m[i] as number) : (m[i] as number);
    });
    const norm = Math.max(Math.hypot(...direction), 1e-7);
    let x: Matrix = Array.from({ length: rows }, (_, i) => direction.slice(i * cols, (i + 1) * cols).map((v) => v / norm));
    if (rows > cols) x = transposed(x);
    for (let i = 0; i < iterations; i++) {
      const gram = times(x, transposed(x));
      const square = times(gram, gram);
      const poly = gram.map((row, r) => row.map((v, c) => -4.775 * v + 2.0315 * ((square[r] as number[])[c] as number)));
      const product = times(poly, x);
      x = x.map((row, r) => row.map((v, c) => 3.4445 * v + ((product[r] as number[])[c] as number)));
    }
    if (rows > cols) x = transposed(x);
    const ratio = adjust === 'matchAdamW' ? 0.2 * Math.sqrt(Math.max(rows, cols)) : Math.sqrt(Math.max(1, rows / cols));
    const flat = x.flat();
    this.matrix = this.matrix.map((p, i) => p * (1 - lr * weightDecay) - lr * ratio * (flat[i] as number));
  }
}
