/** How far `got` is from `want`: max|got - want| / max(max|want|, floor). Infinities must match; NaN comes out as NaN. */
export function scaledError(got: ArrayLike<number>, want: ArrayLike<number>, floor = 1e-3): number {
  if (got.length !== want.length) return Number.NaN;
  let largest = floor;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i] as number, want[i] as number];
    if (Number.isFinite(b)) largest = Math.max(largest, Math.abs(b));
    if (a === b) continue;
    const difference = Math.abs(a - b);
    if (!(difference <= worst)) worst = difference; // NaN sticks
    if (Number.isNaN(worst)) return Number.NaN;
  }
  return worst / largest;
}
