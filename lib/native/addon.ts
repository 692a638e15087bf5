import { loadAddon, type NativeInfo } from './load.ts';
import type { DeviceName, DType, Handle, Ops } from './ops.ts';

export type { DeviceName, DType, Handle, Ops } from './ops.ts';

/** Memory of one device, in bytes. */
export interface MemoryStats {
  /** In living tensors, as rounded by the allocator, and what captured graphs keep beside them. */
  used: number;
  /** The most that `used` has been since the start or `resetPeakMemory`. */
  peak: number;
  /** Free, kept for the next allocation. */
  cached: number;
  /** The largest free block. */
  largest: number;
  /** What `setMemoryLimit` set; 0: no limit. */
  limit: number;
  /** Living allocations. */
  blocks: number;
  /** Of `used`: what captured graphs keep for their replays, beside living tensors. */
  graphs: number;
  /** In living tensors of a GPU that lie in the host's memory, pinned; not in `used`. See `train.policy.offload`. */
  onHost: number;
  /** Copies from the device to the host enqueued so far: what a program waits for. */
  copiesOut: number;
  /** Living tensors of this thread, on all devices. */
  tensors: number;
}

/** What a tensor's memory is for; the first of these counts where it is for several. */
export type HolderKind =
  | 'parameters'
  | 'optimizer state'
  | 'gradients'
  | 'key-value caches'
  | 'saved for backward'
  | 'gradients on their way'
  | 'other tensors'
  | 'captured graphs';

/** Who holds the memory of a device. */
export interface MemoryHolders {
  /** Bytes by kind, as rounded by the allocator. */
  bytes: Record<HolderKind, number>;
  /** Bytes of an op that is not done yet. */
  underway: number;
  /** The largest buffers, first the largest: what they are, and the op that made them. */
  largest: { kind: HolderKind; bytes: number; dtype: DType; shape: number[]; op: string }[];
}

/** A GPU that the driver shows. */
export interface DeviceInfo {
  /** `'cuda:0'`: what to pass as device. */
  name: string;
  /** What the driver calls it; `simulated sm_80` for a simulated one. */
  card: string;
  /** 10 × major + minor of its compute capability. */
  capability: number;
  /** Bytes, all of it and what is free now. */
  memory: number;
  free: number;
  multiprocessors: number;
  /** Why heddle cannot use it; empty: it can. */
  problem: string;
  simulated: boolean;
}

/** What the runs of one op took together. */
export interface OpTime {
  op: string;
  count: number;
  ms: number;
}

/** What became of captured ops. */
export interface GraphState {
  /** How many tasks of the device's worker they are. */
  tasks: number;
  /** The device launches them as one, a CUDA graph; false: it runs them one by one, as the CPU does. */
  captured: boolean;
  /** Why a GPU runs them one by one; empty: it does not, or nothing was replayed yet. */
  problem: string;
}

/** A kernel as it was launched. */
export interface LaunchRecord {
  kernel: string;
  grid: [number, number, number];
  /** Per block. */
  threads: number;
  /** Bytes of dynamic shared memory. */
  shared: number;
}

