// The memory ladder: what a run can give up for memory.
import { computesInBf16, OFFLOADS, type Policy, RECOMPUTES, STORAGES } from '../nn/policy.ts';
import type { Device } from '../tensor/index.ts';
import type { TrainConfig } from './config-defaults.ts';

/** Keys of a configuration with the values that they would have. */
export type ConfigChanges = Readonly<Record<string, string | number>>;

/** One more step down. */
export interface Level {
  readonly changes: ConfigChanges;
  apply(train: TrainConfig): TrainConfig;
}

/** A way to save memory: its levels, from what the configuration says (no change) on, each with less memory than the one before. */
export type Rung = readonly Level[];

const asIs: Level = { changes: {}, apply: (train) => train };

function ofPolicy<K extends keyof Policy>(train: TrainConfig, key: K, values: readonly (Policy[K] & string)[]): Rung {
  const left = values.slice(values.indexOf(train.policy[key] as Policy[K] & string) + 1);
  const level = (value: Policy[K] & string): Level => ({
    changes: { [`train.policy.${key}`]: value },
    apply: (t) => ({ ...t, policy: { ...t.policy, [key]: value } }),
  });
  return [asIs, ...left.map(level)];
}

/** Rows of logits that exist at a time: enough to keep a GPU busy. */
const HEAD_ROWS = 4096;

function head({ policy, batchSize, contextLength }: TrainConfig): Rung {
  const now = policy.headRows || batchSize * contextLength;
  const level: Level = {
    changes: { 'train.policy.headRows': HEAD_ROWS },
    apply: (t) => ({ ...t, policy: { ...t.policy, headRows: HEAD_ROWS } }),
  };
  return now > HEAD_ROWS ? [asIs, level] : [asIs];
}

/** Micro-batches whose size divides that of the configuration, of which a step has as many more. */
function microBatches({ batchSize, gradientAccumulation }: TrainConfig): Rung {
  const factors = Array.from({ length: batchSize }, (_, i) => i + 1).filter((n) => n > 1 && batchSize % n === 0);
  const level = (n: number): Level => {
    const sizes = { batchSize: batchSize / n, gradientAccumulation: gradientAccumulation * n };
    const changes = { 'train.batchSize': sizes.batchSize, 'train.gradientAccumulation': sizes.gradientAccumulation };
    return { changes, apply: (t) => ({ ...t, ...sizes }) };
  };
  return [asIs, ...factors.map(level)];
}

/** The rungs in the order in which they are tried, each on top of those before: what leaves the arithmetic as it is comes first. */
export function rungsOf(train: TrainConfig, device: Device): readonly Rung[] {
  const ownMemory = device !== 'cpu' && device !== 'plan:cpu';
  const offload = train.optimizer === 'muon' || !ownMemory ? [] : [ofPolicy(train, 'offload', OFFLOADS)];
  const moments = train.optimizer === 'muon' ? [] : [ofPolicy(train, 'moments', STORAGES)];
  const weights = train.optimizer === 'muon' || !computesInBf16(train.policy.compute) ? [] : [ofPolicy(train, 'weights', STORAGES)];
  return [ofPolicy(train, 'recompute', RECOMPUTES), head(train), microBatches(train), ...offload, ...moments, ...weights];
}

export const changesOf = (levels: readonly Level[]): ConfigChanges =>
  Object.assign({}, ...levels.map((level) => level.changes)) as ConfigChanges;

/** As `--set` takes them. */
export const changesText = (changes: ConfigChanges): string =>
  Object.entries(changes)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');

/** The next thing to give up; none: all of it has been. */
export function nextChanges(train: TrainConfig, device: Device): ConfigChanges | undefined {
  return rungsOf(train, device).find((rung) => rung.length > 1)?.[1]?.changes;
}
