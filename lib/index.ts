import './ops/methods.ts';

export * from './autograd/index.ts';
export * as checkpoint from './checkpoint/index.ts';
export * as data from './data/index.ts';
export * from './models/index.ts';
export * as nn from './nn/index.ts';
export * as ops from './ops/index.ts';
export * as optim from './optim/index.ts';
export * from './tensor/index.ts';
export * as tokenizer from './tokenizer/index.ts';
export * from './train/index.ts';
export * from './util/errors.ts';
export { version } from './util/version.ts';
