import { HeddleError } from '../util/errors.ts';

/**
 * Index of a row's largest logit, the lowest of equal ones, in one pass. There must be a finite largest one and no NaN; -∞ is a token that
 * cannot come. @throws HeddleError (ERR_HEDDLE_NOT_FINITE)
 */
export function largestFinite(logits: Float32Array, where: string): number {
  let [best, top] = [0, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < logits.length; i++) {
    const v = logits[i] as number;
    if (v <= top) continue; // not so for NaN, which a maximum would pass over in silence
    [best, top] = [i, v];
    if (Number.isNaN(v)) break;
  }
  if (Number.isFinite(top)) return best;
  throw new HeddleError('ERR_HEDDLE_NOT_FINITE', `${where}: logits must be finite, got ${logits[best]} for token ${best}`, {
    hint: 'The model has diverged: take an earlier checkpoint, train with a smaller learning rate or with clipping.',
  });
}

/** ln Σ e^logit, in float64. */
export function logSumExp(logits: Float32Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if ((logits[i] as number) > top) top = logits[i] as number;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - top);
  return top + Math.log(sum);
}

/** ln p of every token (V), in nats. @throws HeddleError (ERR_HEDDLE_NOT_FINITE) where the model gives NaN */
export function logSoftmax(logits: Float32Array, where: string): Float64Array {
  largestFinite(logits, where);
  const total = logSumExp(logits);
  return Float64Array.from(logits, (v) => v - total);
}
