export { type BackwardOptions, backward } from './backward.ts';
export { GradBuffer } from './buffer.ts';
export { enableGrad, isGradEnabled, noGrad } from './mode.ts';
export { type Backward, record, record1, tracks } from './node.ts';
export { type Draws, recompute } from './recompute.ts';
export { gradientType, type Sink } from './sink.ts';
