import { COMPUTES, type Compute, computesInBf16, type Policy } from '../nn/policy.ts';
import { capabilityOf, computesHalf, type Device, describeDevice } from '../tensor/device.ts';
import { ArgumentError } from '../util/errors.ts';

/** bf16 arithmetic begins with this compute capability. */
const BF16_CAPABILITY = 80;

/** What a device computes in without converting activations. TF32 is always allowed, bf16 and fp8 on the CPU: where there is none of it, f32 is. */
function supported(device: Device): readonly Compute[] {
  if (!computesHalf(device)) return ['f32', 'tf32', 'bf16', 'fp8'];
  const capability = capabilityOf(device) ?? BF16_CAPABILITY;
  return COMPUTES.filter((compute) => !computesInBf16(compute) || capability >= BF16_CAPABILITY);
}

/** @throws ArgumentError when the device does not compute so, with what to use instead */
export function checkPolicy(policy: Policy, device: Device): Policy {
  const { compute } = policy;
  const can = supported(device);
  if (can.includes(compute)) return policy;
  const where = device === 'cpu' ? 'the CPU' : describeDevice(device);
  const hint = can.includes('f16') ? `bf16 and fp8 need compute capability 8.0; use f16.` : `${compute} needs a GPU.`;
  throw new ArgumentError(`train.policy.compute must be ${can.join(' or ')} on ${where}, got ${compute}`, { hint });
}

/** What a run's model is evaluated in: as it was trained, where the device does so, otherwise f32. */
export function computeOn(device: Device, compute: Compute): Compute {
  return supported(device).includes(compute) ? compute : 'f32';
}

/** Steps without overflow after which a dynamic loss scale doubles. */
const GROWTH_INTERVAL = 2000;
const [FIRST, SMALLEST, LARGEST] = [2 ** 16, 1, 2 ** 24];

/**
 * The factor on the loss of each step. A dynamic one halves when gradients overflowed (that step is skipped) and doubles after many
 * steps without (Micikevicius et al. 2018).
 */
export class LossScale {
  readonly #dynamic: boolean;
  #value: number;
  /** Steps since it last changed. */
  #steady = 0;

  constructor(policy: Policy) {
    this.#dynamic = policy.lossScale === 'dynamic';
    this.#value = policy.lossScale === 'dynamic' ? FIRST : policy.lossScale;
  }

  get value(): number {
    return this.#value;
  }

  /** After a step. */
  update(skipped: boolean): void {
    if (!this.#dynamic) return;
    this.#steady = skipped ? 0 : this.#steady + 1;
    if (skipped) this.#value = Math.max(this.#value / 2, SMALLEST);
    else if (this.#steady === GROWTH_INTERVAL) {
      this.#value = Math.min(this.#value * 2, LARGEST);
      this.#steady = 0;
    }
  }

  /** For checkpoints: plain data. */
  state(): { value: number; steady: number } {
    return { value: this.#value, steady: this.#steady };
  }

  restore(state: { value: number; steady: number }): void {
    if (!this.#dynamic) return; // a fixed one is what the configuration says
    this.#value = state.value;
    this.#steady = state.steady;
  }
}
