import './ops/methods.ts';

export { type BackwardOptions, backward, enableGrad, isGradEnabled, noGrad } from './autograd/index.ts';
export * as checkpoint from './checkpoint/index.ts';
export { type LoadPretrainedOptions, loadPretrained, type SavePretrainedOptions, savePretrained } from './checkpoint/pretrained.ts';
export { loadWeights, saveWeights } from './checkpoint/weights.ts';
export * as data from './data/index.ts';
export * from './generate/index.ts';
export * from './models/index.ts';
export * as nn from './nn/index.ts';
export { type CustomFunction, defineFunction } from './ops/function.ts';
export * as ops from './ops/index.ts';
export * from './optim/index.ts';
export * from './tensor/index.ts';
export * from './tokenizer/index.ts';
export { fillTrain as trainConfig } from './train/config-defaults.ts';
export * from './train/index.ts';
export * from './util/errors.ts';
export { version } from './util/version.ts';
