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
export * from './session.ts';
export { Trainer, type TrainerEvent, type TrainerOptions } from './trainer.ts';
