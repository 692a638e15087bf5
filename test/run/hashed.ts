// Numbers drawn by integer arithmetic alone, so that another program can draw the same: test/fixtures/gpt-256/golden.py does.

/** Integers below 2**32 to others, bits well mixed (C. Wellons's lowbias32). */
function mix(x: number): number {
  let h = x ^ (x >>> 16);
  h = Math.imul(h, 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The first integers below 2**32 of a stream. */
export function hashes(stream: number, count: number): Uint32Array {
  const seed = mix(stream);
  return Uint32Array.from({ length: count }, (_, i) => mix(i ^ seed));
}

/** 32 sums of a tensor's elements with signs, those of the bits of a stream's hashes: together about as long as the tensor. */
export function projections(stream: number, x: ArrayLike<number>): number[] {
  const sums = new Array<number>(32).fill(0);
  for (const [i, h] of hashes(stream, x.length).entries())
    for (let bit = 0; bit < 32; bit++) sums[bit] = (sums[bit] as number) + ((h >>> bit) & 1 ? 1 : -1) * (x[i] as number);
  return sums;
}
