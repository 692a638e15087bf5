import { ArgumentError } from '../util/errors.ts';

/** Sizes, outermost first. */
export type Shape = readonly number[];

export function elements(shape: Shape): number {
  return shape.reduce((n, d) => n * d, 1);
}

export function shapeText(shape: Shape): string {
  return `(${shape.join(', ')})`;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

/** Arguments given as one array or one by one: `f([2, 3])` or `f(2, 3)`. */
export function shapeArgument(args: readonly (number | Shape)[], where: string): number[] {
  const shape = (args.length === 1 && Array.isArray(args[0]) ? args[0] : args) as readonly unknown[];
  for (const d of shape)
    if (!Number.isInteger(d)) throw new ArgumentError(`${where}: shape must be integers, got ${JSON.stringify(shape)}`);
  return [...(shape as number[])];
}

/** A dimension counted from the start; -1 is the last. */
export function dimensionOf(dim: number, rank: number, where: string): number {
  if (!Number.isInteger(dim) || dim < -rank || dim >= rank)
    throw new ArgumentError(`${where}: dim must be from ${-rank} to ${rank - 1}, got ${dim}`);
  return dim < 0 ? dim + rank : dim;
}
