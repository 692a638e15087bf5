import { noGrad } from '../autograd/index.ts';
import { type Module, type Offload, type Parameter, ParameterSet, type ParameterSetOptions, type Storage } from '../nn/index.ts';
import {
  clone,
  gradNorm,
  noteLoss,
  readStepState,
  type StepReport,
  stepBegin,
  stepState,
  writeLearningRate,
  writeLossScale,
  writeStepState,
} from '../ops/index.ts';
import { allOrNone, scope, type Tensor } from '../tensor/tensor.ts';
import { ArgumentError } from '../util/errors.ts';

/** What an optimizer works on: a model, named parameters, or a set that was made before. */
export type Optimized = Module | ReadonlyMap<string, Parameter> | ParameterSet;

export interface OptimizerOptions extends ParameterSetOptions {
  /** What m and v are kept in. Default f32. */
  moments?: Storage;
  /** Where m and v lie: `optimizer`, in the host's memory. Default none. */
  offload?: Offload;
  /** Of the random bits that round what is kept in bf16. Default 0. */
  seed?: number;
}

/** Common to all optimizers: the flat parameters, the state on the device, clipping. */
export abstract class Optimizer {
  readonly parameters: ParameterSet;
  /** Used by `step()` without an argument. */
  learningRate: number;
  /** Flat buffers by name (`m`, `v`), for checkpoints. */
  readonly buffers: ReadonlyMap<string, Tensor>;
  protected readonly state: Tensor;
  #clipped = false;
  #lossScale = 1;

  /** `buffers`: names of the flat buffers that the optimizer keeps, its moments, which begin at 0. */
  constructor(optimized: Optimized, learningRate: number, buffers: readonly string[], options: OptimizerOptions = {}) {
    if (!(learningRate >= 0)) throw new ArgumentError(`learning rate must be at least 0, got ${learningRate}`);
    const given = optimized instanceof ParameterSet;
    const set = given ? optimized : new ParameterSet(optimized, options);
    try {
      const made = allOrNone(() => ({
        buffers: new Map(buffers.map((name) => [name, set.buffer(0, options.moments, options.offload === 'optimizer')])),
        state: stepState(set.values.device).keep().holdAs('optimizer state'),
      }));
      this.buffers = made.buffers;
      this.state = made.state;
    } catch (error) {
      if (!given) set.dispose(); // the model is free for another optimizer
      throw error;
    }
    this.parameters = set;
    this.learningRate = learningRate;
  }

  /**
   * What of the update needs memory, before anything has been changed: when it fails, there was no step. `begun` gives a state in which
   * the step has begun. The tensors it gives are freed after the update.
   */
  protected prepare(_begun: () => Tensor): Tensor[] {
    return [];
  }

  /** Changes parameters and buffers. Needs no memory. */
  protected abstract update(prepared: readonly Tensor[]): void;

  /** Scales the gradients so that their global norm is at most `maxNorm`; the factor stays on the device. Non-finite gradients skip the next step. */
  clipGradNorm(maxNorm: number): void {
    this.parameters.completeGradients();
    gradNorm(this.parameters.gradients, this.state, maxNorm);
    this.#clipped = true;
  }

  /** One update from the gradients that backward left. When it fails (out of memory), parameters and state are as they were. */
  step(learningRate: number = this.learningRate): void {
    this.writeLearningRate(learningRate);
    this.stepAsWritten();
  }

  /** Puts the learning rate of the next update into device memory, for `stepAsWritten`. */
  writeLearningRate(learningRate: number): void {
    writeLearningRate(this.state, learningRate);
  }

  /** The update of `step`, with the learning rate that `writeLearningRate` left: nothing of it comes from the host, so it can be captured. */
  stepAsWritten(): void {
    this.parameters.completeGradients();
    const begin = (state: Tensor): Tensor => {
      stepBegin(state, null, this.#clipped);
      return state;
    };
    noGrad(() =>
      scope(() => {
        const prepared = this.prepare(() => begin(clone(this.state)));
        begin(this.state);
        this.update(prepared);
      }),
    );
    this.#clipped = false;
  }

  /** Forgets the gradients: the next backward overwrites them. */
  zeroGrad(): void {
    this.#clipped = false;
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

  /** Puts a loss (one element) beside the figures of the step, or adds it to the one there: `report()` gives all of them in one read. */
  noteLoss(loss: Tensor, options: { add?: boolean } = {}): void {
    noteLoss(this.state, loss, options.add);
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
