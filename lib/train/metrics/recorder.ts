import { join } from 'node:path';
import { flopsPerToken, type GPT, type GPTConfig } from '../../models/index.ts';
import { describeDevice, gpuInfo, memory } from '../../tensor/index.ts';
import { cardPeak } from '../../util/cards.ts';
import { quietly } from '../../util/files.ts';
import type { TrainerEvent } from '../trainer.ts';
import { MetricsLog } from './log.ts';
import { TensorBoardWriter } from './tensorboard.ts';

export interface RecorderOptions {
  /** The step of the checkpoint that the run goes on from; what an interrupted run logged after it is dropped. At 0 both start empty. */
  readonly resumeAt?: number;
  /** What is trained: its device stands in every row, with the most memory that the device has held. */
  readonly model?: Pick<GPT, 'config' | 'device' | 'compute'>;
  /** Tokens of a sequence, where all of the model learns: on a GPU whose peak is known rows then have `mfuPalm`. */
  readonly contextLength?: number;
}

/** Tokens a second at which a card would be at its tensor peak, by `flopsPerToken`'s palm formula; undefined where that is not known. */
export function peakTokens(card: string, config: GPTConfig, contextLength: number): number | undefined {
  const peak = cardPeak(card);
  return peak && peak.tensor / flopsPerToken(config, contextLength, 'palm');
}

function peakTokensOf({ model, contextLength }: RecorderOptions): number | undefined {
  const gpu = model && gpuInfo(model.device);
  if (!gpu || gpu.simulated || contextLength === undefined || !['bf16', 'f16'].includes(model.compute)) return undefined;
  return peakTokens(gpu.card, model.config, contextLength);
}

/**
 * Writes what a trainer tells into a folder: a row for each step and evaluation into `metrics.jsonl`, and the same numbers as
 * curves for TensorBoard into `tensorboard/`.
 */
export class MetricsRecorder {
  readonly #log: MetricsLog;
  readonly #board: TensorBoardWriter;
  readonly #device: { device?: string };
  /** Of the step's time and memory. */
  readonly #measure: (tokensPerSecond: number) => { memory?: number; mfuPalm?: number };
  /** Before the names of curves: what a simulated card computed is told apart at a glance. */
  readonly #prefix: string;

  /** @throws FileError where a file cannot be opened, or metrics.jsonl is no log. */
  constructor(folder: string, options: RecorderOptions = {}) {
    const { resumeAt = 0, model } = options;
    const device = model && describeDevice(model.device);
    const most = peakTokensOf(options);
    this.#measure = (tokensPerSecond) => ({
      ...(model && { memory: memory(model.device).peak }),
      ...(most !== undefined && { mfuPalm: tokensPerSecond / most }),
    });
    this.#device = device === undefined ? {} : { device };
    this.#prefix = device?.includes('simulated') ? 'simulated/' : '';
    this.#log = new MetricsLog(join(folder, 'metrics.jsonl'), resumeAt > 0 ? { resumeAt } : {});
    try {
      this.#board = new TensorBoardWriter(join(folder, 'tensorboard'), { resumeAt });
    } catch (error) {
      quietly(() => this.#log.close());
      throw error;
    }
  }

  #curves(step: number, values: Readonly<Record<string, number>>): void {
    this.#board.scalars(step, Object.fromEntries(Object.entries(values).map(([name, value]) => [this.#prefix + name, value])));
  }

  record(event: TrainerEvent): void {
    const { step } = event;
    if (event.type === 'step') {
      const { type, lossScale, ...figures } = event;
      const { loss, learningRate, gradNorm, tokensPerSecond } = event;
      const measured = this.#measure(tokensPerSecond);
      this.#log.write({ ...{ step, event: type }, ...figures, ...measured, ...(lossScale !== 1 && { lossScale }), ...this.#device });
      this.#curves(step, {
        ...{ 'train/loss': loss, 'train/learning_rate': learningRate, 'train/gradient_norm': gradNorm },
        'train/tokens_per_second': tokensPerSecond,
        ...(measured.memory !== undefined && { 'train/memory_bytes': measured.memory }),
        ...(measured.mfuPalm !== undefined && { 'train/mfu_palm': measured.mfuPalm }),
      });
    } else if (event.type === 'evaluation') {
      const { loss, perplexity, bitsPerByte, tokens, best, metrics = {} } = event;
      this.#log.write({ step, event: 'evaluation', loss, perplexity, bitsPerByte, tokens, best, ...metrics, ...this.#device });
      this.#curves(step, Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`validation/${name}`, value])));
      this.#curves(step, { 'validation/loss': loss, ...(bitsPerByte !== null && { 'validation/bits_per_byte': bitsPerByte }) });
    }
  }

  /**
   * Returns when the rows of metrics.jsonl have reached the disk. To be called before a checkpoint is saved: after a power cut a run
   * goes on from its checkpoint, and a row from before it would be written by nobody.
   */
  sync(): void {
    this.#log.sync();
  }

  close(): void {
    try {
      this.#log.close();
    } finally {
      this.#board.close();
    }
  }
}
