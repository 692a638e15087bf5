import { type DeviceInfo, type MemoryHolders, type MemoryStats, native } from '../native/addon.ts';
import { ArgumentError } from '../util/errors.ts';

export type { DeviceInfo, HolderKind, MemoryHolders, MemoryStats } from '../native/addon.ts';

/**
 * `'cpu'`, `'cuda'` (the first card), `'cuda:1'`, or `'auto'`: a GPU where there is one that works, never a simulated one. A dry run, which
 * counts memory and computes nothing: `'plan:cpu'`, or `'plan:90'` for a card of compute capability 9.0 (`'plan:90x132'`: with so many
 * multiprocessors).
 */
export type Device = string;

let defaultDevice: Device = 'auto';

/** Where tensors are made when nobody says. */
export function getDefaultDevice(): Device {
  return defaultDevice;
}

/** @throws when there is no such device here */
export function setDefaultDevice(device: Device): void {
  native.memory(device);
  defaultDevice = device;
}

/** The GPUs that the driver shows, also those that heddle cannot use (`problem` says why). */
export function gpus(): DeviceInfo[] {
  return native.devices();
}

/** What is known of the GPU behind a device name; undefined for the CPU. */
export function gpuInfo(device: Device): DeviceInfo | undefined {
  const name = device === 'cuda' ? 'cuda:0' : device;
  return name === 'cpu' ? undefined : native.devices().find((d) => d.name === name);
}

/** A device as people read it: `cpu`, `cuda:0 (NVIDIA H100)`, `cuda:0 (simulated sm_80)`. */
export function describeDevice(device: Device): string {
  const gpu = gpuInfo(device);
  return gpu ? `${gpu.name} (${gpu.card})` : device;
}

/** 10 × major + minor of a GPU's compute capability, also of one that a dry run stands for; undefined for the CPU. */
export function capabilityOf(device: Device): number | undefined {
  const planned = /^plan:(\d+)/.exec(device);
  return planned ? Number(planned[1]) : gpuInfo(device)?.capability;
}

const half = new Map<Device, boolean>();

/** Whether a device computes in bf16 and f16; otherwise operands of these types are converted to f32 and results back. */
export function computesHalf(device: Device): boolean {
  let known = half.get(device);
  if (known === undefined) {
    known = native.computesHalf(device);
    half.set(device, known);
  }
  return known;
}

/** Memory of a device, in bytes. */
export function memory(device: Device = defaultDevice): MemoryStats {
  return native.memory(device);
}

/** Who holds the memory of a device: what an out-of-memory error says, at any time. Looks at every living tensor of this thread. */
export function memoryHolders(device: Device = defaultDevice): MemoryHolders {
  return native.holders(device);
}

/** Who held the memory of a dry run's device when the most of it was in use. */
export function memoryHoldersAtPeak(device: Device): MemoryHolders {
  return native.holdersAtPeak(device);
}

/** The most bytes that living tensors may hold; 0 lifts the limit. An allocation beyond it throws an out-of-memory error. */
export function setMemoryLimit(bytes: number, device: Device = defaultDevice): void {
  native.setMemoryLimit(device, bytes);
}

/** Starts `memory().peak` anew. */
export function resetPeakMemory(device: Device = defaultDevice): void {
  native.resetPeak(device);
}

/** Gives cached memory back to the system. */
export function releaseMemory(device: Device = defaultDevice): void {
  native.releaseCache(device);
}

/** Waits until the device has done all that was enqueued. Rejects with the first error that it found. */
export function synchronize(device: Device = defaultDevice): Promise<void> {
  return native.synchronize(device);
}

/** How many threads compute on the CPU: 1 to 1024. Results are the same bits for every number. */
export function setThreads(threads: number): void {
  if (!Number.isInteger(threads) || threads < 1)
    throw new ArgumentError(`setThreads: threads must be an integer of at least 1, got ${threads}`);
  native.setThreads(threads);
}
