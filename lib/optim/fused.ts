import { type OptimizerKind, optimizerStep } from '../ops/index.ts';
import { type Optimized, Optimizer, type OptimizerOptions } from './optimizer.ts';

interface Settings {
  kind: OptimizerKind;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  dampening: number;
  nesterov: boolean;
}

/** An optimizer that is one kernel over all parameters. Decay reaches the group `decay` only: matrices, unless told otherwise. */
abstract class Fused extends Optimizer {
  readonly #settings: Settings;
  readonly #seed: number;

  constructor(optimized: Optimized, lr: number, buffers: readonly string[], settings: Settings, options: OptimizerOptions) {
    super(optimized, lr, buffers, options);
    this.#settings = settings;
    this.#seed = options.seed ?? 0;
  }

  protected update(): void {
    const { values, compute, gradients } = this.parameters;
    const { start, end } = this.parameters.range('decay');
    optimizerStep({
      ...this.#settings,
      values,
      copy: compute,
      gradient: gradients,
      m: this.buffers.get('m') ?? null,
      v: this.buffers.get('v') ?? null,
      state: this.state,
      decayCount: end - start,
      seed: this.#seed,
    });
  }
}

export interface AdamOptions extends OptimizerOptions {
  /** Default 1e-3. */
  lr?: number;
  /** Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  eps?: number;
  /** On matrices only. Default 0.01 for AdamW, 0 for Adam. */
  weightDecay?: number;
}

/** Adam with decoupled weight decay (Loshchilov & Hutter 2019). */
export class AdamW extends Fused {
  constructor(optimized: Optimized, options: AdamOptions = {}) {
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, ...set } = options;
    super(optimized, lr, ['m', 'v'], { kind: 'adamw', betas, eps, weightDecay, dampening: 0, nesterov: false }, set);
  }
}

/** Adam (Kingma & Ba 2015); its weight decay is an L2 term of the gradient. */
export class Adam extends Fused {
  constructor(optimized: Optimized, options: AdamOptions = {}) {
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0, ...set } = options;
    super(optimized, lr, ['m', 'v'], { kind: 'adam', betas, eps, weightDecay, dampening: 0, nesterov: false }, set);
  }
}

export interface SGDOptions extends OptimizerOptions {
  lr?: number;
  /** Default 0. */
  momentum?: number;
  nesterov?: boolean;
  dampening?: number;
  weightDecay?: number;
}

/** Gradient descent with momentum as in PyTorch: m = momentum·m + (1 - dampening)·g. */
export class SGD extends Fused {
  constructor(optimized: Optimized, options: SGDOptions = {}) {
    const { lr = 1e-3, momentum = 0, nesterov = false, dampening = 0, weightDecay = 0, ...set } = options;
    super(optimized, lr, momentum === 0 ? [] : ['m'], { kind: 'sgd', betas: [momentum, 0], eps: 0, weightDecay, dampening, nesterov }, set);
  }
}

/** Lion: the sign of an interpolated momentum (Chen et al. 2023). Default betas [0.9, 0.99]. */
export class Lion extends Fused {
  constructor(optimized: Optimized, options: Omit<AdamOptions, 'eps'> = {}) {
    const { lr = 1e-4, betas = [0.9, 0.99], weightDecay = 0, ...set } = options;
    super(optimized, lr, ['m'], { kind: 'lion', betas, eps: 0, weightDecay, dampening: 0, nesterov: false }, set);
  }
}
