// A run from its configuration: the steps that the command line offers, callable from a program.
export { type FinetuneOptions, finetune, finetuner } from './finetune.ts';
export { findCheckpoint, modelOfCheckpoint, type OpenModel, type OpenModelOptions, openModel } from './open.ts';
export { type PreparedRun, prepareRun } from './prepare.ts';
export { evaluateRun, type PretrainOptions, pretrain, pretrainer, type RunHooks, type RunResult } from './pretrain.ts';
export { type ResumeVerdict, verifyResume } from './verify.ts';
