import {
  type Checkpoint,
  discardLaterCheckpoints,
  type Json,
  pruneCheckpoints,
  resetBestCheckpoint,
  saveCheckpoint,
  setBestCheckpoint,
} from '../checkpoint/index.ts';
import { restoreTensors, tensorEntries } from '../checkpoint/tensors.ts';
import type { Batch, TokenData } from '../data/index.ts';
import { type GPT, loraConfigOf } from '../models/index.ts';
import type { Module, Policy } from '../nn/index.ts';
import type { StepReport } from '../ops/optim.ts';
import { Adam, AdamW, Lion, Muon, type Optimizer, SGD, schedule } from '../optim/index.ts';
import { synchronize, type Tensor } from '../tensor/index.ts';
import type { ChatTemplate, Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError, HeddleError, isOfDevice, isOutOfMemory } from '../util/errors.ts';
import type { TrainConfig } from './config.ts';
import { policyProblems } from './config-defaults.ts';
import type { Evaluation } from './evaluate.ts';
import { changesText, nextChanges } from './ladder.ts';
import { languageModel, type Objective } from './objective.ts';
import { checkPolicy, LossScale } from './policy.ts';
import { encodeChatTemplate, encodeModel, readModel } from './saved-model.ts';
import { type Progress, restoreLoader, savedState } from './saved-state.ts';
import { Steps } from './step.ts';

/** Where batches come from: `Loader` or `ExamplesLoader`. */
export interface BatchSource {
  next(): Batch;
  /** Where it stands: plain data. */
  state(): object;
  restore(state: never): void;
  readonly epoch: number;
}

/** What happens in a run, in order. `step` counts optimizer steps done. */
export type TrainerEvent =
  | {
      type: 'step';
      step: number;
      /** Mean over the step's target tokens, in nats, before the update. */
      loss: number;
      learningRate: number;
      /** Global norm before clipping. */
      gradNorm: number;
      /** The gradients were not finite: parameters stayed. */
      skipped: boolean;
      /** Factor that the gradients carried until the update. */
      lossScale: number;
      /** Since the last step event, evaluations and saving left out. */
      tokensPerSecond: number;
      /** Passes over the data. */
      epoch: number;
    }
  | ({ type: 'evaluation'; step: number; best: boolean } & Evaluation)
  | { type: 'checkpoint'; step: number; folder: string }
  | { type: 'end'; step: number; reason: 'steps' | 'early stop' | 'aborted' | 'time' };

export interface TrainerOptions {
  model: GPT;
  data: BatchSource;
  train: TrainConfig;
  /** What is minimised. Default: the cross-entropy of the next token. */
  objective?: Objective;
  /** In place of `train.policy`; not checked against what the device is good at: the CPU takes bf16 too, and is slow with it. */
  policy?: Policy;
  /** Evaluated whole every `train.evalEvery` steps. */
  validation?: TokenData | null;
  /** Counts bytes for bits per byte, and goes into checkpoints. */
  tokenizer?: Tokenizer;
  /** Goes into checkpoints. */
  chatTemplate?: ChatTemplate | null;
  /** Attention stays within documents, in evaluation too. */
  documents?: boolean;
  /** Folder of checkpoints; none: nothing is saved. */
  checkpoints?: string;
  /** Goes into checkpoints. */
  config?: Json;
  /** Stops after the current step; a checkpoint is saved. */
  signal?: AbortSignal;
  /** Stops after so many minutes; the schedule stays that of all steps. */
  minutes?: number;
  /** Called before each checkpoint is written: makes durable what must not lag behind it, such as the log of the steps. */
  beforeSave?: () => void | Promise<void>;
  /** Steps that are not waited for one by one: `step` events come every `train.logEvery` steps. */
  onEvent?: (event: TrainerEvent) => void;
}

/** The optimizer that a configuration names, on a model's parameters. */
export function makeOptimizer(model: Module, t: TrainConfig): Optimizer {
  const { learningRate: lr, betas, epsilon: eps, weightDecay, momentum, nesterov, dampening } = t;
  const [problem] = policyProblems(t);
  if (problem) throw new ArgumentError(`train.${problem.field} must be ${problem.expected}, got ${problem.got}`);
  const kept = {
    moments: t.policy.moments ?? 'f32',
    weights: t.policy.weights ?? 'f32',
    offload: t.policy.offload ?? 'none',
    seed: t.seed,
  };
  switch (t.optimizer) {
    case 'adamw':
      return new AdamW(model, { lr, betas, eps, weightDecay, ...kept });
    case 'adam':
      return new Adam(model, { lr, betas, eps, weightDecay, ...kept });
    case 'lion':
      return new Lion(model, { lr, betas, weightDecay, ...kept });
    case 'sgd':
      return new SGD(model, { lr, momentum, nesterov, dampening, weightDecay, ...kept });
    case 'muon': {
      const { learningRate, ...own } = t.muon;
      return new Muon(model, { lr: learningRate, ...own, adamw: { lr, betas, eps, weightDecay } });
    }
  }
}

