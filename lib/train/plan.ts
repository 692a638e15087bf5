// How much memory training takes, before it begins and without the device: a dry run of its first steps where the allocator counts and
// nothing is computed.
import type { Batch } from '../data/index.ts';
import { tokenizerFolder } from '../hub/index.ts';
import { GPT, type GPTConfig } from '../models/index.ts';
import {
  type Device,
  gpuInfo,
  gpus,
  type MemoryHolders,
  memory,
  memoryHoldersAtPeak,
  releaseMemory,
  resetPeakMemory,
  setMemoryLimit,
} from '../tensor/index.ts';
import { ByteTokenizer, loadTokenizer } from '../tokenizer/index.ts';
import { ArgumentError, isOutOfMemory } from '../util/errors.ts';
import { modelConfig, type RunConfig, type TrainConfig } from './config.ts';
import { type ConfigChanges, changesOf, type Level, rungsOf } from './ladder.ts';
import { hubOptions, type PrepareHooks } from './prepare.ts';
import { type BatchSource, Trainer } from './trainer.ts';

export interface MemoryPlan {
  /** The most bytes that tensors and kernels' scratch hold at a time, as rounded by the allocator. */
  peak: number;
  /** Who holds them at that moment. */
  holders: MemoryHolders;
  /** Bytes in the host's memory beside them (`train.policy.offload`). */
  onHost: number;
}

export interface PlanOptions extends PrepareHooks {
  /** In place of the configuration's: `'cpu'`, `'cuda:1'` (as it is here), or a card that is not here: `'plan:80'`. */
  device?: Device;
  /** Bytes that the device has; a plan that takes more, or that fits into no pieces of it, is null. Default: no limit. */
  limit?: number;
}

/** The second step begins as every later one does: with the optimizer's state, and with what the first one left in the cache. */
const STEPS = 2;

/** The dry run's device for one that a configuration names: a GPU as it is here, else one of compute capability 9.0. */
export function planDevice(device: Device): Device {
  if (device.startsWith('plan:')) return device;
  if (device === 'cpu') return 'plan:cpu';
  const gpu = device === 'auto' ? gpus().find((d) => d.problem === '' && !d.simulated) : gpuInfo(device);
  return gpu ? `plan:${gpu.capability}x${gpu.multiprocessors}` : 'plan:90';
}

/** One batch again and again: which tokens it holds makes no difference to memory. */
function blankBatches({ batchSize: rows, contextLength: length }: TrainConfig, documents: boolean): BatchSource {
  const ids = new Int32Array(rows * length);
  const batch: Batch = { rows, length, inputs: ids, targets: ids, targetCount: ids.length, ...(documents && { documents: ids }) };
  return { next: () => batch, state: () => ({}), restore: () => undefined, epoch: 0 };
}

interface Planned {
  readonly shape: GPTConfig;
  readonly train: TrainConfig;
  readonly documents: boolean;
  /** Of a dry run. */
  readonly device: Device;
}

/** The first steps as any training does them. */
async function dryRun({ shape, train, documents, device }: Planned, limit: number): Promise<MemoryPlan | null> {
  releaseMemory(device);
  resetPeakMemory(device);
  setMemoryLimit(limit, device);
  let [model, trainer]: [GPT | null, Trainer | null] = [null, null];
  try {
    model = new GPT(shape, { seed: train.seed, device });
    const steps = { steps: STEPS, evalEvery: 0, saveEvery: 0, earlyStop: 0 };
    trainer = new Trainer({ model, train: { ...train, ...steps }, data: blankBatches(train, documents), documents });
    await trainer.run();
    const { peak, onHost } = memory(device);
    return { peak, holders: memoryHoldersAtPeak(device), onHost };
  } catch (error) {
    if (limit > 0 && isOutOfMemory(error)) return null;
    throw error;
  } finally {
    trainer?.dispose();
    model?.dispose();
    setMemoryLimit(0, device);
  }
}

/** Dry runs take turns: they share what a device counts. */
let turn: Promise<unknown> = Promise.resolve();

