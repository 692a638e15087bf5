import { computesInBf16, fillPolicy, type Policy } from '../nn/policy.ts';
import type { RunInput } from './config-schema.ts';

type TrainInput = NonNullable<RunInput['train']>;

/** How a model is trained: complete. Steps are optimizer steps; where 0 means off, it says so. */
export interface TrainConfig {
  readonly steps: number;
  /** B: sequences of a micro-batch. */
  readonly batchSize: number;
  /** Micro-batches of a step; the step equals one of B · this many sequences. */
  readonly gradientAccumulation: number;
  /** T: tokens of a sequence; at most the model's. */
  readonly contextLength: number;
  /** The largest, after the warm-up. */
  readonly learningRate: number;
  /** Where the schedule ends. A tenth of `learningRate` unless given. */
  readonly minLearningRate: number;
  /** Steps of linear growth from 0. */
  readonly warmup: number;
  /** `wsd`: warm-up, stable, and a linear decay over the last `decaySteps`. */
  readonly schedule: 'cosine' | 'linear' | 'wsd' | 'constant';
  /** cosine and linear: the step at which `minLearningRate` is reached (all steps unless given). wsd: the length of the decay (a fifth). */
  readonly decaySteps: number;
  readonly optimizer: 'adamw' | 'adam' | 'sgd' | 'lion' | 'muon';
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** Of sgd, with `nesterov` and `dampening`. */
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly dampening: number;
  /** Only on matrices. */
  readonly weightDecay: number;
  /** The matrices of the blocks under `muon`; all else is AdamW with the keys above. Its learning rate follows the same schedule. */
  readonly muon: {
    readonly learningRate: number;
    readonly momentum: number;
    readonly nesterov: boolean;
    /** Of Newton–Schulz. */
    readonly iterations: number;
    readonly weightDecay: number;
  };
  /** Largest global norm of the gradient; 0: off. */
  readonly clip: number;
  readonly labelSmoothing: number;
  readonly zLoss: number;
  /** Steps between evaluations; 0: only at the end. */
  readonly evalEvery: number;
  /** Tokens of an evaluation during training; 0: the whole validation split. */
  readonly evalTokens: number;
  /** Evaluations without progress after which the run stops; 0: never. */
  readonly earlyStop: number;
  /** Steps between checkpoints; 0: only at the end. */
  readonly saveEvery: number;
  /** Newest checkpoints that stay, beside the best one. */
  readonly keep: number;
  /** Steps between samples of text; 0: none. */
  readonly sampleEvery: number;
  /** Steps between rows of the metrics. */
  readonly logEvery: number;
  readonly seed: number;
  /** dtypes: `compute` is that of activations and of the weights' copy, `weights` and `moments` of what is kept from step to step. */
  readonly policy: Policy;
}

/** A tenth, as a person would write it: 6e-5 of 6e-4, not 0.000059999999999999995. */
const tenth = (x: number): number => Number((x / 10).toPrecision(12));

/** Fills in what is missing; some defaults follow from other keys. */
export function fillTrain(input: TrainInput, modelContextLength: number): TrainConfig {
  const steps = input.steps ?? 1000;
  const warmup = input.warmup ?? Math.min(100, Math.floor(steps / 10));
  const learningRate = input.learningRate ?? 6e-4;
  const schedule = input.schedule ?? 'cosine';
  const evalEvery = input.evalEvery ?? 250;
  const weightDecay = input.weightDecay ?? 0.1;
  return {
    steps,
    batchSize: input.batchSize ?? 12,
    gradientAccumulation: input.gradientAccumulation ?? 1,
    contextLength: input.contextLength ?? modelContextLength,
    learningRate,
    minLearningRate: input.minLearningRate ?? (schedule === 'constant' ? learningRate : tenth(learningRate)),
    warmup,
    schedule,
    decaySteps: input.decaySteps ?? (schedule === 'wsd' ? Math.max(1, Math.floor(steps / 5)) : Math.max(steps, warmup)),
    optimizer: input.optimizer ?? 'adamw',
    betas: input.betas ?? [0.9, 0.95],
    epsilon: input.epsilon ?? 1e-8,
    momentum: input.momentum ?? 0.9,
    nesterov: input.nesterov ?? false,
    dampening: input.dampening ?? 0,
    weightDecay,
    muon: { learningRate: 0.02, momentum: 0.95, nesterov: true, iterations: 5, weightDecay, ...input.muon },
    clip: input.clip ?? 1,
    labelSmoothing: input.labelSmoothing ?? 0,
    zLoss: input.zLoss ?? 0,
    evalEvery,
    evalTokens: input.evalTokens ?? 0,
    earlyStop: input.earlyStop ?? 0,
    saveEvery: input.saveEvery ?? evalEvery,
    keep: input.keep ?? 2,
    sampleEvery: input.sampleEvery ?? 0,
    logEvery: input.logEvery ?? 1,
    seed: input.seed ?? 1337,
    policy: fillPolicy(input.policy ?? {}),
  };
}

/** Finetuning takes over from pretraining all but what belongs to the length and the height of that run's schedule. */
export function fillFinetuneTrain(pretrain: TrainInput, own: TrainInput, modelContextLength: number): TrainConfig {
  const { steps, learningRate = 6e-4, minLearningRate, warmup, decaySteps, ...kept } = pretrain;
  const sections = { muon: { ...pretrain.muon, ...own.muon }, policy: { ...pretrain.policy, ...own.policy } };
  return fillTrain({ steps: 200, learningRate: tenth(learningRate), ...kept, ...own, ...sections }, modelContextLength);
}

/** What does not go together with the rest. */
interface Problem {
  /** Below `train`, dotted. */
  field: string;
  expected: string;
  got: unknown;
}

/** What of the policy does not go with the rest. */
export function policyProblems({ optimizer, policy }: TrainConfig): Problem[] {
  const { compute, moments, weights, offload } = policy;
  const problems: Problem[] = [];
  if (optimizer === 'muon' && moments === 'bf16') problems.push({ field: 'policy.moments', expected: 'f32 for muon', got: moments });
  if (optimizer === 'muon' && offload === 'optimizer') problems.push({ field: 'policy.offload', expected: 'none for muon', got: offload });
  if (optimizer === 'muon' && weights === 'bf16') problems.push({ field: 'policy.weights', expected: 'f32 for muon', got: weights });
  else if (!computesInBf16(compute) && weights === 'bf16')
    problems.push({ field: 'policy.weights', expected: `f32 with compute ${compute} (bf16 goes with compute bf16 or fp8)`, got: weights });
  return problems;
}

/** What does not go together; every key alone is sound. */
export function trainProblems(train: TrainConfig, modelContextLength: number): Problem[] {
  const problems = policyProblems(train);
  const bad = (field: keyof TrainConfig, expected: string) => void problems.push({ field, expected, got: train[field] });
  const { warmup, decaySteps, learningRate, schedule } = train;
  if (train.contextLength > modelContextLength) bad('contextLength', `at most model.contextLength (${modelContextLength})`);
  if (train.minLearningRate > learningRate) bad('minLearningRate', `at most learningRate (${learningRate})`);
  // A warm-up longer than the run is no error: it makes short trials of a long recipe possible.
  if ((schedule === 'cosine' || schedule === 'linear') && decaySteps < warmup) bad('decaySteps', `at least warmup (${warmup})`);
  return problems;
}
