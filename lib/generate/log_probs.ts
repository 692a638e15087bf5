import { HeddleError } from '../util/errors.ts';

/** Logits of a row must have a largest one and no NaN; -∞ is a token that cannot come. @throws HeddleError (ERR_HEDDLE_NOT_FINITE) */
export function checkFinite(logits: Float32Array, where: string): void {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if ((logits[i] as number) > top) top = logits[i] as number;
  for (let i = 0; i < logits.length; i++) {
    const v = logits[i] as number;
    // NaN is larger than nothing: a maximum would pass it over in silence.
    if (v <= top && Math.abs(top) !== Number.POSITIVE_INFINITY) continue;
    throw new HeddleError('ERR_HEDDLE_NOT_FINITE', `${where}: logits must be finite, got ${v} for token ${i}`, {
      hint: 'The model has diverged: take an earlier checkpoint, train with a smaller learning rate or with clipping.',
    });
  }
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
  checkFinite(logits, where);
  const total = logSumExp(logits);
  return Float64Array.from(logits, (v) => v - total);
}