function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const mine = turn.then(work);
  turn = mine.catch(() => undefined);
  return mine;
}

/** Tokens of a run's vocabulary, without its text: that of a BPE is as large as the configuration allows. */
async function vocabularyOf(run: RunConfig, hooks: PrepareHooks): Promise<number> {
  const { kind, vocabSize, path } = run.tokenizer;
  if (run.model.vocabSize !== undefined) return run.model.vocabSize;
  if (kind === 'bpe') return vocabSize as number;
  if (kind === 'byte') return new ByteTokenizer().vocabSize;
  if (kind === 'load') return loadTokenizer(await tokenizerFolder(path as string, hubOptions(hooks))).vocabSize;
  throw new ArgumentError('model.vocabSize must be given to plan memory: only the text knows how many characters it has', {
    hint: 'For example --set model.vocabSize=100.',
  });
}

async function planned(run: RunConfig, options: PlanOptions): Promise<Planned> {
  const shape = modelConfig(run, await vocabularyOf(run, options));
  return { shape, train: run.train, documents: run.data.documents, device: planDevice(options.device ?? run.device) };
}

/**
 * The peak of a run's pretraining, exact to the allocator's rounding, by a dry run of two steps: no GPU and no memory is needed. What the
 * allocator does not see comes on top: on a card the driver's own memory (some hundred MiB), on the CPU the threads' scratch buffers.
 */
export async function planMemory(run: RunConfig): Promise<MemoryPlan>;
export async function planMemory(run: RunConfig, options: PlanOptions & { limit: number }): Promise<MemoryPlan | null>;
export async function planMemory(run: RunConfig, options?: Omit<PlanOptions, 'limit'>): Promise<MemoryPlan>;
export async function planMemory(run: RunConfig, options: PlanOptions = {}): Promise<MemoryPlan | null> {
  const what = await planned(run, options);
  return inTurn(() => dryRun(what, options.limit ?? 0));
}

export interface MemoryFit {
  /** What was tried, in order: the configuration as it is, then rung by rung, then without what turned out not to be needed. */
  tried: { changes: ConfigChanges; peak: number; fits: boolean }[];
  /** What makes it fit, as keys of the configuration; null: nothing does. */
  changes: ConfigChanges | null;
}

/**
 * What of the memory ladder makes a run's pretraining fit into `limit` bytes, by trying: activations and logits computed again, smaller
 * micro-batches with more accumulation, moments in the host's memory, moments and parameters in bf16.
 */
export async function fitMemory(run: RunConfig, options: PlanOptions & { limit: number }): Promise<MemoryFit> {
  const what = await planned(run, options);
  const rungs = rungsOf(run.train, what.device);
  const tried: MemoryFit['tried'] = [];
  const at = rungs.map(() => 0);
  const levels = (): Level[] => rungs.map((rung, i) => rung[at[i] as number] as Level);
  const known = new Map<string, boolean>();
  const fits = async (): Promise<boolean> => {
    const key = at.join();
    const before = known.get(key);
    if (before !== undefined) return before;
    const train = levels().reduce((t, level) => level.apply(t), run.train);
    const { peak } = (await dryRun({ ...what, train }, 0)) as MemoryPlan;
    const fits = peak <= options.limit && (await dryRun({ ...what, train }, options.limit)) !== null;
    tried.push({ changes: changesOf(levels()), peak, fits });
    known.set(key, fits);
    return fits;
  };
  const climb = async (): Promise<boolean> => {
    if (await fits()) return true;
    for (const [i, rung] of rungs.entries())
      for (let level = 1; level < rung.length; level++) {
        at[i] = level;
        if (await fits()) return true;
      }
    return false;
  };
  const goBack = async (): Promise<void> => {
    for (let i = rungs.length - 1; i >= 0; i--)
      for (let level = at[i] as number; level > 0; level--) {
        at[i] = level - 1;
        if (await fits()) continue;
        at[i] = level;
        break;
      }
  };
  return inTurn(async () => {
    if (!(await climb())) return { tried, changes: null };
    await goBack();
    return { tried, changes: changesOf(levels()) };
  });
}
