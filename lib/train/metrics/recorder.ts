import { join } from 'node:path';
import { quietly } from '../../util/files.ts';
import type { TrainerEvent } from '../trainer.ts';
import { MetricsLog } from './log.ts';
import { TensorBoardWriter } from './tensorboard.ts';

/**
 * Writes what a trainer tells into a folder: a row for each step and evaluation into `metrics.jsonl`, and the same numbers as
 * curves for TensorBoard into `tensorboard/`.
 */
export class MetricsRecorder {
  readonly #log: MetricsLog;
  readonly #board: TensorBoardWriter;
  readonly #device: { device?: string };
  /** Before the names of curves: what a simulated card computed is told apart at a glance. */
  readonly #prefix: string;

  /**
   * `resumeAt`: the step of the checkpoint that the run goes on from; what an interrupted run logged after it is dropped. At 0
   * both start empty. `device`: stands in every row.
   * @throws FileError where a file cannot be opened, or metrics.jsonl is no log.
   */
  constructor(folder: string, { resumeAt = 0, device }: { resumeAt?: number; device?: string } = {}) {
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
      this.#log.write({ ...{ step, event: type }, ...figures, ...(lossScale !== 1 && { lossScale }), ...this.#device });
      const { loss, learningRate, gradNorm, tokensPerSecond } = event;
      this.#curves(step, {
        ...{ 'train/loss': loss, 'train/learning_rate': learningRate, 'train/gradient_norm': gradNorm },
        'train/tokens_per_second': tokensPerSecond,
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
