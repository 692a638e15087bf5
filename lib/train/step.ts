import { backward } from '../autograd/index.ts';
import type { Batch } from '../data/index.ts';
import { flopsPerToken, type GPT } from '../models/index.ts';
import type { Optimizer } from '../optim/index.ts';
import { RandomSource, scope, synchronize, type Tensor } from '../tensor/index.ts';
import type { TrainConfig } from './config.ts';
import type { Inputs, Objective } from './objective.ts';
import { StepGraphs, shapesOf } from './step-graphs.ts';

export interface StepsOptions {
  readonly model: GPT;
  readonly objective: Objective;
  readonly optimizer: Optimizer;
  readonly train: Pick<TrainConfig, 'seed' | 'clip' | 'batchSize' | 'contextLength'>;
  /** The parts of a step are captured and replayed. Default: where that is worth it. */
  readonly graph?: boolean | undefined;
}

/** What a step takes from the host beside its batches. */
export interface StepNumbers {
  /** Steps before this one. */
  readonly step: number;
  readonly learningRate: number;
  /** Factor on the loss, by which the optimizer divides. */
  readonly lossScale: number;
}

/** Operations of a micro-batch that takes the CPU some tenth of a second. */
const LONG = 2e10;

/**
 * Replaying keeps a GPU from waiting for JavaScript, and JavaScript from taking a core from the CPU's kernels. Micro-batches that take the CPU
 * long do not feel it, and there memory that an evaluation can use counts for more.
 */
function replayPays({ model, train }: Pick<StepsOptions, 'model' | 'train'>): boolean {
  const { batchSize: B, contextLength: T } = train;
  const onCPU = model.device === 'cpu' || model.device === 'plan:cpu';
  return !onCPU || flopsPerToken(model.config, T, 'llmc') * B * T < LONG;
}

/** Enqueues optimizer steps: forward and backward of every micro-batch, then the update. */
export class Steps {
  readonly #o: StepsOptions;
  readonly #random: RandomSource;
  readonly graphs: StepGraphs;

  constructor(options: StepsOptions) {
    const { model, train, graph = replayPays(options) } = options;
    this.#o = options;
    this.#random = new RandomSource(train.seed, model.device);
    this.graphs = new StepGraphs(model.device, graph);
  }

  /**
   * Enqueues one optimizer step, with its loss in the optimizer's report. Of its micro-batches at most two are enqueued and not
   * done: the event loop never stands still before a full queue. The last one is not waited for: if it fails, the update is skipped.
   */
  async enqueue(batches: readonly Batch[], { step, learningRate, lossScale }: StepNumbers): Promise<void> {
    const { model, objective, optimizer, train } = this.#o;
    const counts = batches.map((batch) => objective.counts(batch));
    const totals = (counts[0] as readonly number[]).map((_, term) => counts.reduce((n, count) => n + (count[term] as number), 0));
    const inputs = batches.map((batch) => objective.inputs(batch));
    // What differs from step to step goes into device memory before anything reads it.
    this.#random.begin(step);
    optimizer.lossScale = lossScale;
    optimizer.writeLearningRate(learningRate);
    // One factor for the whole step, not for the micro-batch: accumulation then equals the full batch.
    const scales: Inputs = Object.fromEntries(
      totals.map((count, term) => [term, { data: Float32Array.of(count > 0 ? lossScale / count : 0), shape: [] }]),
    );
    this.graphs.begin(this.#kindOf(inputs));
    let done: Promise<unknown> = Promise.resolve();
    for (const [i, own] of inputs.entries()) {
      this.#enqueueBatch(own, scales, i === 0);
      await done;
      if (i === inputs.length - 1) break;
      done = synchronize(model.device);
      done.catch(() => undefined); // told when it is waited for
    }
    this.graphs.run({ name: 'update', variant: this.#gradientsText() }, this.#snapshot, () => {
      optimizer.clipGradNorm(train.clip);
      optimizer.stepAsWritten();
    });
    optimizer.zeroGrad();
  }

  /** Forward and backward of a micro-batch; its loss goes to the report's. */
  #enqueueBatch(inputs: Inputs, scales: Inputs, first: boolean): void {
    const { objective, optimizer } = this.#o;
    scope(() => {
      const placed = this.graphs.place(inputs);
      const context = { random: this.#random, scales: Object.values(this.graphs.place(scales)) as Tensor[] };
      const name = `${first ? 'first' : 'further'} micro-batch (${shapesOf(inputs)})`;
      this.graphs.run({ name, variant: `${this.#random.stream} ${this.#gradientsText()}` }, this.#snapshot, () => {
        objective.module.train();
        const loss = objective.loss(placed, context);
        backward(loss);
        optimizer.noteLoss(loss, { add: !first });
      });
    });
  }

  /** What a step's ops follow from, beside device memory; null: somebody wants to hear of its buckets, which a replay would not tell. */
  #kindOf(inputs: readonly Inputs[]): string | null {
    const { model, optimizer } = this.#o;
    return optimizer.parameters.watched ? null : [...inputs.map(shapesOf), model.recompute].join('; ');
  }

  /** Of each parameter whether backward overwrites its gradient (0) or adds to it (1), or it is frozen (-). */
  #gradientsText(): string {
    return this.#o.optimizer.parameters.placements
      .map(({ parameter }) => (parameter.requiresGrad ? (parameter.leaf?.filled ? 1 : 0) : '-'))
      .join('');
  }

  /** What a part of a step changes that is not in device memory: which gradients there are, and how many draws were made. */
  readonly #snapshot = (): (() => void) => {
    const leaves = this.#o.optimizer.parameters.placements.map(({ parameter: { leaf } }) => ({ leaf, filled: leaf?.filled ?? false }));
    const { stream } = this.#random;
    return () => {
      for (const { leaf, filled } of leaves) if (leaf) leaf.filled = filled;
      this.#random.stream = stream;
    };
  };

  dispose(): void {
    this.graphs.release();
    this.#random.dispose();
  }
}
