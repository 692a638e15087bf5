// The devices that tests run on. HEDDLE_TEST_DEVICE=cuda:1 makes a whole run use that one, also where a test names none; without
// it tests of kernels run on the CPU and on every GPU that the addon can use.
import { native } from '../../lib/native/addon.ts';
import { type Device, describeDevice, gpus, setDefaultDevice } from '../../lib/tensor/device.ts';

const chosen = process.env.HEDDLE_TEST_DEVICE;
setDefaultDevice(chosen ?? 'cpu');

/** Names as tensors give them: `cpu`, `cuda:0`. At another instruction set than the machine's best only the CPU is of interest. */
export const EVERY_DEVICE: readonly Device[] =
  chosen !== undefined
    ? [chosen === 'cuda' ? 'cuda:0' : chosen]
    : ['cpu', ...(process.env.HEDDLE_CPU ? [] : gpus().filter((d) => d.problem === ''))].map((d) => (typeof d === 'string' ? d : d.name));

/** Those that tests of kernels run on. `npm test` gives each card a run of its own, and leaves it out of the run of the whole suite. */
export const DEVICES: readonly Device[] =
  process.env.HEDDLE_TEST_CARDS === 'apart' ? EVERY_DEVICE.filter((device) => device === 'cpu') : EVERY_DEVICE;

/** The one that a test uses which does not run on each: what the run was asked for, or the CPU. */
export const DEVICE: Device = EVERY_DEVICE[0] as Device;

/** For titles: nothing for the CPU, `, on cuda:0 (simulated sm_80)` for others. */
export function onDevice(device: Device): string {
  return device === 'cpu' ? '' : `, on ${describeDevice(device)}`;
}

const simulated = new Set(gpus().flatMap((d) => (d.simulated ? [d.name] : [])));

/** Whether a device is a simulated card: thousands of times slower than a real one. */
export function isSimulated(device: Device): boolean {
  return simulated.has(device);
}

/** Whether a device computes in a half precision type without converting: f16 on every card, bf16 from compute capability 8.0 on. */
export function computesIn(device: Device, dtype: 'bf16' | 'f16'): boolean {
  const gpu = gpus().find((d) => d.name === device);
  return native.computesHalf(device) && (dtype === 'f16' || (gpu?.capability ?? 0) >= 80);
}
