// A small run as `heddle pretrain` does it, within this process: tokenizer, shards, checkpoints, best.json, metrics, TensorBoard.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadRunConfig, type RunConfig } from '../../lib/train/config.ts';
import { MetricsRecorder } from '../../lib/train/metrics/recorder.ts';
import { pretrain } from '../../lib/train/session.ts';
import type { TrainerEvent } from '../../lib/train/trainer.ts';

/** Files of a folder, those of its folders too, by their paths in it. */
export type Files = Readonly<Record<string, Uint8Array>>;

export function filesOf(folder: string): Files {
  if (!existsSync(folder)) return {};
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = names.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length + 1), readFileSync(path)]));
}

/** Writes a text and a configuration into `folder`; runs go into `<folder>/runs/<name>`. */
export function writeProject(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const text = Array.from({ length: 120 }, (_, i) => `The whale number ${(i * 7919) % 1000} swims by night.`).join(' ');
  writeFileSync(join(folder, 'text.txt'), text);
  writeFileSync(
    join(folder, 'tiny.yaml'),
    [
      'model: { layers: 1, heads: 1, width: 8, contextLength: 8 }',
      'tokenizer: { kind: bpe, vocabSize: 280 }',
      'data: { path: text.txt, shardTokens: 1000 }',
      'train: { steps: 8, batchSize: 2, evalEvery: 3, evalTokens: 64, saveEvery: 2, keep: 2, warmup: 1, learningRate: 1e-2 }',
    ].join('\n'),
  );
}

export interface Started {
  readonly out: string;
  readonly seed?: number;
  /** Keys of the configuration, such as `train.steps=4`. */
  readonly set?: readonly string[];
  readonly resume?: boolean;
  readonly fresh?: boolean;
  /** Stops, as Ctrl-C does, after this step. */
  readonly stopAt?: number;
  readonly onEvent?: (event: TrainerEvent) => void;
  /** Called when a checkpoint is said to be there. */
  readonly onCheckpoint?: (step: number, folder: string) => void;
}

export function configOf(project: string, { out, seed, set = [] }: Pick<Started, 'out' | 'seed' | 'set'>): RunConfig {
  return loadRunConfig(join(project, 'tiny.yaml'), { set: [`out=${out}`, ...set], ...(seed !== undefined && { seed }) });
}

/** Trains; gives how much of it was left out because a checkpoint was there. */
export async function train(project: string, options: Started): Promise<{ from: number; steps: number; checkpoint: string | null }> {
  const stop = new AbortController();
  let recorder: MetricsRecorder | undefined;
  let from = -1;
  try {
    const { steps, checkpoint } = await pretrain(configOf(project, options), {
      ...{ signal: stop.signal, resume: options.resume ?? false, fresh: options.fresh ?? false },
      onStart(_, at) {
        from = at;
        recorder = new MetricsRecorder(options.out, { resumeAt: at });
      },
      beforeSave: () => recorder?.sync(),
      onEvent(event) {
        recorder?.record(event);
        options.onEvent?.(event);
        if (event.type === 'step' && event.step === options.stopAt) stop.abort();
        if (event.type === 'checkpoint') options.onCheckpoint?.(event.step, event.folder);
      },
    });
    return { from, steps, checkpoint };
  } finally {
    recorder?.close();
  }
}

/** Rows of a log without what the clock and the allocator say. */
export function rowsOf(file: string): unknown[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => ({ ...(JSON.parse(line) as object), tokensPerSecond: undefined, memory: undefined }));
}
