import { type Module, type Parameter, ParameterSet, type ParameterSetOptions } from '../nn/index.ts';
import { gradNorm, noteLoss, readStepState, type StepReport, stepBegin, stepState, writeLossScale, writeStepState } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

/** What an optimizer works on: a model, named parameters, or a set that was made before. */
export type Optimized = Module | ReadonlyMap<string, Parameter> | ParameterSet;

/** Common to all optimizers: the flat parameters, the state on the device, clipping. */
export abstract class Optimizer {
  readonly parameters: ParameterSet;
  /** Used by `step()` without an argument. */
  learningRate: number;
  protected readonly state: Tensor;
  #clipped = false;
  #lossScale = 1;

  constructor(optimized: Optimized, learningRate: number, options: ParameterSetOptions = {}) {
    if (!(learningRate >= 0)) throw new ArgumentError(`learning rate must be at least 0, got ${learningRate}`);
    this.parameters = optimized instanceof ParameterSet ? optimized : new ParameterSet(optimized, options);
    this.learningRate = learningRate;
    this.state = stepState(this.parameters.values.device).keep();
  }

  /** Flat buffers by name (`m`, `v`), for checkpoints. */
  abstract readonly buffers: ReadonlyMap<string, Tensor>;
  protected abstract update(): void;

  /** Scales the gradients so that their global norm is at most `maxNorm`; the factor stays on the device. Non-finite gradients skip the next step. */
  clipGradNorm(maxNorm: number): void {
    this.parameters.completeGradients();
    gradNorm(this.parameters.gradients, this.state, maxNorm);
    this.#clipped = true;
  }

  /** One update from the gradients that backward left. */
  step(learningRate: number = this.learningRate): void {
    this.parameters.completeGradients();
    stepBegin(this.state, learningRate, this.#clipped);
    this.#clipped = false;
    this.update();
  }

  /** Forgets the gradients: the next backward overwrites them. */
  zeroGrad(): void {
    this.parameters.zeroGrad();
  }

  /** The factor that the loss was multiplied by before backward; the update and the norm divide by it. */
  get lossScale(): number {
    return this.#lossScale;
  }

  set lossScale(scale: number) {
    if (!(scale > 0 && Number.isFinite(scale))) throw new ArgumentError(`lossScale must be a positive number, got ${scale}`);
    if (scale !== this.#lossScale) writeLossScale(this.state, scale);
    this.#lossScale = scale;
  }

  /** Puts a loss (one element) beside the figures of the step, so that `report()` gives all of them in one read. */
  noteLoss(loss: Tensor): void {
    noteLoss(this.state, loss);
  }

  /** What the last step read and found: learning rate, gradient norm, clip factor. Waits for the device. */
  report(): Promise<StepReport> {
    return readStepState(this.state);
  }

  /** Continues at a number of updates (from a checkpoint). */
  restore(updates: number): void {
    writeStepState(this.state, updates, this.#lossScale);
  }

  dispose(): void {
    for (const b of this.buffers.values()) b.dispose();
    this.state.dispose();
    this.parameters.dispose();
  }
}
