export {
  ConfigError,
  formatRunConfig,
  type LoadOptions,
  loadRunConfig,
  parseRunConfig,
  type RunConfig,
  type TrainConfig,
} from './config.ts';

import './compile.ts';

export type { CompiledOptimizer, CompileOptions, FitOptions, History, RowsEvaluation } from './compile.ts';
export { type EvaluateOptions, type Evaluation, evaluate } from './evaluate.ts';
export { type Contestant, type ExampleOptions, type ExampleResult, runExample } from './examples.ts';
export { EXAMPLES, type ExampleName } from './finetune-tasks.ts';
export type { ConfigChanges } from './ladder.ts';
export type { HostTensor, Inputs, LossContext, Objective, Placed } from './objective.ts';
export { fitMemory, type MemoryFit, type MemoryPlan, type PlanOptions, planDevice, planMemory } from './plan.ts';
export * from './session.ts';
export { dpoObjective, encodePreferences, preferenceMargins } from './tasks/dpo.ts';
export { chooseAnswers, classify, evaluateHead, headObjective, type ScoredData } from './tasks/head.ts';
export type { FinetuneRecords } from './tasks/index.ts';
export { Trainer, type TrainerEvent, type TrainerOptions } from './trainer.ts';