/**
 * A training run as an object: `for await (const event of trainer)` or `await trainer.run()`. Between two events the model may
 * be used (sampled, evaluated): nothing runs ahead. The same seed and data give the same bits, however often the run was
 * stopped and resumed.
 */
export class Trainer implements AsyncIterable<TrainerEvent> {
  readonly model: GPT;
  readonly optimizer: Optimizer;
  readonly #o: TrainerOptions;
  /** With the policy in use. */
  readonly #train: TrainConfig;
  readonly #objective: Objective;
  readonly #steps: Steps;
  readonly #learningRate: (step: number) => number;
  readonly #lossScale: LossScale;
  #step = 0;
  #progress: Progress = { bestLoss: null, bestStep: null, withoutProgress: 0 };
  #saved = -1;
  /** What the last step calls for and is not done yet. */
  #owed = { evaluation: false, checkpoint: false, best: false };

  constructor(options: TrainerOptions) {
    const { train, model } = options;
    const policy = options.policy ?? checkPolicy(train.policy, model.device);
    if (train.contextLength > model.config.contextLength)
      throw new ArgumentError(`train.contextLength must be at most the model's ${model.config.contextLength}, got ${train.contextLength}`);
    this.#o = options;
    this.#train = { ...train, policy };
    this.model = model;
    this.#objective = options.objective ?? languageModel(model, options);
    this.#objective.module.computeIn(policy.compute);
    model.recompute = policy.recompute ?? 'none';
    model.headRows = policy.headRows ?? 0;
    this.optimizer = makeOptimizer(this.#objective.module, this.#train);
    this.#lossScale = new LossScale(policy);
    this.#learningRate = schedule({ ...train, kind: train.schedule });
    this.#steps = new Steps({ model, objective: this.#objective, optimizer: this.optimizer, train, graph: policy.graph });
  }

  /** Optimizer steps done. */
  get step(): number {
    return this.#step;
  }

  /** All that is trained and saved: the model, or what holds it. */
  get module(): Module {
    return this.#objective.module;
  }

  /**
   * How many parts of a step are captured as graphs (see `Policy.graph`), and why none can be, or the GPU runs their tasks one by one; empty:
   * all is well, or nobody wants it. What is changed by hand between steps and is not in a tensor's elements, such as a layer that is replaced,
   * captured steps do not see.
   */
  get graphs(): { captured: number; problem: string } {
    return this.#steps.graphs.state;
  }

  /** Of the options. */
  get tokenizer(): Tokenizer | undefined {
    return this.#o.tokenizer;
  }

  /** Lowest validation loss so far. */
  get bestLoss(): number | null {
    return this.#progress.bestLoss;
  }

  /**
   * One optimizer step, whole or not at all: when it fails (out of memory, most likely), parameters, optimizer and the place in the data
   * are as before, and the gradients are forgotten. Waits for the step's one copy from the device. What captured graphs hold may be what is
   * missing: without them it is tried again.
   */
  async #runStep(): Promise<StepReport> {
    const { data, train } = this.#o;
    const place = data.state();
    try {
      const batches = Array.from({ length: train.gradientAccumulation }, () => data.next());
      const [step, lossScale] = [this.#step, this.#lossScale.value];
      await this.#steps.enqueue(batches, { step, lossScale, learningRate: this.#learningRate(step) });
      return await this.optimizer.report();
    } catch (error) {
      await this.#takeBack(place).catch(() => undefined); // the first error is the one to tell
      if (isOutOfMemory(error) && this.#steps.graphs.release()) return this.#runStep();
      if (isOutOfMemory(error)) throw this.#advised(error);
      throw isOfDevice(error) && this.#steps.graphs.active ? this.#inReplay(error) : error;
    }
  }

  /** The error of a card that failed in a replay, with how to find the op. */
  #inReplay(cause: Error): Error {
    const hint = `It was in step ${this.#step + 1}, whose ops were replayed as captured graphs. With train.policy.graph: false, and CUDA_LAUNCH_BLOCKING=1 in the environment, the same run names the op.`;
    return new HeddleError('ERR_HEDDLE_DEVICE', cause.message, { hint, cause });
  }

  /** The error with what would save memory next. */
  #advised(cause: Error): Error {
    const next = nextChanges(this.#train, this.model.device);
    if (!next) return cause;
    const hint = `This saves memory next: ${changesText(next)}. \`heddle inspect memory CONFIG.yaml --limit SIZE\` finds what fits.`;
    return new HeddleError('ERR_HEDDLE_OUT_OF_MEMORY', cause.message, { hint, cause });
  }

  async #takeBack(place: object): Promise<void> {
    this.#o.data.restore(place as never);
    this.optimizer.zeroGrad();
    await synchronize(this.model.device).catch(() => undefined); // nothing of the step runs from here on, nor its error comes later
    // Kernels between an error and the wait were skipped: also what brought the state on the device up to date.
    const { updates } = await this.optimizer.report();
    this.optimizer.restore(updates);
  }

