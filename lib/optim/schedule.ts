import { ArgumentError } from '../util/errors.ts';

export interface ScheduleOptions {
  /** `wsd`: warm-up, stable, linear decay. */
  kind: 'cosine' | 'linear' | 'wsd' | 'constant';
  /** The largest, after the warm-up. */
  learningRate: number;
  minLearningRate: number;
  /** Steps of linear growth; step 0 gets 1/(warmup + 1) of the largest, as in nanoGPT. */
  warmup: number;
  /** All steps of the run. */
  steps: number;
  /** cosine, linear: the step at which the smallest is reached; wsd: how many steps the decay takes. */
  decaySteps: number;
}

/** Learning rate of step 0, 1, 2, ... */
export function schedule(o: ScheduleOptions): (step: number) => number {
  if (!(o.minLearningRate <= o.learningRate))
    throw new ArgumentError(`schedule: minLearningRate must be at most learningRate ${o.learningRate}, got ${o.minLearningRate}`);
  const span = o.learningRate - o.minLearningRate;
  return (step) => {
    if (step < o.warmup) return (o.learningRate * (step + 1)) / (o.warmup + 1);
    if (o.kind === 'constant') return o.learningRate;
    const start = o.kind === 'wsd' ? Math.max(o.warmup, o.steps - o.decaySteps) : o.warmup;
    const end = o.kind === 'wsd' ? o.steps : o.decaySteps;
    if (step >= end) return o.minLearningRate;
    if (step <= start) return o.learningRate;
    const done = (step - start) / (end - start);
    const left = o.kind === 'cosine' ? 0.5 * (1 + Math.cos(Math.PI * done)) : 1 - done;
    return o.minLearningRate + span * left;
  };
}
