import type { PrepareProgress } from '../data/index.ts';
import type { HubProgress } from '../hub/index.ts';
import { type CurvePoint, lossCurve } from '../train/metrics/curve.ts';
import { ProgressLine } from '../train/metrics/progress.ts';
import type { TrainerEvent } from '../train/trainer.ts';
import { figure, marked, note } from './output.ts';

/** Preparing says nothing for so long. */
const QUIET_MS = 500;

/** Shows on stderr how a run goes on, and keeps its losses for a curve. */
export class RunView {
  readonly #label: string;
  readonly #steps: number;
  readonly #losses: CurvePoint[] = [];
  #line: ProgressLine | undefined;
  #phase = '';
  #phaseStart = 0;
  #more: string | undefined;

  constructor(label: string, steps: number) {
    this.#label = label;
    this.#steps = steps;
  }

  /** A line of text, above the progress line. */
  say(text: string): void {
    if (this.#line) this.#line.note(marked(text));
    else note(text);
  }

  /** How far the preparation of the text is, in percent. */
  prepare({ phase, bytes, totalBytes }: PrepareProgress): void {
    const now = performance.now();
    if (this.#phase !== phase) {
      this.#phase = phase;
      this.#phaseStart = now;
      this.#begin(new ProgressLine({ label: marked(`${phase} text: %`), total: 100 }));
    }
    // What is over in a moment needs no line.
    if (now - this.#phaseStart > QUIET_MS)
      this.#line?.update({ step: totalBytes > 0 ? Math.min(100, Math.floor((bytes / totalBytes) * 100)) : 0 });
  }

  /** How far a file of the hub has come, in megabytes. */
  download({ file, bytes, total }: HubProgress): void {
    const now = performance.now();
    if (this.#phase !== file) {
      this.#phase = file;
      this.#phaseStart = now;
      this.#begin(new ProgressLine({ label: marked(`fetching ${file}: MB`), total: Math.ceil(total / 1e6) }));
    }
    if (now - this.#phaseStart > QUIET_MS) this.#line?.update({ step: bytes === total ? Math.ceil(total / 1e6) : Math.floor(bytes / 1e6) });
  }

  /** Training begins after `from` steps done before; `where`: what to say of the device. */
  start(from: number, where?: string): void {
    this.#begin(new ProgressLine({ label: marked(this.#label), total: this.#steps, from }));
    if (where !== undefined) this.say(where);
    if (from > 0) this.say(`going on after step ${from}`);
  }

  /** How far an evaluation is, in batches. */
  evaluate(batches: number, of: number): void {
    if (this.#phase !== 'evaluate') this.#begin(new ProgressLine({ label: marked('evaluate: batch'), total: of }));
    this.#phase = 'evaluate';
    this.#line?.update({ step: batches });
  }

  event(event: TrainerEvent): void {
    const { step } = event;
    if (event.type === 'step') {
      const { loss, tokensPerSecond, skipped, lossScale } = event;
      this.#losses.push({ step, loss });
      const scaled = lossScale === 1 ? '' : ` (loss scale ${lossScale})`;
      if (skipped) this.say(`step ${step}: the gradients were not finite${scaled}; parameters stayed as they were`);
      this.#line?.update({ step, loss, tokensPerSecond, ...(this.#more !== undefined && { more: this.#more }) });
    } else if (event.type === 'evaluation') {
      const bits = event.bitsPerByte === null ? '' : `, ${figure(event.bitsPerByte, 3)} bits per byte`;
      this.#more = `validation ${figure(event.loss, 4)}`;
      const measured = Object.entries(event.metrics ?? {}).map(([name, value]) => `, ${name} ${figure(value, 4)}`);
      this.say(`step ${step}: validation loss ${figure(event.loss, 4)}${bits}${measured.join('')}${event.best ? ', the best so far' : ''}`);
    } else if (event.type === 'end') {
      this.end();
      if (event.reason === 'early stop') note(`stopped early at step ${step}: no progress in the last evaluations`);
      if (event.reason === 'time') note(`stopped at step ${step}: the time is over`);
    }
  }

  /** The losses as a picture; empty where there are too few to see anything. */
  curve(): string {
    return this.#losses.length < 2 ? '' : lossCurve(this.#losses);
  }

  /** Ends the progress line. */
  end(): void {
    this.#line?.done();
    this.#line = undefined;
  }

  #begin(line: ProgressLine): void {
    this.end();
    this.#line = line;
  }
}
