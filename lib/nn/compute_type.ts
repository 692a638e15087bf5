import { computesHalf, type Device } from '../tensor/device.ts';
import type { Compute } from './policy.ts';

/** The type that activations and the copy of the parameters have on a device. */
export function computeType(compute: Compute, device: Device): 'f32' | 'bf16' | 'f16' {
  return compute === 'tf32' || (compute === 'bf16' && !computesHalf(device)) ? 'f32' : compute;
}
