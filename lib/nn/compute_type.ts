import { computesHalf, type Device } from '../tensor/device.ts';
import { type Compute, computesInBf16 } from './policy.ts';

/** The type that activations and the copy of the parameters have on a device. */
export function computeType(compute: Compute, device: Device): 'f32' | 'bf16' | 'f16' {
  if (computesInBf16(compute)) return computesHalf(device) ? 'bf16' : 'f32';
  return compute === 'f16' ? 'f16' : 'f32';
}
