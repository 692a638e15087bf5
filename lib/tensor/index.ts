export { type Captured, CapturedGraph, type CaptureOptions, capture } from './capture.ts';
export {
  arange,
  empty,
  emptyOnHost,
  full,
  type NestedNumbers,
  normal,
  ones,
  rand,
  randn,
  type TensorOptions,
  tensor,
  zeros,
} from './create.ts';
export {
  capabilityOf,
  computesHalf,
  type Device,
  type DeviceInfo,
  describeDevice,
  getDefaultDevice,
  gpuInfo,
  gpus,
  type HolderKind,
  type MemoryHolders,
  type MemoryStats,
  memory,
  memoryHolders,
  memoryHoldersAtPeak,
  releaseMemory,
  resetPeakMemory,
  setDefaultDevice,
  setMemoryLimit,
  setThreads,
  synchronize,
} from './device.ts';
export { type DType, isFloat, type TensorData } from './dtype.ts';
export { manualSeed, RandomSource } from './random.ts';
export type { Shape } from './shape.ts';
export { isTensor, keep, scope, Tensor } from './tensor.ts';