/** The addon: the ops (generated from their C++ signatures) and what is no op. */
export interface Native extends Ops {
  dispose(handle: Handle): void;
  /** Says what the tensor behind this handle is for: out-of-memory errors tell it. */
  hold(x: Handle, as: HolderKind): void;
  /** `alias`, held as saved for backward. */
  save(x: Handle): Handle;
  /** Where the handles made from now on begin, for `rollback`. */
  mark(): number;
  /** Frees every living handle made since the mark: what an operation that failed halfway leaves behind. */
  rollback(mark: number): void;
  shape(x: Handle): number[];
  strides(x: Handle): number[];
  dtype(x: Handle): DType;
  device(x: Handle): DeviceName;
  /** Copies the bytes at once; they reach the device in stream order. */
  write(out: Handle, data: ArrayBufferView | ArrayBuffer): void;
  /**
   * Reads bytes of an open file, by its descriptor, straight into a dense tensor of the CPU, in stream order; a file that is too short is an
   * error at the next wait. The descriptor may be closed at once.
   */
  readFile(out: Handle, file: number, offset: number): void;
  read(x: Handle): Promise<ArrayBuffer>;
  readSync(x: Handle): ArrayBuffer;
  synchronize(device: string): Promise<void>;
  synchronizeSync(device: string): void;
  /**
   * Ops on the device are noted from now on instead of run. Their tensors lie in memory of their own, or in that of a graph that is
   * `shared` (0: none). `name`: what errors call them that cannot tell which op it was.
   */
  beginCapture(device: string, shared: number, name: string): void;
  /** The number of the graph. */
  endCapture(): number;
  /** Forgets what was noted. */
  dropCapture(): void;
  replay(graph: number): void;
  /** Gives the graph's memory back, once all that was enqueued is done. */
  releaseGraph(graph: number): void;
  /** Waits for the device. */
  graphState(graph: number): GraphState;
  memory(device: string): MemoryStats;
  holders(device: string): MemoryHolders;
  /** Of a dry run's device: as it was when more memory was in use than ever before. */
  holdersAtPeak(device: string): MemoryHolders;
  setMemoryLimit(device: string, bytes: number): void;
  resetPeak(device: string): void;
  releaseCache(device: string): void;
  /** Tensors made from now on are filled with bytes of 255 and lie between canaries; who writes on these is an error. For tests. */
  setGuarded(device: string, on: boolean): void;
  /** The n-th allocation from now on, or scratch buffer that a kernel on the CPU asks for, finds no memory; 0: none. For tests. */
  failAt(device: string, what: 'allocation' | 'scratch', n: number): void;
  setThreads(threads: number): void;
  /** Times what the device's worker runs, by op, until `takeOpTimes`. On a GPU that is the time to launch. */
  timeOps(device: string): void;
  /** Waits for what is enqueued. */
  takeOpTimes(device: string): OpTime[];
  /** Drops kernels instead of running them, to time what lies above: results are whatever memory holds. For benchmarks. */
  setHollow(device: string, on: boolean): void;
  /**
   * What the CPU can do with so many threads: GFLOP/s of fused multiply-adds in registers, GB/s of copying (bytes read and written) or of
   * reading arrays of so many bytes. Blocks for about 0.2 s.
   */
  probe(what: 'fma' | 'copy' | 'read', threads: number, bytes: number): number;
  /**
   * Enqueues fused multiply-adds in registers on the CPU's threads, as op `fmaBurst`, and returns their number of operations. Between two
   * kernels they show the peak at the clock that the processor holds under that load, which can be far below an idle machine's.
   */
  fmaBurst(steps: number): number;
  /**
   * The same for memory, as op `memoryBurst`: the CPU's threads read a dense tensor, or copy it as the C library does. Returns the bytes
   * read and written.
   */
  memoryBurst(from: Handle, to: Handle | null): number;
  info(): NativeInfo;
  devices(): DeviceInfo[];
  /** Whether kernels of the device take bf16 and f16; otherwise they are converted to f32 and back. */
  computesHalf(device: string): boolean;
  /** Notes every kernel launched on a GPU until `takeLaunchLog`; those of a captured graph once, when it is captured. */
  startLaunchLog(): void;
  takeLaunchLog(): LaunchRecord[];
  signatures(): string;
}

export const native: Native = loadAddon() as Native;

/**
 * Runs `fn`, which makes several handles, so that none is left over when it throws halfway (out of memory, most likely). What
 * it makes must not be owned by anything that outlives the failure.
 */
export function atomically<T>(fn: () => T): T {
  const mark = native.mark();
  try {
    return fn();
  } catch (error) {
    native.rollback(mark);
    throw error;
  }
}