  async #evaluate(maxTokens: number): Promise<TrainerEvent & { type: 'evaluation' }> {
    const evaluate = () => (this.#objective.evaluate as NonNullable<Objective['evaluate']>)(maxTokens);
    const result = await evaluate().catch((error: unknown) => {
      if (isOutOfMemory(error) && this.#steps.graphs.release()) return evaluate();
      throw error;
    });
    const { bestLoss, withoutProgress } = this.#progress;
    const best = Number.isFinite(result.loss) && (bestLoss === null || result.loss < bestLoss);
    this.#progress = best
      ? { bestLoss: result.loss, bestStep: this.#step, withoutProgress: 0 }
      : { ...this.#progress, withoutProgress: withoutProgress + 1 };
    return { type: 'evaluation', step: this.#step, best, ...result };
  }

  #optimizerTensors(): Map<string, Tensor> {
    const set = this.optimizer.parameters;
    const tensors = new Map<string, Tensor>();
    for (const [name, buffer] of this.optimizer.buffers)
      for (const place of set.placements) tensors.set(`${name}.${place.name}`, set.partOf(buffer, place));
    return tensors;
  }

  /** Saves all that resuming needs; gives the folder. */
  async save(): Promise<string> {
    const { checkpoints, config = null, data, tokenizer, chatTemplate, train } = this.#o;
    if (!checkpoints) throw new ArgumentError('Trainer.save: the option checkpoints must name a folder');
    await this.#o.beforeSave?.();
    const { updates } = await this.optimizer.report();
    const views = this.#optimizerTensors();
    try {
      const folder = await saveCheckpoint(checkpoints, {
        step: this.#step,
        config: (config ?? { model: this.model.config }) as Json,
        loader: data.state() as Json,
        rng: { seed: train.seed },
        state: { ...this.#progress, updates, lossScale: this.#lossScale.state() },
        files: {
          'model.safetensors': { tensors: tensorEntries(this.#objective.module.namedTensors()) },
          'optimizer.safetensors': { tensors: tensorEntries(views) },
          'config.json': encodeModel(this.model, this.#objective.module),
          ...(tokenizer && { 'tokenizer.json': JSON.stringify(tokenizer.toJSON()) }),
          ...(chatTemplate && { 'tokenizer_config.json': encodeChatTemplate(chatTemplate) }),
        },
      });
      this.#saved = this.#step;
      return folder;
    } finally {
      for (const t of views.values()) t.dispose();
    }
  }

  async #saveAndPrune(best: boolean): Promise<TrainerEvent & { type: 'checkpoint' }> {
    const folder = await this.save();
    const dir = this.#o.checkpoints as string;
    if (best) await setBestCheckpoint(dir, { step: this.#step, value: this.#progress.bestLoss as number });
    await pruneCheckpoints(dir, { keep: this.#o.train.keep, step: this.#step });
    return { type: 'checkpoint', step: this.#step, folder };
  }

  /** Goes on from a checkpoint of the same run, bit for bit. Later checkpoints of its folder are removed. */
  async resume(checkpoint: Checkpoint): Promise<void> {
    const { step, loader } = checkpoint.manifest;
    const { seed, updates, progress, lossScale } = savedState(checkpoint);
    const { bestLoss, bestStep } = progress;
    if (seed !== this.#o.train.seed)
      throw new HeddleError(
        'ERR_HEDDLE_RESUME',
        `${checkpoint.folder}: train.seed must be ${seed} as in this run so far, got ${this.#o.train.seed}`,
      );
    const saved = await readModel(checkpoint);
    const [was, is] = [saved.lora, loraConfigOf(this.model)].map((lora) => JSON.stringify(lora));
    if (was !== is)
      throw new HeddleError('ERR_HEDDLE_RESUME', `${checkpoint.folder}: LoRA must be ${was} as in this run so far, got ${is}`);
    await restoreTensors(checkpoint.path('model.safetensors'), this.#objective.module.namedTensors());
    const views = this.#optimizerTensors();
    try {
      await restoreTensors(checkpoint.path('optimizer.safetensors'), views);
    } finally {
      for (const t of views.values()) t.dispose();
    }
    restoreLoader(checkpoint, () => this.#o.data.restore(loader as never));
    this.#objective.module.refreshCompute();
    this.optimizer.restore(updates);
    if (lossScale) this.#lossScale.restore(lossScale);
    this.#progress = progress;
    this.#step = step;
    this.#saved = step;
    this.#owed = { evaluation: false, checkpoint: false, best: false };
    await synchronize(this.model.device);
    const { checkpoints } = this.#o;
    if (!checkpoints) return;
    // The process may have ended between a checkpoint, the note that it is the best one, and the removal of older ones.
    await resetBestCheckpoint(checkpoints, bestStep === null || bestLoss === null ? null : { step: bestStep, value: bestLoss });
    await discardLaterCheckpoints(checkpoints, step);
    await pruneCheckpoints(checkpoints, { keep: this.#o.train.keep, step });
  }

  /** Trains to the end and gives the last event. */
  async run(): Promise<TrainerEvent> {
    let last: TrainerEvent = { type: 'end', step: this.#step, reason: 'steps' };
    for await (const event of this) last = event;
    return last;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TrainerEvent, void, void> {
    for await (const event of this.#events()) {
      this.#o.onEvent?.(event);
      yield event;
    }
  }

  async *#events(): AsyncGenerator<TrainerEvent, void, void> {
    const { train, signal, minutes, data, checkpoints } = this.#o;
    const validated = Boolean(this.#objective.evaluate);
    const deadline = minutes === undefined ? Number.POSITIVE_INFINITY : performance.now() + minutes * 60_000;
    const stepTokens = train.batchSize * train.contextLength * train.gradientAccumulation;
    let reason: (TrainerEvent & { type: 'end' })['reason'] = 'steps';
    let busy = 0;
    let counted = 0;
    let evaluated = -1; // the step at which the whole split was last evaluated
    const due = (every: number): boolean => every > 0 && this.#step % every === 0;

    for (;;) {
      // What belongs to the step before: first of all when an evaluation or a save has failed, and the run goes on.
      const last = this.#step === train.steps;
      if (this.#owed.evaluation) {
        const tokens = last ? 0 : train.evalTokens;
        const event = await this.#evaluate(tokens);
        if (tokens === 0) evaluated = this.#step;
        this.#owed = { evaluation: false, checkpoint: this.#owed.checkpoint || event.best, best: event.best };
        yield event;
      }
      if (checkpoints && this.#owed.checkpoint) {
        const event = await this.#saveAndPrune(this.#owed.best);
        this.#owed.checkpoint = false;
        yield event;
      }
      if (this.#step >= train.steps) break;
      if (train.earlyStop > 0 && this.#progress.withoutProgress >= train.earlyStop) reason = 'early stop';
      else if (signal?.aborted) reason = 'aborted';
      else if (performance.now() >= deadline) reason = 'time';
      if (reason !== 'steps') break;
      const started = performance.now();
      const learningRate = this.#learningRate(this.#step);
      const { gradNorm, skipped, lossScale, ...report } = await this.#runStep();
      this.#step++;
      counted++;
      const end = this.#step === train.steps;
      this.#owed = {
        evaluation: validated && (due(train.evalEvery) || end),
        checkpoint: due(train.saveEvery) || end,
        best: false,
      };
      this.#lossScale.update(skipped);
      busy += performance.now() - started;
      if (due(train.logEvery) || end) {
        const tokensPerSecond = (stepTokens * counted * 1000) / busy;
        [busy, counted] = [0, 0];
        yield {
          ...{ type: 'step', step: this.#step, loss: report.loss / lossScale, learningRate, gradNorm, skipped, lossScale },
          ...{ tokensPerSecond, epoch: data.epoch },
        };
      }
    }
    let best = false;
    if (reason === 'time' && validated && evaluated !== this.#step) {
      const event = await this.#evaluate(0);
      best = event.best;
      yield event;
    }
    if (checkpoints && (best || this.#saved !== this.#step)) yield await this.#saveAndPrune(best);
    yield { type: 'end', step: this.#step, reason };
  }

  /** Frees the optimizer's buffers. The model keeps its parameters and may be trained further. */
  dispose(): void {
    this.#steps.dispose();
    this.optimizer.dispose();
  }
}
